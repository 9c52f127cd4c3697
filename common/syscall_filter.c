#include "common/syscall_filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/bpf_program.h"
#include "common/err.h"
#include "common/syscall_narrow.h"
#include "common/xalloc.h"

enum {
    WORKER = SYSCALLS_WORKER | SYSCALLS_NURSERY,
    NURSERY = SYSCALLS_NURSERY,
    MILTERD = SYSCALLS_MILTERD,
    MUX = SYSCALLS_MUX,
    PROGRAMS = 16,
    ANY = WORKER | MILTERD | MUX,
    /* Binary search over the numbers in place of a chain. */
    OPTIMIZE_TREE = 2,
    COMPILE_SECS = 1, /* it takes some milliseconds */
};

#define NEW_NAMESPACES                                                                             \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |     \
        CLONE_NEWCGROUP)

struct call {
    const char *name;
    unsigned who;
};

static const struct call calls[] = {
#define CALL(name, who) {#name, who},
#include "common/syscalls.def"
#undef CALL
};

struct syscall_filter {
    struct sock_fprog program;
    size_t pid_at; /* of the instruction that compares with our pid; 0: none */
};

/* ---- rules ---- */

static bool is_for(unsigned who, enum syscall_role role, struct syscall_grants grants)
{
    return role == SYSCALLS_MUX || (who & (unsigned)role) != 0 ||
           (grants.programs && (who & PROGRAMS) != 0);
}

/* A call that this machine does not have is no error. */
static int allow(scmp_filter_ctx filter, const char *name)
{
    int number = seccomp_syscall_resolve_name(name);
    return number < 0 ? 0 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
}

static int allow_if(scmp_filter_ctx filter, int number, struct scmp_arg_cmp arg)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1, arg);
}

/* Threads always; the nursery's fork; any child without new namespaces where programs may run. */
static int allow_clone(scmp_filter_ctx filter, enum syscall_role role, struct syscall_grants grants)
{
    if (role == SYSCALLS_MUX || grants.programs) {
        return allow_if(filter, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0));
    }
    int err = allow_if(filter, SCMP_SYS(clone),
        SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | NEW_NAMESPACES, CLONE_THREAD));
    if (err == 0 && role == SYSCALLS_NURSERY) {
        err = allow_if(filter, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_EQ, CLONE_PARENT | SIGCHLD));
    }
    return err;
}

/* TCP and UDP, nothing raw; the type's upper bits are flags. */
static int allow_internet(scmp_filter_ctx filter, int family, bool has_datagrams)
{
    static const unsigned types[] = {SOCK_STREAM, SOCK_DGRAM};
    int err = 0;
    for (size_t i = 0; i < (has_datagrams ? 2 : 1) && err == 0; i++) {
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family), SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, types[i]));
    }
    return err;
}

static int allow_sockets(
    scmp_filter_ctx filter, enum syscall_role role, struct syscall_grants grants)
{
    bool has_network = grants.network || role == SYSCALLS_MUX || role == SYSCALLS_MILTERD;
    int err = allow_if(filter, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    if (err == 0) {
        err = allow_if(filter, SCMP_SYS(socketpair), SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    }
    if (err == 0 && (has_network || grants.tcp)) {
        err = allow_internet(filter, AF_INET, has_network);
    }
    if (err == 0 && (has_network || grants.tcp)) {
        err = allow_internet(filter, AF_INET6, has_network);
    }
    return err;
}

/* Not those that put bytes into a terminal's input. */
static int allow_ioctl(scmp_filter_ctx filter)
{
    static const unsigned requests[] = {
        FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TCGETS, TIOCGWINSZ, TIOCGPGRP};
    int err = 0;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0] && err == 0; i++) {
        err =
            allow_if(filter, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, requests[i]));
    }
    return err;
}

