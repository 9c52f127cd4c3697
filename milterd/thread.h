/* Detached threads with small stacks, all signals but those of a crash blocked. */
#ifndef POSTERN_MILTERD_THREAD_H
#define POSTERN_MILTERD_THREAD_H

#include <stddef.h>

/* stack_bytes: raised to what a sanitizer needs. 0 or -ERR_SYSTEM with errno set. */
int thread_spawn(void *(*run)(void *), void *context, size_t stack_bytes);

#endif
