/* The instructions that filters of system calls are made of; seccomp(2), and the kernel's
 * net/core/filter.c. */
#include "common/bpf_program.h"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* The word at an offset of struct seccomp_data. */
static bool load(const struct seccomp_data *data, uint32_t offset, uint32_t *out)
{
    if (offset % sizeof *out != 0 || offset > sizeof *data - sizeof *out) {
        return false;
    }
    memcpy(out, (const char *)data + offset, sizeof *out);
    return true;
}

/* How far a jump goes on, or -1: not one of ours. */
static int jump(const struct sock_filter *at, uint32_t a)
{
    switch (at->code) {
    case BPF_JMP | BPF_JA:
        return at->k < BPF_MAXINSNS ? (int)at->k : -1;
    case BPF_JMP | BPF_JEQ | BPF_K:
        return a == at->k ? at->jt : at->jf;
    case BPF_JMP | BPF_JGT | BPF_K:
        return a > at->k ? at->jt : at->jf;
    case BPF_JMP | BPF_JGE | BPF_K:
        return a >= at->k ? at->jt : at->jf;
    case BPF_JMP | BPF_JSET | BPF_K:
        return (a & at->k) != 0 ? at->jt : at->jf;
    default:
        return -1;
    }
}

uint32_t bpf_program_action(const struct sock_fprog *program, int call_number)
{
    const struct seccomp_data data = {.nr = call_number, .arch = seccomp_arch_native()};
    uint32_t a = 0;
    for (size_t i = 0; i < program->len; i++) {
        const struct sock_filter *at = &program->filter[i];
        if (at->code == (BPF_RET | BPF_K)) {
            return at->k;
        }
        if (at->code == (BPF_ALU | BPF_AND | BPF_K)) {
            a &= at->k;
        } else if (at->code == (BPF_LD | BPF_W | BPF_ABS)) {
            if (!load(&data, at->k, &a)) {
                break;
            }
        } else {
            int over = jump(at, a);
            if (over < 0) {
                break;
            }
            i += (size_t)over;
        }
    }
    return SECCOMP_RET_KILL_PROCESS;
}
