/* What was decided about the thing that a hook judges, in a form that outlives the record it came
 * in. */
#ifndef POSTERN_MILTERD_DECISION_H
#define POSTERN_MILTERD_DECISION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/hook.h"
#include "common/verdict.h"

/* Who made it, and how long that took; all zero when nobody was asked. */
struct served {
    uint32_t worker_pid; /* 0: no worker saw it */
    uint32_t generation;
    uint32_t queue_us, hook_us;
    unsigned attempts; /* how often it was asked */
};

struct decision {
    enum verdict verdict;
    enum stage stage;      /* where it was made */
    bool is_whole_message; /* a discard at RCPT that means the message */
    bool is_failure;       /* milterd's own answer: nobody answered, or refused early */
    uint16_t code;         /* 0: the MTA's own reply */
    char dsn[REPLY_DSN_MAX + 1];
    char *text; /* owned; lines separated by LF; NULL: none */
    uint32_t delay_ms;
    char where[128];     /* "filter.lua:12" or "" */
    const char *outcome; /* static text; NULL when all went well */
    char *error;         /* owned; for the log; NULL: none */
    struct served served;
};

/* All zero is VERDICT_CONTINUE with nothing to say. */
void decision_clear(struct decision *decision);
/* Moves from into to, freeing what to held. */
void decision_move(struct decision *to, struct decision *from);

void decision_set_reply(struct decision *decision, const struct smtp_reply *reply);
/* The configured answer to a failure; uid ends the text. */
void decision_set_failure(struct decision *decision, enum failure_cause cause,
    enum failure_answer answer, const char *uid);
/* A refusal of milterd's own: verdict by the class of the code. */
void decision_set_refusal(
    struct decision *decision, uint16_t code, const char *dsn, const char *text);

#endif
