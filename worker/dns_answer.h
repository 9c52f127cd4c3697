/*
 * What the DNS answered to one question, as filters get it: immutable, shared by the cache and by
 * those who read it.
 */
#ifndef POSTERN_WORKER_DNS_ANSWER_H
#define POSTERN_WORKER_DNS_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

enum dns_type { /* the numbers of the protocol */
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
};

enum {
    DNS_NAME_MAX = 253,         /* bytes of a name as text that has no escapes */
    DNS_TEXT_MAX = 4 * 255 + 1, /* bytes of a name as text at most, and a NUL */
};

struct dns_record {
    uint16_t numbers[3]; /* MX: preference; SRV: priority, weight, port */
    struct slice text; /* an address, a name without its last dot ("." the root), or TXT's bytes */
};

struct dns_answer {
    unsigned n_refs;
    bool is_nxdomain;  /* the name does not exist; then there are no records */
    uint32_t ttl_secs; /* 0: not to be kept */
    size_t bytes;      /* of memory, all in one piece */
    size_t n;
    struct dns_record records[]; /* MX and SRV: the most preferred first */
};

/*
 * Reads a whole answer (RFC 1035, section 4), which may be anybody's bytes: follows the chain of
 * CNAMEs (at most 16) and takes the records of the type that the last name has. The time to live is
 * the least of all records on the way; without records that of the SOA record (RFC 2308, section
 * 5), or 0 when there is none.
 *
 * 0 and an answer with one reference; -ERR_BAD: malformed, another question's, or with a code other
 * than NOERROR and NXDOMAIN.
 */
int dns_answer_read(
    struct slice message, const char *name, enum dns_type type, struct dns_answer **out);
/* From records whose texts are copied. */
struct dns_answer *dns_answer_new(
    const struct dns_record *records, size_t n, uint32_t ttl_secs, bool is_nxdomain);
void dns_answer_ref(struct dns_answer *answer);
void dns_answer_unref(struct dns_answer *answer); /* NULL is fine */

/* Whether a text can be asked for: labels of 1 to 63 bytes, printable ASCII without backslash, 253
 * bytes in all, with or without a dot at its end. */
bool dns_name_is_good(struct slice name);
/* 0: no type that can be asked for. */
enum dns_type dns_type_from_text(const char *text);
const char *dns_type_text(enum dns_type type);

#endif
