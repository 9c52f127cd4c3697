/*
 * Asks the multiplexor: a pool of idle record connections, one request in flight on each, asking
 * again on a new connection when one was lost. The real implementation of struct ask_ops.
 * Thread-safe.
 */
#ifndef POSTERN_MILTERD_MUX_CLIENT_H
#define POSTERN_MILTERD_MUX_CLIENT_H

#include "milterd/ask.h"

struct mux;

/* path is borrowed. reconnect_ms: how long one question looks for a multiplexor that is away. */
struct mux *mux_new(const char *path, int64_t reconnect_ms);
void mux_free(struct mux *mux);

/*
 * A request whose connection is lost, or whose reply is malformed, is sent once more with attempt
 * 2, if it may be repeated and time allows; one that could not even be sent costs no attempt.
 * Closing the connection is what cancels a request.
 */
struct ask_ops mux_asker(struct mux *mux);

#endif
