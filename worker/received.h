/* The "from" clause of a Received field (RFC 5321 section 4.4) as sendmail, Postfix, Exim, qmail
 * and Exchange write it. */
#ifndef POSTERN_WORKER_RECEIVED_H
#define POSTERN_WORKER_RECEIVED_H

#include <netinet/in.h>
#include <stdbool.h>

#include "common/buf.h"

struct received {
    char ip[INET6_ADDRSTRLEN]; /* canonical */
    struct slice helo;         /* what the client called itself; empty when not said */
    struct slice hostname;     /* the name the server found; empty for none or "unknown" */
};

/*
 * value: as received, folding included. False when there is no from clause with an address that the
 * server itself wrote: the name after "from" is the client's own claim and counts as an address
 * only when nothing else has one.
 */
bool received_from_text(struct slice value, struct received *out);

#endif
