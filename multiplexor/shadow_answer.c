#include "multiplexor/shadow_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/action.h"
#include "common/buf.h"
#include "common/text.h"
#include "common/verdict.h"
#include "common/xalloc.h"
#include "multiplexor/report.h"

enum { VALUE_SHOWN = 60 };

/* FNV-1a. Nobody gains by a collision: the filters are the administrator's. */
static uint64_t hash_of(struct slice bytes)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ (uint8_t)bytes.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* "add_header X-Spam: yes; replace_body 120 bytes"; cut where the room ends. */
static void describe_actions(struct slice changes, char *out, size_t out_bytes)
{
    struct buf in;
    struct action action;
    size_t at = 0;
    buf_view(&in, changes.data, changes.len);
    out[0] = '\0';
    while (at < out_bytes - 1 && action_get(&in, &action) == 0) {
        const struct action_info *info = action_info(action.kind);
        struct slice what = action.address.len > 0 ? action.address : action.value;
        int n = snprintf(out + at, out_bytes - at, "%s%s%s%.*s%s%.*s", at > 0 ? "; " : "",
            info->name, action.name.len > 0 || what.len > 0 ? " " : "", (int)action.name.len,
            action.name.len > 0 ? action.name.data : "", action.name.len > 0 ? ": " : "",
            (int)(what.len < VALUE_SHOWN ? what.len : VALUE_SHOWN), what.len > 0 ? what.data : "");
        at += n > 0 ? (size_t)n : 0;
        if (action.kind == ACTION_REPLACE_BODY && at < out_bytes - 1)
            at += (size_t)snprintf(out + at, out_bytes - at, " %zu bytes", action.body.len);
    }
}

void shadow_answer_of(const struct wire_reply *reply, struct shadow_answer *out)
{
    *out = (struct shadow_answer){
        .outcome = reply->outcome,
        .verdict = reply->verdict,
        .is_whole_message = (reply->flags & REPLY_WHOLE_MESSAGE) != 0,
        .code = reply->code,
        .delay_ms = reply->delay_ms,
        .text_hash = hash_of(reply->text),
        .action_hash = hash_of(reply->changes),
        .action_bytes = reply->changes.len,
    };
    text_copy(out->dsn, sizeof(out->dsn), reply->dsn);
    text_copy(out->where, sizeof(out->where), reply->where);
    text_copy(out->text, sizeof(out->text), reply->text);
    describe_actions(reply->changes, out->actions, sizeof(out->actions));
}

static void keep(
    struct shadow_tally *tally, const struct shadow_sample *sample, unsigned max_samples)
{
    if (max_samples == 0)
        return;
    if (tally->samples == NULL)
        tally->samples = xcalloc(SHADOW_SAMPLES_MAX, sizeof(*tally->samples));
    tally->samples[tally->next_sample] = *sample;
    tally->next_sample = (tally->next_sample + 1) % SHADOW_SAMPLES_MAX;
    tally->n_samples = tally->n_samples < max_samples ? tally->n_samples + 1 : max_samples;
}

static bool is_failed(const struct shadow_answer *answer)
{
    return answer->outcome != OUTCOME_OK;
}

void shadow_compare(
    struct shadow_tally *tally, const struct shadow_sample *sample, unsigned max_samples)
{
    const struct shadow_answer *a = &sample->live, *b = &sample->shadow;
    bool has_verdict = a->verdict != b->verdict || a->is_whole_message != b->is_whole_message;
    bool has_reply = a->code != b->code || strcmp(a->dsn, b->dsn) != 0 ||
                     a->text_hash != b->text_hash || a->delay_ms != b->delay_ms;
    bool has_actions = a->action_hash != b->action_hash || a->action_bytes != b->action_bytes;
    tally->compared++;
    tally->errors += is_failed(b) ? 1 : 0;
    tally->verdicts += has_verdict ? 1 : 0;
    tally->replies += has_reply ? 1 : 0;
    tally->actions += has_actions ? 1 : 0;
    if (has_verdict || has_reply || has_actions || is_failed(a) != is_failed(b))
        keep(tally, sample, max_samples);
    else
        tally->same++;
}

void shadow_tally_clear(struct shadow_tally *tally)
{
    free(tally->samples);
    *tally = (struct shadow_tally){0};
}

static json_t *answer_json(const struct shadow_answer *answer)
{
    return json_pack("{s:s, s:s, s:i, s:s, s:o, s:o, s:o}", "outcome",
        wire_outcome_name(answer->outcome), "verdict", verdict_name(answer->verdict), "code",
        (int)answer->code, "dsn", answer->dsn, "text", report_text(answer->text), "where",
        report_text(answer->where), "actions", report_text(answer->actions));
}

static json_t *sample_json(const struct shadow_sample *sample)
{
    return json_pack("{s:o, s:o, s:s, s:o, s:o}", "uid", report_text(sample->uid), "queue_id",
        report_text(sample->queue_id), "hook", hook_info(sample->hook)->name, "live",
        answer_json(&sample->live), "shadow", answer_json(&sample->shadow));
}

void shadow_tally_json(const struct shadow_tally *tally, bool with_samples, json_t *object)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"compared", tally->compared},
        {"same", tally->same},
        {"verdicts", tally->verdicts},
        {"replies", tally->replies},
        {"actions", tally->actions},
        {"errors", tally->errors},
        {"dropped", tally->dropped},
        {"incomplete", tally->incomplete},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        json_object_set_new(object, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    if (!with_samples)
        return;
    json_t *list = json_array();
    for (unsigned i = 1; i <= tally->n_samples; i++)
        json_array_append_new(
            list, sample_json(&tally->samples[(tally->next_sample + SHADOW_SAMPLES_MAX - i) %
                                              SHADOW_SAMPLES_MAX]));
    json_object_set_new(object, "samples", list);
}
