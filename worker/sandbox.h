/*
 * What a nursery and its workers give up, in two steps: the nursery before it loads the filter (so
 * that the filter's top level is under it too, and every worker inherits it), the worker after the
 * fork. What is granted, and what happens on a kernel that lacks something, is in [worker].
 */
#ifndef POSTERN_WORKER_SANDBOX_H
#define POSTERN_WORKER_SANDBOX_H

#include <stddef.h>

#include "common/conf.h"

struct sandbox;

/*
 * Before the filter is loaded: umask 077, no new privileges, limits (address space, descriptors,
 * size of files, no core), files and TCP by Landlock, the nursery's list of system calls; the
 * worker's is compiled here, once.
 *
 * in_force_out  gets a text for status, such as "no-new-privs, rlimits, landlock 7, seccomp".
 * Returns 0 and *out (for the process's life; sandbox_free), or -ERR_SYSTEM with in_force_out
 * naming what failed. With worker.sandbox = available it warns about what the kernel lacks, and
 * goes on.
 */
int sandbox_enter_nursery(
    const struct conf *conf, char *in_force_out, size_t in_force_bytes, struct sandbox **out);
/*
 * After the fork, in the worker: others of our user cannot look into it, its signals stay inside,
 * and no fork any more. 0 or -ERR_SYSTEM.
 */
int sandbox_enter_worker(struct sandbox *sandbox);
/* What a worker must not close between the fork and sandbox_enter_worker; -1: nothing. */
int sandbox_fd(const struct sandbox *sandbox);
void sandbox_free(struct sandbox *sandbox);

#endif
