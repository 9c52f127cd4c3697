/* The socket that MTAs connect to: made by ourselves, or handed to us by a service manager. */
#ifndef POSTERN_MILTERD_LISTEN_H
#define POSTERN_MILTERD_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/conf.h"
#include "common/sock.h"

struct listener {
    int fd;
    bool is_shared; /* somebody else holds it too: do not shut it down */
    char text[320]; /* the spec, with the port really bound */
    struct sock_spec spec;
    dev_t dev; /* of the socket file, when we made one */
    ino_t ino;
};

/*
 * A socket passed by the service manager (LISTEN_FDS, LISTEN_PID) goes before milterd.socket. A
 * socket file belongs to milterd.user. Ends the process with a message when it cannot be had.
 */
void listener_open(struct listener *listener, const struct conf *conf);
/* Removes our socket file, if it is still ours. */
void listener_remove(const struct listener *listener);

#endif