/* A worker names itself and reads its own limits; the others may set what is their own. */
static int allow_self(scmp_filter_ctx filter, enum syscall_role role)
{
    if (role == SYSCALLS_NURSERY || role == SYSCALLS_MUX) {
        int err = allow(filter, "prctl");
        return err == 0 ? allow(filter, "prlimit64") : err;
    }
    int err = allow_if(filter, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    return err == 0 ? allow_if(filter, SCMP_SYS(prlimit64), SCMP_A2(SCMP_CMP_EQ, 0)) : err;
}

static int add_rules(scmp_filter_ctx filter, enum syscall_role role, struct syscall_grants grants)
{
    int err = 0;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0] && err == 0; i++) {
        err = is_for(calls[i].who, role, grants) ? allow(filter, calls[i].name) : 0;
    }
    err = err == 0 ? allow_clone(filter, role, grants) : err;
    err = err == 0 ? allow_sockets(filter, role, grants) : err;
    err = err == 0 ? allow_ioctl(filter) : err;
    err = err == 0 ? allow_self(filter, role) : err;
    /* Its flags are in memory, where a filter cannot look. */
    return err == 0 ? seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) : err;
}

/* ---- the program ---- */

/* libseccomp gives the program to a descriptor only. */
static int take_program(scmp_filter_ctx filter, struct syscall_filter *out)
{
    int fd = memfd_create("syscalls", MFD_CLOEXEC);
    int err = fd < 0 ? -errno : seccomp_export_bpf(filter, fd);
    off_t bytes = err == 0 ? lseek(fd, 0, SEEK_END) : 0;
    size_t n = bytes > 0 ? (size_t)bytes / sizeof(struct sock_filter) : 0;
    if (err == 0 && (n == 0 || n > BPF_MAXINSNS)) {
        err = -E2BIG;
    }
    if (err == 0) {
        out->program.len = (unsigned short)n;
        out->program.filter = xcalloc(n, sizeof(struct sock_filter));
        err = pread(fd, out->program.filter, (size_t)bytes, 0) == bytes ? 0 : -EIO;
    }
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

/* libseccomp 2.5 has been seen to say that all went well when it had no memory for a rule. */
static int check(
    const struct sock_fprog *program, enum syscall_role role, struct syscall_grants grants)
{
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        int number = seccomp_syscall_resolve_name(calls[i].name);
        uint32_t wanted = is_for(calls[i].who, role, grants)
                              ? SECCOMP_RET_ALLOW
                              : (SECCOMP_RET_ERRNO | (uint32_t)EPERM);
        if (number >= 0 && bpf_program_action(program, number) != wanted) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* Another thing that it does without memory is to go round and round: then the process ends, and is
 * started again by whoever started it. In CPU time, since a busy machine is no reason. */
static void limit_compiling(int secs)
{
    const struct itimerval limit = {.it_value = {.tv_sec = secs}};
    (void)setitimer(ITIMER_VIRTUAL, &limit, NULL);
}

static int compile(enum syscall_role role, struct syscall_grants grants, struct syscall_filter *out)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL) {
        return -ENOMEM;
    }
    int err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
    err = err == 0 ? seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_TREE) : err;
    err = err == 0 ? add_rules(filter, role, grants) : err;
    err = err == 0 ? take_program(filter, out) : err;
    err = err == 0 ? check(&out->program, role, grants) : err;
    seccomp_release(filter);
    return err;
}

static void narrow(struct syscall_grants grants, struct syscall_filter *out)
{
    struct syscall_narrow narrow;
    syscall_narrow_make(grants, &narrow);
    out->program.len = (unsigned short)narrow.n;
    out->program.filter = narrow.code;
    out->pid_at = narrow.pid_at;
}

int syscall_filter_new(
    enum syscall_role role, struct syscall_grants grants, struct syscall_filter **out)
{
    struct syscall_filter *filter = xcalloc(1, sizeof *filter);
    int err = 0;
    if (role == SYSCALLS_WORKER) {
        narrow(grants, filter);
    } else {
        limit_compiling(COMPILE_SECS);
        err = compile(role, grants, filter);
        limit_compiling(0);
    }
    if (err != 0) {
        syscall_filter_free(filter);
        errno = -err;
        return -ERR_SYSTEM;
    }
    *out = filter;
    return 0;
}

int syscall_filter_enter(const struct syscall_filter *filter)
{
    if (filter->pid_at != 0) {
        filter->program.filter[filter->pid_at].k = (uint32_t)getpid();
    }
    long result =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter->program);
    if (result > 0) { /* a thread that has a filter of its own */
        errno = ESRCH;
    }
    return result == 0 ? 0 : -ERR_SYSTEM;
}

void syscall_filter_free(struct syscall_filter *filter)
{
    if (filter == NULL) {
        return;
    }
    free(filter->program.filter);
    free(filter);
}
