#include "common/syscall_narrow.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "common/xalloc.h"

enum {
    WORKER = SYSCALLS_WORKER,
    NURSERY = SYSCALLS_NURSERY,
    MILTERD = 0,
    MUX = 0,
    PROGRAMS = 16,
    ANY = WORKER,
    RULES_MAX =
        24, /* instructions besides one for each call that is denied whatever its arguments */
};

struct call {
    const char *name;
    unsigned who;
};

static const struct call calls[] = {
#define CALL(name, who) {#name, who},
#include "common/syscalls.def"
#undef CALL
};

#define N_CALLS (sizeof calls / sizeof calls[0])

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
enum { LOW = sizeof(uint32_t), HIGH = 0 };
#else
enum { LOW = 0, HIGH = sizeof(uint32_t) };
#endif

#define ARG(n, half) ((uint32_t)(offsetof(struct seccomp_data, args) + 8 * (n) + (half)))
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define ALLOW        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define DENY         BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
/* Over the next n instructions unless the accumulator is this, or has this bit. */
#define UNLESS(value, n)   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n)
#define UNLESS_BIT(bit, n) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bit, 0, n)

static void put(struct syscall_narrow *out, const struct sock_filter *code, size_t n)
{
    memcpy(out->code + out->n, code, n * sizeof *code);
    out->n += n;
}

#define PUT(out, ...)                                                                              \
    put(out, (const struct sock_filter[]){__VA_ARGS__},                                            \
        sizeof((const struct sock_filter[]){__VA_ARGS__}) / sizeof(struct sock_filter))

static bool is_given_up(const struct call *call, struct syscall_grants grants)
{
    return (call->who & NURSERY) != 0 && (call->who & WORKER) == 0 &&
           !(grants.programs && (call->who & PROGRAMS) != 0);
}

static void put_calls(struct syscall_narrow *out, struct syscall_grants grants)
{
    for (size_t i = 0; i < N_CALLS; i++) {
        int number =
            is_given_up(&calls[i], grants) ? seccomp_syscall_resolve_name(calls[i].name) : -1;
        if (number >= 0) { /* a call that this machine does not have is no error */
            PUT(out, UNLESS((uint32_t)number, 1), DENY);
        }
    }
}

static void put_signals(struct syscall_narrow *out)
{
    PUT(out, UNLESS(SYS_tgkill, 4), LOAD(ARG(0, LOW)));
    out->pid_at = out->n;
    PUT(out, UNLESS(0, 1), ALLOW, DENY);
}

/* The number stays in the accumulator until a rule's own; the architecture is already checked by
 * the filter below. The kernel, too, looks at the low half of an int only. */
void syscall_narrow_make(struct syscall_grants grants, struct syscall_narrow *out)
{
    *out = (struct syscall_narrow){
        .code = xcalloc(2 * N_CALLS + RULES_MAX, sizeof(struct sock_filter))};
    PUT(out, LOAD(offsetof(struct seccomp_data, nr)));
    put_calls(out, grants);
    PUT(out, UNLESS(SYS_prctl, 4), LOAD(ARG(0, LOW)), UNLESS(PR_SET_NAME, 1), ALLOW, DENY);
    PUT(out, UNLESS(SYS_prlimit64, 6), LOAD(ARG(2, LOW)), UNLESS(0, 3), LOAD(ARG(2, HIGH)),
        UNLESS(0, 1), ALLOW, DENY);
    if (!grants.programs) {
        PUT(out, UNLESS(SYS_clone, 4), LOAD(ARG(0, LOW)), UNLESS_BIT(CLONE_THREAD, 1), ALLOW, DENY);
        put_signals(out);
    }
    PUT(out, ALLOW);
}
