/*
 * One thread for each MTA connection. The one file that leans on the inside of libmilter: it
 * defines the two entry points of its thread pool (mi_pool_controller_init, mi_start_session), its
 * reader and writer of commands (mi_rd_cmd, mi_wr_cmd), poll and sigwait, finds a context's
 * descriptor, and checks at start that what it finds is right; if not, libmilter's own pool serves,
 * with a warning (there, a callback that blocks stalls other connections).
 */
#ifndef POSTERN_MILTERD_SESSION_H
#define POSTERN_MILTERD_SESSION_H

#include <libmilter/mfapi.h>
#include <stdbool.h>

#include "common/network.h"

struct front;

struct session_options {
    struct front *front;              /* borrowed, as is allow */
    int listen_fd;                    /* of the real listener; this module's from now on */
    const struct network_list *allow; /* who may connect over TCP */
    void (*on_ready)(void *context);  /* called once, when connections are being accepted */
    void *context;
};

/*
 * Prepares libmilter's listener (smfi_setconn): at first a private socket over which the self-test
 * comes, then the real one under the same number. smfi_main must follow. 0 or -ERR_SYSTEM.
 */
int session_prepare(const struct session_options *options);

/* The MTA's descriptor of a context; -1 when it cannot be told. */
int session_fd(SMFICTX *ctx);
/* Whether our threads serve, so that session ends are ours to clean up. */
bool session_is_ours(void);

/* Sessions that are in a command just now, its reply included; 0 when libmilter's pool serves. */
int session_busy_count(void);

/*
 * Accepts no more: the listener's number is given another socket, on which nobody knocks, so that
 * libmilter's loop rests. The real listener is shut down if is_shared is false; a service manager
 * that holds it too keeps it for the next start.
 */
void session_stop_accepting(bool is_shared);

#endif
