/* Where a server is: ADDRESS:PORT, [ADDRESS]:PORT or the path of a UNIX socket. No names but
 * localhost: they would have to be looked up, where nobody may wait. */
#ifndef POSTERN_WORKER_REDIS_PLACE_H
#define POSTERN_WORKER_REDIS_PLACE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/buf.h"

struct redis_place {
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
    socklen_t len;
    char text[128]; /* "127.0.0.1:6379", "[::1]:6379", the path: in logs and errors */
    char host[64];  /* the address alone, for its certificate; "": a UNIX socket */
};

/* 0 or -ERR_BAD. */
int redis_place_from_text(struct slice text, struct redis_place *out);
/* What Sentinel says: an address and a port. */
int redis_place_from_parts(struct slice host, struct slice port, struct redis_place *out);
bool redis_place_equal(const struct redis_place *a, const struct redis_place *b);

#endif
