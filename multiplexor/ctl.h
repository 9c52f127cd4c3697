/*
 * The control socket: one JSON object a line, each way. {"v":1,"command":"status","args":{…}} gets
 * {"v":1,"ok":true,"data":{…}} or
 * {"v":1,"ok":false,"error":"text"}; several may follow on one connection, answered in order. A
 * line that is too long or no JSON is answered and the connection closed; never more. Root and our
 * own user may change, the control group may look.
 */
#ifndef POSTERN_MULTIPLEXOR_CTL_H
#define POSTERN_MULTIPLEXOR_CTL_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "multiplexor/profile.h"
#include "multiplexor/reload.h"

enum { CTL_VERSION = 1, CTL_LINE_MAX = 65536, CTL_CONNECTIONS_MAX = 64 };

enum ctl_access { CTL_NONE = 0, CTL_LOOK, CTL_CHANGE };

struct mux;

struct ctl_connection {
    TAILQ_ENTRY(ctl_connection) entry;
    struct mux *mux;
    struct bufferevent *stream;
    enum ctl_access access;
    struct reload_waiter waiter; /* in a list while the answer of a reload is awaited */
    struct profile_waiter profile;
    bool is_closing; /* when everything is written */
};

TAILQ_HEAD(ctl_connection_list, ctl_connection);

struct ctl {
    struct ctl_connection_list list;
    unsigned n;
    int fd; /* listening; -1: closed */
    gid_t group;
    struct event acceptable;
};

/* fd: listening, ours from now on; -1: none. group: may look; (gid_t)-1: none. */
void ctl_open(struct mux *mux, int fd, gid_t group);
void ctl_stop_listening(struct mux *mux);
void ctl_close(struct mux *mux); /* all connections; what is written already is sent if it fits */

#endif
