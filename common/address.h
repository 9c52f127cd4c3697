/* Mail addresses as the MTA hands them over (RFC 5321 section 4.1.2, RFC 6531), and ESMTP arguments. */
#ifndef POSTERN_ADDRESS_H
#define POSTERN_ADDRESS_H

#include <stdbool.h>

#include "common/buf.h"

enum { ADDRESS_MAX = 2048 };

/* Without surrounding spaces and one pair of angle brackets: "<a@b>" is "a@b", "<>" is "". Borrowed from in. */
struct slice address_strip(struct slice in);
/* What follows the last "@" outside quotes; empty when there is none. */
struct slice address_domain(struct slice address);
/* What precedes that "@"; the whole when there is none. */
struct slice address_local(struct slice address);
/* Whether two addresses are one: the local parts are equal, and the domains but for case (RFC 5321 section 2.4). */
bool address_is_same(struct slice a, struct slice b);
/*
 * Whether an address that a filter made may go to the MTA: at most 1000 bytes, no control characters, no spaces or
 * angle brackets outside quotes, valid UTF-8; empty only when may_be_empty (the null sender).
 */
bool address_is_valid(struct slice address, bool may_be_empty);
/* Whether an ESMTP argument list ("SIZE=10 BODY=8BITMIME") may go to the MTA: printable, at most 1000 bytes. */
bool address_args_are_valid(struct slice args);
/*
 * rcpt:matches: pattern is "user@domain", "@domain" (that domain), "@.domain" (its subdomains), "user@" (that local part in
 * any domain) or "domain". Caseless (ASCII) throughout.
 */
bool address_matches(struct slice address, struct slice pattern);

#endif
