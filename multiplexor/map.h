/*
 * filter_map as a socketmap server: netstrings "MAP KEY" in, "OK value", "NOTFOUND ", "TEMP reason"
 * or "PERM reason" out, as sendmail's socket maps and Postfix's socketmap: tables speak it. Each
 * look-up is a request like those of milterd; one at a time on a connection, the others wait in its
 * buffer. What breaks the format ends the connection, never more.
 */
#ifndef POSTERN_MULTIPLEXOR_MAP_H
#define POSTERN_MULTIPLEXOR_MAP_H

#include <event2/event_struct.h>
#include <sys/queue.h>

enum { MAP_REQUEST_MAX = 10240 }; /* bytes of map name, blank and key */

struct map_connection;
struct mux;
TAILQ_HEAD(map_connection_list, map_connection);

struct maps {
    struct map_connection_list list;
    unsigned n;
    int fd; /* listening; -1: none */
    struct event acceptable;
};

/* fd: listening, ours from now on; -1: none. */
void maps_open(struct mux *mux, int fd);
void maps_stop_listening(struct mux *mux);
void maps_close(struct mux *mux); /* all connections */

#endif
