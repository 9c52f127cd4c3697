#include "worker/sandbox.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/err.h"

#ifdef __SANITIZE_ADDRESS__
#define HAS_ASAN true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN true
#endif
#endif
#ifndef HAS_ASAN
#define HAS_ASAN false
#endif

struct limit {
    const char *name;
    __rlimit_resource_t resource;
    rlim_t value;
    bool is_set;
};

/* Never above the hard limit: that would need a privilege, and a lower one is as safe. */
static int set_limit(const struct limit *limit)
{
    struct rlimit now;
    if (getrlimit(limit->resource, &now) != 0) {
        return -ERR_SYSTEM;
    }
    rlim_t value = limit->value < now.rlim_max ? limit->value : now.rlim_max;
    struct rlimit wanted = {.rlim_cur = value, .rlim_max = value};
    return setrlimit(limit->resource, &wanted) == 0 ? 0 : -ERR_SYSTEM;
}

/* RLIMIT_NPROC is left alone: it counts all processes of the user, and the nursery has to fork. */
static int set_limits(const struct conf *conf, const char **failed_out)
{
    const struct limit limits[] = {
        /* AddressSanitizer maps terabytes for its shadow. */
        {"address space", RLIMIT_AS, (rlim_t)conf->worker.address_space, !HAS_ASAN},
        {"descriptors", RLIMIT_NOFILE, (rlim_t)conf->worker.max_files, true},
        {"core size", RLIMIT_CORE, 0, true},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i].is_set && set_limit(&limits[i]) != 0) {
            *failed_out = limits[i].name;
            return -ERR_SYSTEM;
        }
    }
    return 0;
}

int sandbox_enter_nursery(const struct conf *conf, char *in_force_out, size_t in_force_bytes)
{
    const char *failed = NULL;
    umask(077);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        snprintf(in_force_out, in_force_bytes, "no-new-privs: %s", err_text(-ERR_SYSTEM));
        return -ERR_SYSTEM;
    }
    if (set_limits(conf, &failed) != 0) {
        snprintf(in_force_out, in_force_bytes, "limit of %s: %s", failed, err_text(-ERR_SYSTEM));
        return -ERR_SYSTEM;
    }
    snprintf(in_force_out, in_force_bytes, "no-new-privs, rlimits%s",
        HAS_ASAN ? " (without address space)" : ", non-dumpable");
    return 0;
}

int sandbox_enter_worker(void)
{
    if (HAS_ASAN) { /* the leak check at exit traces its own process */
        return 0;
    }
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : -ERR_SYSTEM;
}
