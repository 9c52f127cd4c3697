/*
 * What a nursery and its workers give up, in two steps: the nursery before it loads the filter (so
 * that the filter's top level is under it too, and every worker inherits it), the worker after the
 * fork. Lists for Landlock and seccomp have their place here.
 */
#ifndef POSTERN_WORKER_SANDBOX_H
#define POSTERN_WORKER_SANDBOX_H

#include <stddef.h>

#include "common/conf.h"

/*
 * Before the filter is loaded: no new privileges, limits (address space, descriptors, no core),
 * umask 077. in_force_out gets a text for status, such as "no-new-privs, rlimits". Returns 0, or
 * -ERR_SYSTEM with in_force_out naming what failed.
 */
int sandbox_enter_nursery(const struct conf *conf, char *in_force_out, size_t in_force_bytes);
/* After the fork, in the worker: others of our user cannot look into it. 0 or -ERR_SYSTEM. */
int sandbox_enter_worker(void);

#endif
