/*
 * The queue of notices: a folder in the state folder, a file for each, which goes when the server
 * has taken it, or refused it for good. One process sends at a time.
 */
#ifndef POSTERN_WORKER_NOTIFY_QUEUE_H
#define POSTERN_WORKER_NOTIFY_QUEUE_H

#include <stdint.h>

#include "common/buf.h"
#include "common/conf.h"

struct notify_queue {
    const struct conf *conf;
    int folder; /* STATE_DIR/notify */
    int queue;  /* its folder queue */
};

struct notify_sent {
    unsigned n_sent, n_failed; /* failed: tries that were in vain, and notices given up */
};

/* Makes the folders when they are missing. 0, -ERR_DENIED (not ours alone), -ERR_SYSTEM. */
int notify_queue_open(const struct conf *conf, struct notify_queue *out);
void notify_queue_close(struct notify_queue *queue);
/* On the disk when this is 0. most: of NOTIFY_QUEUE_MAX, how many may wait with this one.
 * -ERR_TOOBIG (so many wait already), -ERR_SYSTEM. */
int notify_queue_put(struct notify_queue *queue, const char *name, const char *to,
    struct slice message, size_t most);
/*
 * Sends what is there, unless another process does, until deadline_ms (monotonic) or notify.timeout
 * has passed. A server that cannot be reached is left alone for half a minute; a notice that waited
 * for a day goes. Logs what fails.
 */
void notify_queue_send(struct notify_queue *queue, int64_t deadline_ms, struct notify_sent *out);

#endif
