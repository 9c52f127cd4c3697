/*
 * The nursery: loads the filter once, then forks a worker whenever the multiplexor asks. It has one
 * thread, no event base, no connection but the one to the multiplexor. See
 * docs/design/processes.md.
 */
#ifndef POSTERN_WORKER_NURSERY_H
#define POSTERN_WORKER_NURSERY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"

enum { NURSERY_FD = 3 }; /* the record socket, as the multiplexor hands it over */

/* Runs to the end, in the nursery and, after a fork, in the worker. Returns the exit code of
 * whichever it is. is_shadow: its workers do no deeds, and say what they are in the log. */
int nursery_run(const struct conf *conf, uint32_t generation, bool is_shadow);

#endif
