/* What a process does to itself: privileges, limits, descriptors; readiness for the service manager. */
#ifndef POSTERN_PROC_H
#define POSTERN_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* How many descriptors the daemons need: they ask the system for so many, and posternctl doctor looks whether it gives them. */
enum proc_descriptors {
    PROC_MILTERD_FDS_EACH = 4, /* a connection: the MTA's, a parcel, a record connection, an annex on its way */
    PROC_MILTERD_FDS_RESERVE = 128,
    PROC_MUX_FDS_PER_CLIENT = 3, /* connection, parcel, annex */
    PROC_MUX_FDS_PER_WORKER = 2,
    PROC_MUX_FDS_OTHER = 256, /* sockets, control connections, nurseries, the loop */
};

/*
 * Becomes user (and its groups), for good. user "" or our own: nothing to do. group "" takes the user's own group.
 * Returns 0, -ERR_NOTFOUND (no such user or group), -ERR_DENIED (not root and not ours), -ERR_SYSTEM.
 */
int proc_drop_privileges(const char *user, const char *group);
int proc_group_id(const char *group, gid_t *out); /* 0 or -ERR_NOTFOUND; a number is taken as it is */
/* Raises the soft descriptor limit towards wanted; returns the limit in force. */
size_t proc_raise_fd_limit(size_t wanted);
/* Closes every descriptor from 3 up except those listed and the log's. */
void proc_close_fds_except(const int *keep, size_t n_keep);
/* Threads in this process, from /proc/self/task; -ERR_SYSTEM. */
int proc_thread_count(void);
/*
 * Ends a process that has nothing to tidy up: flushes stdio, and leaves its memory to the kernel, without exit handlers. Builds for sanitizers
 * and coverage do run those.
 */
void proc_exit(int code) __attribute__((noreturn));
/* Resident bytes of a process from /proc/PID/statm (0: gone). */
size_t proc_resident_bytes(pid_t pid);
/* sd_notify without blocking; nothing when NOTIFY_SOCKET is not set. */
void proc_notify(const char *notice);
/* Sends sig when the parent dies, and checks that it has not already (parent: what getppid must give). 0 or -ERR_PEER. */
int proc_die_with_parent(int sig, pid_t parent);
/* The folder that holds this program (from /proc/self/exe). out gets a path without a final slash. 0 or -ERR_SYSTEM. */
int proc_program_dir(char *out, size_t out_bytes);

#endif
