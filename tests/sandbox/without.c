/*
 * without landlock|seccomp PROGRAM WORDS…: runs a program as on a kernel that lacks Landlock, or
 * the loading of lists of system calls: those calls give ENOSYS, in it and in all that it starts.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int deny(unsigned first, unsigned last)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, first, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, last, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0;
}

int main(int argc, char **argv)
{
    int failed = 1;
    if (argc > 2 && strcmp(argv[1], "landlock") == 0) {
        failed = deny(SYS_landlock_create_ruleset, SYS_landlock_restrict_self);
    } else if (argc > 2 && strcmp(argv[1], "seccomp") == 0) {
        failed = deny(SYS_seccomp, SYS_seccomp);
    }
    if (failed) {
        fprintf(stderr, "usage: without landlock|seccomp PROGRAM\n");
        return 2;
    }
    execv(argv[2], argv + 2);
    perror(argv[2]);
    return 127;
}
