/* What programs of system calls say, asked without the kernel. */
#include <errno.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "common/bpf_program.h"

#define REFUSED (SECCOMP_RET_ERRNO | EPERM)

static uint32_t ask(struct sock_filter *code, size_t n, int call)
{
    const struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    return bpf_program_action(&program, call);
}

static void test_each_jump(void **state)
{
    (void)state;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 7, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 100, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 50, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 2, 0),
        BPF_STMT(BPF_JMP | BPF_JA, 0),
        BPF_STMT(BPF_RET | BPF_K, REFUSED),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    size_t n = sizeof code / sizeof code[0];
    assert_int_equal(ask(code, n, 7), SECCOMP_RET_ALLOW);
    assert_int_equal(ask(code, n, 101), REFUSED);
    assert_int_equal(ask(code, n, 100), SECCOMP_RET_ALLOW);
    assert_int_equal(ask(code, n, 50), SECCOMP_RET_ALLOW);
    assert_int_equal(ask(code, n, 49), SECCOMP_RET_ALLOW);
    assert_int_equal(ask(code, n, 48), REFUSED);
}

static void test_arguments_are_zero(void **state)
{
    (void)state;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, REFUSED),
    };
    assert_int_equal(ask(code, sizeof code / sizeof code[0], SYS_read), SECCOMP_RET_ALLOW);
}

/* What a library without memory might leave. */
static void test_damaged_programs(void **state)
{
    (void)state;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 20, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_filter odd_load[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4000), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_filter odd_code[] = {
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    assert_int_equal(ask(code, 0, SYS_read), SECCOMP_RET_KILL_PROCESS);
    assert_int_equal(ask(code, 2, SYS_write), SECCOMP_RET_KILL_PROCESS);
    assert_int_equal(ask(code, 3, SYS_read), SECCOMP_RET_KILL_PROCESS);
    assert_int_equal(ask(code, 3, SYS_write), SECCOMP_RET_ALLOW);
    assert_int_equal(ask(odd_load, 2, SYS_read), SECCOMP_RET_KILL_PROCESS);
    assert_int_equal(ask(odd_code, 2, SYS_read), SECCOMP_RET_KILL_PROCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_jump),
        cmocka_unit_test(test_arguments_are_zero),
        cmocka_unit_test(test_damaged_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
