/*
 * What the MTA is told: the table verdict × stage → SMFIS code, and the reply text that goes with a
 * refusal.
 */
#ifndef POSTERN_MILTERD_ANSWER_H
#define POSTERN_MILTERD_ANSWER_H

#include <libmilter/mfapi.h>

#include "common/hook.h"
#include "milterd/decision.h"

struct conn;

/* What an answer does to the thing that was judged. */
enum effect {
    EFFECT_GO_ON = 0,
    EFFECT_ACCEPT_CONNECTION, /* no more filtering for it */
    EFFECT_ACCEPT_MESSAGE,    /* no more hooks; at once if nothing is pending */
    EFFECT_REFUSE_CONNECTION,
    EFFECT_REFUSE_MESSAGE,
    EFFECT_REFUSE_RECIPIENT,
    EFFECT_REFUSE_COMMAND,
    EFFECT_DISCARD,
    EFFECT_DELIVER, /* end of message: changes are applied, then it goes on */
    EFFECT_NONE,    /* nobody waits for an answer */
    EFFECT_MISTAKE, /* the verdict has no place at this stage: answered as a failure */
};

struct answer_row {
    sfsistat code;
    enum effect effect;
};

struct answer_row answer_row(enum stage stage, enum verdict verdict);

/* Hands the decision's code, enhanced code and text to libmilter for the next refusal; a percent
 * sign is doubled as it wants. */
void answer_set_reply(SMFICTX *ctx, const struct decision *decision);

#endif
