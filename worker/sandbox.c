#include "worker/sandbox.h"

#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/confine.h"
#include "common/err.h"
#include "common/landlock.h"
#include "common/log.h"
#include "common/sanitizer.h"
#include "common/sock.h"
#include "common/syscall_filter.h"
#include "common/xalloc.h"
#include "worker/sandbox_files.h"

struct limit {
    const char *name;
    __rlimit_resource_t resource;
    rlim_t value;
    bool is_set;
};

struct sandbox {
    struct landlock *own; /* each worker makes a domain of its own of it; may be NULL */
    bool allows_programs;
    struct syscall_filter *worker; /* NULL: no list of system calls */
    struct syscall_filter *nursery;
};

/* What status shows, as it grows. */
struct report {
    char *text;
    size_t bytes;
};

static void add(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct report *report, const char *format, ...)
{
    size_t len = strlen(report->text);
    va_list args;
    if (len > 0) {
        snprintf(report->text + len, report->bytes - len, ", ");
        len = strlen(report->text);
    }
    va_start(args, format);
    vsnprintf(report->text + len, report->bytes - len, format, args);
    va_end(args);
}

/* ---- limits ---- */

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

/* RLIMIT_NPROC is the worker's part: it counts all processes of the user, and the nursery has to
 * fork. */
static int set_limits(const struct conf *conf, const char **failed_out)
{
    const struct limit limits[] = {
        /* Sanitizers map terabytes for their shadows. */
        {"address space", RLIMIT_AS, (rlim_t)conf->worker.address_space, !SANITIZER_HAS_ANY},
        {"descriptors", RLIMIT_NOFILE, (rlim_t)conf->worker.max_files, true},
        {"size of files", RLIMIT_FSIZE, (rlim_t)conf->worker.max_file_size, true},
        {"core size", RLIMIT_CORE, 0, true},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i].is_set && set_limit(&limits[i]) != 0) {
            *failed_out = limits[i].name;
            return -ERR_SYSTEM;
        }
    }
    signal(SIGXFSZ, SIG_IGN); /* a write past the limit fails, which is enough */
    return 0;
}

/* ---- Landlock ---- */

static unsigned tcp_port(const char *text)
{
    struct sock_spec server;
    bool is_tcp = text[0] != '\0' && sock_spec_from_text(text, &server) == 0 &&
                  (server.kind == SOCK_KIND_INET || server.kind == SOCK_KIND_INET6);
    return is_tcp ? server.port : 0;
}

/* The TCP port that workers connect to with notices; 0: none. */
static unsigned notices_port(const struct conf *conf)
{
    return conf->notify.from[0] != '\0' ? tcp_port(conf->notify.server) : 0;
}

/* The one that takes copies. */
static unsigned copies_port(const struct conf *conf)
{
    return tcp_port(conf->smtp.reinject);
}

static int enter_landlock(const struct conf *conf)
{
    struct landlock *landlock = NULL;
    int err = landlock_open(true, !conf->worker.allow_network, true, &landlock);
    err = err == 0 ? sandbox_files_allow(landlock, conf) : err;
    const unsigned ports[] = {notices_port(conf), copies_port(conf)};
    for (size_t i = 0; err == 0 && i < sizeof ports / sizeof ports[0]; i++) {
        err = ports[i] != 0 ? landlock_allow_connect(landlock, ports[i]) : 0;
    }
    err = err == 0 ? landlock_enter(landlock) : err;
    landlock_close(landlock);
    return err;
}

/* A domain of its own for each worker, so that its signals do not reach the others: the rules are
 * made once, and every process that enters them gets a domain. */
static int prepare_own_domain(struct sandbox *sandbox)
{
    int err = landlock_open(false, false, true, &sandbox->own);
    return err == -ERR_NOTFOUND ? 0 : err; /* an older Landlock */
}

static int enter_own_domain(struct sandbox *sandbox)
{
    int err = landlock_enter(sandbox->own);
    landlock_close(sandbox->own);
    sandbox->own = NULL;
    return err;
}

/* ---- the nursery ---- */

/* What is missing is said, and is fatal only when it is required. */
static int missing(
    const struct conf *conf, struct report *report, const char *what, const char *why)
{
    if (conf->worker.sandbox == SANDBOX_REQUIRED) {
        snprintf(report->text, report->bytes,
            "no %s: %s; worker.sandbox = required does without nothing", what, why);
        return -ERR_SYSTEM;
    }
    if (why != confine_no_seccomp()) {
        log_warn("sandbox: no %s: %s", what, why);
    }
    add(report, "no %s (%s)", what, why);
    return 0;
}

static int add_landlock(const struct conf *conf, struct report *report, struct sandbox *sandbox)
{
    int err = enter_landlock(conf);
    err = err == 0 ? prepare_own_domain(sandbox) : err;
    if (err != 0) {
        return missing(conf, report, "Landlock",
            err == -ERR_NOTFOUND ? "the kernel does not have it" : err_text(err));
    }
    add(report, "landlock %d", landlock_abi());
    return 0;
}

