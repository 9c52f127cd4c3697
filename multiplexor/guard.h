/*
 * The filter's own tests before a reload (multiplexor.reload_tests): `posternctl test` as a child
 * process, its output kept, its time limited. One at a time; what comes of it goes to
 * reload_on_tested. Nothing here blocks.
 */
#ifndef POSTERN_MULTIPLEXOR_GUARD_H
#define POSTERN_MULTIPLEXOR_GUARD_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/conf.h"

enum { GUARD_OUTPUT_MAX = 16384, GUARD_TEXT_MAX = 1024 };

struct mux;

struct guard {
    pid_t pid; /* 0: none runs */
    int fd;    /* what it prints; good while it runs */
    int64_t started_ms;
    struct conf *conf;             /* that is to be loaded afterwards */
    const char *refusal;           /* why it was killed; NULL: it was not */
    char output[GUARD_OUTPUT_MAX]; /* the last of what it printed */
    size_t len;
    struct event readable, timer;
};

void guard_init(struct mux *mux);
void guard_clear(struct mux *mux);
bool guard_is_running(const struct mux *mux);
/* Starts the tests of the filter of conf, which is the guard's until it is told. May tell at once.
 */
void guard_begin(struct mux *mux, struct conf *conf);
/* They are not waited for any more: killed; told, with this text (static), when they have ended. */
void guard_give_up(struct mux *mux, const char *why);
/* A process has ended. True: it was the guard's. */
bool guard_on_exit(struct mux *mux, pid_t pid, int status);

#endif
