/* What the programs that the multiplexor starts have in common: their arguments, and the state that
 * a new process begins in. */
#ifndef POSTERN_MULTIPLEXOR_SPAWN_H
#define POSTERN_MULTIPLEXOR_SPAWN_H

#include <sys/types.h>

#include "common/conf.h"

/*
 * `program WORD [-c FILE] [-o K=V]… MORE…`, so that it reads the configuration that conf was read
 * from. Made before the fork; free() the list, its items are borrowed.
 *
 * word  comes first; NULL: none.
 * more  up to a NULL.
 */
char **spawn_arguments(
    const char *program, const char *word, const struct conf *conf, const char *const *more);

/*
 * In the child: signals as a program expects them, a process group of its own, which keeps a
 * terminal's Ctrl-C from what ends in good order after us, and SIGKILL when the parent dies. Ends
 * the process when the last cannot be had.
 */
void spawn_begin(pid_t parent);
/* In the child, when the descriptors are where they belong: nothing to read, and no other
 * descriptor but those listed. */
void spawn_finish(const int *keep, size_t n_keep);

#endif