static int add_seccomp(const struct conf *conf, struct report *report, struct sandbox *sandbox)
{
    struct syscall_grants grants = {.programs = conf->worker.allow_exec,
        .network = conf->worker.allow_network,
        .tcp = notices_port(conf) != 0 || copies_port(conf) != 0};
    if (confine_no_seccomp() != NULL) {
        return missing(conf, report, "seccomp", confine_no_seccomp());
    }
    int err = syscall_filter_new(SYSCALLS_NURSERY, grants, &sandbox->nursery);
    err = err == 0 ? syscall_filter_new(SYSCALLS_WORKER, grants, &sandbox->worker) : err;
    err = err == 0 ? syscall_filter_enter(sandbox->nursery) : err;
    if (err != 0) {
        const char *why = err_text(err);
        syscall_filter_free(sandbox->worker);
        sandbox->worker = NULL;
        return missing(conf, report, "seccomp", why);
    }
    add(report, "seccomp");
    return 0;
}

static void add_network(const struct conf *conf, struct report *report)
{
    const unsigned notices = notices_port(conf), copies = copies_port(conf);
    if (conf->worker.allow_network) {
        add(report, "network allowed");
    } else if (landlock_abi() < 4 && (notices != 0 || copies != 0)) {
        add(report, "TCP allowed");
    } else {
        if (notices != 0) {
            add(report, "TCP port %u allowed", notices);
        }
        if (copies != 0 && copies != notices) {
            add(report, "TCP port %u allowed", copies);
        }
    }
}

static int enter(const struct conf *conf, struct report *report, struct sandbox *sandbox)
{
    const char *failed = NULL;
    umask(077);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        add(report, "no-new-privs: %s", err_text(-ERR_SYSTEM));
        return -ERR_SYSTEM;
    }
    if (set_limits(conf, &failed) != 0) {
        add(report, "limit of %s: %s", failed, err_text(-ERR_SYSTEM));
        return -ERR_SYSTEM;
    }
    add(report, "no-new-privs, rlimits%s", SANITIZER_HAS_ANY ? " (without address space)" : "");
    if (!SANITIZER_HAS_ADDRESS) {
        add(report, "non-dumpable");
    }
    if (conf->worker.sandbox == SANDBOX_OFF) {
        add(report, "no Landlock and seccomp (worker.sandbox = off)");
        return 0;
    }
    int err = add_landlock(conf, report, sandbox);
    err = err == 0 ? add_seccomp(conf, report, sandbox) : err;
    if (err == 0 && conf->worker.allow_exec) {
        add(report, "programs allowed");
    }
    if (err == 0) {
        add_network(conf, report);
    }
    return err;
}

int sandbox_enter_nursery(
    const struct conf *conf, char *in_force_out, size_t in_force_bytes, struct sandbox **out)
{
    struct report report = {.text = in_force_out, .bytes = in_force_bytes};
    struct sandbox *sandbox = xcalloc(1, sizeof *sandbox);
    in_force_out[0] = '\0';
    sandbox->allows_programs = conf->worker.allow_exec;
    int err = enter(conf, &report, sandbox);
    if (err != 0) {
        sandbox_free(sandbox);
        return err;
    }
    *out = sandbox;
    return 0;
}

/* ---- the worker ---- */

/* Without a list of system calls, the limit on processes is what keeps a worker from making them
 * (not root; with it, threads are the filter's to start). */
static int forbid_processes(const struct sandbox *sandbox)
{
    const struct limit limit = {"processes", RLIMIT_NPROC, 0, true};
    return sandbox->worker != NULL || sandbox->allows_programs ? 0 : set_limit(&limit);
}

int sandbox_fd(const struct sandbox *sandbox)
{
    return sandbox->own != NULL ? landlock_fd(sandbox->own) : -1;
}

int sandbox_enter_worker(struct sandbox *sandbox)
{
    /* Not under AddressSanitizer: the leak check at exit traces its own process. */
    if (!SANITIZER_HAS_ADDRESS && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return -ERR_SYSTEM;
    }
    int err = SANITIZER_HAS_ANY ? 0 : forbid_processes(sandbox);
    if (err == 0 && sandbox->own != NULL) {
        err = enter_own_domain(sandbox);
    }
    return err == 0 && sandbox->worker != NULL ? syscall_filter_enter(sandbox->worker) : err;
}

void sandbox_free(struct sandbox *sandbox)
{
    if (sandbox == NULL) {
        return;
    }
    landlock_close(sandbox->own);
    syscall_filter_free(sandbox->worker);
    syscall_filter_free(sandbox->nursery);
    free(sandbox);
}
