/*
 * Seccomp filters made from the table in syscalls.def: an allow list for each kind of process, compiled once, put in force when its time comes.
 * A filter is inherited by fork and exec and can only be narrowed, never lifted.
 */
#ifndef POSTERN_SYSCALL_FILTER_H
#define POSTERN_SYSCALL_FILTER_H

#include <stdbool.h>

enum syscall_role {
    SYSCALLS_WORKER = 1,  /* on top of its nursery's filter: what it gives up of that */
    SYSCALLS_NURSERY = 2, /* a worker's, fork, and what a worker does to itself after it */
    SYSCALLS_MILTERD = 4,
    SYSCALLS_MUX = 8, /* everything that the others have: nursery and workers inherit it */
};

struct syscall_grants {
    bool programs; /* exec, fork, signals to others */
    bool network;  /* inet and inet6 sockets */
    bool tcp;      /* of these, streams alone */
};

struct syscall_filter;

/*
 * Compiles the list of a role. grants counts for workers and nurseries; the others have what they have. Returns 0 and *out (free with
 * syscall_filter_free), or -ERR_SYSTEM with errno.
 */
int syscall_filter_new(enum syscall_role role, struct syscall_grants grants, struct syscall_filter **out);
/* Puts it in force for all threads, for good; needs no-new-privs. A worker's also keeps its signals (tgkill, as raise and abort do) to the process that calls this. 0, or -ERR_SYSTEM (ENOSYS, EINVAL: the kernel has no seccomp). */
int syscall_filter_enter(const struct syscall_filter *filter);
void syscall_filter_free(struct syscall_filter *filter);

#endif
