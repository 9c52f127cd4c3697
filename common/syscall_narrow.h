/*
 * What a worker gives up of its nursery's system calls, as a filter on top of the nursery's. The kernel asks every filter and the
 * strictest answer counts, so that the worker's list needs no second check of all that both have. It is made once and put in force after
 * each fork, where a list of hundreds of calls would be the dearest step.
 */
#ifndef POSTERN_SYSCALL_NARROW_H
#define POSTERN_SYSCALL_NARROW_H

#include <linux/filter.h>
#include <stddef.h>

#include "common/syscall_filter.h"

struct syscall_narrow {
    struct sock_filter *code; /* malloced */
    size_t n;
    size_t pid_at; /* instruction whose constant is the pid that may be signalled; 0: any */
};

/*
 * Denies (EPERM) each call that syscalls.def gives to the nursery alone, every fork, every prctl but the name, setting limits, and
 * signals to other processes; forks and signals stay with grants.programs. *out is the caller's, code to be freed.
 */
void syscall_narrow_make(struct syscall_grants grants, struct syscall_narrow *out);

#endif
