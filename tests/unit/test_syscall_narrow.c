/* What a worker's filter takes of its nursery's system calls: all that the nursery alone has,
 * nothing that is the worker's. */
#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "common/bpf_program.h"
#include "common/syscall_narrow.h"

enum { WORKER = 1, NURSERY = 2, MILTERD = 4, MUX = 8, PROGRAMS = 16, ANY = WORKER | MILTERD | MUX };

static const struct {
    const char *name;
    unsigned who;
} calls[] = {
#define CALL(name, who) {#name, who},
#include "common/syscalls.def"
#undef CALL
};

static const uint32_t refused = SECCOMP_RET_ERRNO | EPERM;

static uint32_t action_of(struct syscall_grants grants, int number)
{
    struct syscall_narrow narrow;
    syscall_narrow_make(grants, &narrow);
    const struct sock_fprog program = {.len = (unsigned short)narrow.n, .filter = narrow.code};
    const uint32_t action = bpf_program_action(&program, number);
    free(narrow.code);
    return action;
}

static void check_table(struct syscall_grants grants)
{
    unsigned n_refused = 0;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        const int number = seccomp_syscall_resolve_name(calls[i].name);
        const bool is_kept = (calls[i].who & WORKER) != 0 ||
                             (grants.programs && (calls[i].who & PROGRAMS) != 0) ||
                             (calls[i].who & NURSERY) == 0;
        if (number < 0)
            continue;
        if (action_of(grants, number) != (is_kept ? SECCOMP_RET_ALLOW : refused))
            fail_msg("%s with programs %d", calls[i].name, grants.programs);
        n_refused += !is_kept;
    }
    assert_true(n_refused >= 4);
}

static void test_each_call(void **state)
{
    (void)state;
    check_table((struct syscall_grants){.programs = false});
    check_table((struct syscall_grants){.programs = true});
}

/* With all arguments 0: a fork without flags, another prctl than the name, limits that are only
 * read. */
static void test_arguments(void **state)
{
    (void)state;
    const struct syscall_grants none = {.programs = false}, programs = {.programs = true};
    assert_int_equal(action_of(none, SYS_clone), refused);
    assert_int_equal(action_of(programs, SYS_clone), SECCOMP_RET_ALLOW);
    assert_int_equal(action_of(none, SYS_prctl), refused);
    assert_int_equal(action_of(programs, SYS_prctl), refused);
    assert_int_equal(action_of(none, SYS_prlimit64), SECCOMP_RET_ALLOW);
}

/* The pid is put in later; a signal to any other process is refused. */
static void test_signals(void **state)
{
    (void)state;
    struct syscall_narrow narrow;
    syscall_narrow_make((struct syscall_grants){.programs = false}, &narrow);
    const struct sock_fprog program = {.len = (unsigned short)narrow.n, .filter = narrow.code};
    assert_true(narrow.pid_at > 0 && narrow.pid_at < narrow.n);
    narrow.code[narrow.pid_at].k = 7;
    assert_int_equal(bpf_program_action(&program, SYS_tgkill), refused);
    narrow.code[narrow.pid_at].k = 0;
    assert_int_equal(bpf_program_action(&program, SYS_tgkill), SECCOMP_RET_ALLOW);
    free(narrow.code);
    syscall_narrow_make((struct syscall_grants){.programs = true}, &narrow);
    assert_int_equal(narrow.pid_at, 0);
    free(narrow.code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_call),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
