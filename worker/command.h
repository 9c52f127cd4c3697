/*
 * A program that gets bytes on its standard input and gives bytes on its standard output, run to
 * its end: with an environment of its own, in a process group of its own, within a time and a size.
 * It and its group are gone when command_execute returns.
 *
 * Blocks: a hook has nothing else to do meanwhile, and what waits for it is bounded by the time.
 */
#ifndef POSTERN_WORKER_COMMAND_H
#define POSTERN_WORKER_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"

enum {
    COMMAND_ARGUMENTS_MAX = 100,
    COMMAND_ERRORS_MAX = 2048, /* bytes kept of what it writes to standard error */
};

struct command {
    const char *const *argv; /* NULL at the end; argv[0]: a path, or a name looked up in PATH */
    struct slice input;
    int64_t until_ms;                /* monotonic clock; it is killed then */
    struct buf output;               /* set up by the caller; its max is the bound */
    const char *bound;               /* what set that, for the error; NULL: worker.command_output */
    char errors[COMMAND_ERRORS_MAX]; /* out: standard error, any bytes */
    size_t n_errors;
};


/*
 * Runs it. Closing its input early is its own affair. Returns NULL when it ended by itself with
 * status 0, else what happened (in the arena): "exit status 1", "signal 11 (Segmentation fault)",
 * "not started: No such file or directory", "still running after its time", "more output than
 * worker.command_output" or what `bound` says.
 */
const char *command_execute(struct command *command, struct arena *arena);

#endif
