#include "common/confine.h"

#include <stdio.h>
#include <sys/prctl.h>

#include "common/err.h"
#include "common/log.h"
#include "common/sanitizer.h"

const char *confine_no_seccomp(void)
{
    return SANITIZER_HAS_ANY ? "off in a build with sanitizers" : NULL;
}

/* NULL, or why the list is not in force. */
static const char *enter_list(enum syscall_role role)
{
    struct syscall_filter *filter = NULL;
    if (confine_no_seccomp() != NULL) {
        return confine_no_seccomp();
    }
    int err = syscall_filter_new(role, (struct syscall_grants){false, false}, &filter);
    err = err == 0 ? syscall_filter_enter(filter) : err;
    const char *why = err == 0 ? NULL : err_text(err);
    syscall_filter_free(filter);
    return why;
}

int confine_daemon(
    enum syscall_role role, enum sandbox_mode mode, char *in_force_out, size_t in_force_bytes)
{
    if (mode == SANDBOX_OFF) {
        snprintf(in_force_out, in_force_bytes, "off");
        return 0;
    }
    const char *why = NULL;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        why = err_text(-ERR_SYSTEM);
    }
    why = why == NULL ? enter_list(role) : why;
    if (why == NULL) {
        snprintf(in_force_out, in_force_bytes, "no-new-privs, seccomp");
        return 0;
    }
    snprintf(in_force_out, in_force_bytes, "no seccomp: %s", why);
    if (mode == SANDBOX_REQUIRED) {
        return -ERR_SYSTEM;
    }
    if (confine_no_seccomp() == NULL) {
        log_warn("sandbox: %s", in_force_out);
    }
    return 0;
}
