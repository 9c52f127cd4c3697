/*
 * Runs a filter's work in a child process with limits, so that a crash or an endless loop in it
 * becomes a text, never the end of posternctl. The child says what it is about to do and how long
 * that may take; when it overstays, it is killed.
 */
#ifndef POSTERN_CTL_ISOLATE_H
#define POSTERN_CTL_ISOLATE_H

#include <jansson.h>
#include <stdint.h>

#include "common/conf.h"

struct isolate; /* the child's end */

/* In the child. */
void isolate_say_step(struct isolate *isolate, const char *step, int64_t limit_ms);
void isolate_say_result(struct isolate *isolate, const json_t *value);
/* No step that is said from now on may last beyond this (monotonic clock, ms). */
void isolate_set_end(struct isolate *isolate, int64_t end_ms);
/* What is logged from now on goes to this list (borrowed) and not to the outcome; NULL: to the
 * outcome. */
void isolate_keep_log(struct isolate *isolate, json_t *lines);

enum isolate_end { ISOLATE_RESULT = 0, ISOLATE_DIED, ISOLATE_KILLED, ISOLATE_NO_START };

struct isolate_outcome {
    enum isolate_end end;
    json_t *value;  /* ISOLATE_RESULT: what the child said */
    json_t *log;    /* lines logged by the child, "warn: text" */
    char step[64];  /* the last step it began */
    char text[256]; /* otherwise: what happened ("died by signal 11 (Segmentation fault)") */
};

/*
 * Forks, and calls work in the child with log lines going to the outcome, standard output to
 * standard error, and the sandbox of a worker in force. work says its result and returns.
 */
void isolate_run(const struct conf *conf, void (*work)(struct isolate *isolate, void *context),
    void *context, struct isolate_outcome *out);
void isolate_outcome_clear(struct isolate_outcome *outcome);

#endif
