/*
 * What a daemon gives up after its start: no new privileges, and every system call that its list does not have. Workers have their own, larger
 * sandbox (worker/sandbox.h); the modes are the same.
 */
#ifndef POSTERN_CONFINE_H
#define POSTERN_CONFINE_H

#include <stddef.h>

#include "common/syscall_filter.h"

enum sandbox_mode {
    SANDBOX_REQUIRED = 0, /* a kernel that lacks something: do not start */
    SANDBOX_AVAILABLE,    /* go on with a warning */
    SANDBOX_OFF,
};

/* Whether a list of system calls can be in force at all; else why not ("off in a build with sanitizers"). NULL: it can. */
const char *confine_no_seccomp(void);
/*
 * After the start: sockets are open, privileges dropped, no thread runs yet.
 *
 * role          SYSCALLS_MILTERD or SYSCALLS_MUX.
 * in_force_out  gets a text for the log and status, such as "no-new-privs, seccomp"; 128 bytes are enough.
 * Returns 0, or -ERR_SYSTEM when the mode is SANDBOX_REQUIRED and something failed; in_force_out says what. Warns by itself.
 */
int confine_daemon(
    enum syscall_role role, enum sandbox_mode mode, char *in_force_out, size_t in_force_bytes);

#endif
