/*
 * What a compiled list of system calls says, asked without putting it in force: the library that compiles it may be out of memory half-way, say
 * nothing, and leave a program that has lost some of its rules.
 */
#ifndef POSTERN_BPF_PROGRAM_H
#define POSTERN_BPF_PROGRAM_H

#include <linux/filter.h>
#include <stdint.h>

/*
 * The action (SECCOMP_RET_*) for a call of this machine with all arguments 0. An instruction that such programs do not have, or a jump past the end,
 * gives SECCOMP_RET_KILL_PROCESS, as does a program without a return.
 */
uint32_t bpf_program_action(const struct sock_fprog *program, int call_number);

#endif
