#include "milterd/decision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

void decision_clear(struct decision *decision)
{
    free(decision->text);
    free(decision->error);
    *decision = (struct decision){0};
}

void decision_move(struct decision *to, struct decision *from)
{
    if (to == from)
        return;
    decision_clear(to);
    *to = *from;
    *from = (struct decision){0};
}

void decision_set_reply(struct decision *decision, const struct smtp_reply *reply)
{
    decision->code = reply->code;
    memcpy(decision->dsn, reply->dsn, sizeof decision->dsn);
    free(decision->text);
    decision->text = reply->text.len > 0 ? xmemdup0(reply->text.data, reply->text.len) : NULL;
}

void decision_set_failure(struct decision *decision, enum failure_cause cause,
    enum failure_answer answer, const char *uid)
{
    struct smtp_reply reply = {0};
    char text[256];

    decision->verdict = failure_verdict(cause, answer, uid, &reply, text, sizeof text);
    decision->is_failure = true;
    decision_set_reply(decision, &reply);
}

void decision_set_refusal(
    struct decision *decision, uint16_t code, const char *dsn, const char *text)
{
    struct smtp_reply reply = {.code = code, .text = slice_text(text)};

    snprintf(reply.dsn, sizeof reply.dsn, "%s", dsn);
    decision->verdict = code >= 500 ? VERDICT_REJECT : VERDICT_TEMPFAIL;
    decision->is_failure = true;
    decision_set_reply(decision, &reply);
}
