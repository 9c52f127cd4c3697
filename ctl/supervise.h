/*
 * The programs that dev runs: each started with its standard error on a pipe, started again with a
 * growing pause when it ends, ended in good order at last. Each is the leader of a process group,
 * so that nothing of it outlives us.
 */
#ifndef POSTERN_CTL_SUPERVISE_H
#define POSTERN_CTL_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"

enum {
    SUPERVISE_PAUSE_MIN_MS = 100,
    SUPERVISE_PAUSE_MAX_MS = 10000,
    SUPERVISE_STEADY_MS = 5000, /* one that ran so long starts again at once */
    SUPERVISE_LINE_MAX = 16384,
};

/* Called with each whole line of a program's standard error, without its line end. */
typedef void (*supervise_line_cb)(const char *program, struct slice line, void *context);

struct supervised {
    const char *name;               /* "milterd" */
    char **argv;                    /* owned; argv[0] is the program's path */
    pid_t pid;                      /* 0: not running */
    int stderr_fd;                  /* -1: closed */
    struct buf line;                /* what has arrived of the next line */
    int64_t started_ms, restart_ms; /* restart_ms: when to start it; 0: not due */
    int64_t pause_ms;
    int n_starts;
};

/* argv becomes the supervised's own. Nothing is started yet. */
void supervise_init(struct supervised *child, const char *name, char **argv, int64_t now_ms);
void supervise_clear(struct supervised *child);

/* Starts it if it is due. Returns 0, -ERR_AGAIN (not due) or -ERR_SYSTEM (then it is due again
 * after a pause). */
int supervise_start(struct supervised *child, int64_t now_ms);
/* Milliseconds until it is due; -1 while it runs. */
int64_t supervise_due_ms(const struct supervised *child, int64_t now_ms);
/* Reads what its standard error has. */
void supervise_read(struct supervised *child, supervise_line_cb cb, void *context);
/* pid has ended with that status: true when it was this one, which is then due again after a pause.
 */
bool supervise_ended(struct supervised *child, pid_t pid, int64_t now_ms);
/* Asks it to end; kills the whole group when hard. */
void supervise_stop(struct supervised *child, bool hard);

#endif
