/*
 * A run: one hook that the filter in service was asked for. It waits for its turn, is put to the
 * shadow's workers as a request of a client within this process, and is compared when both have
 * answered.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/xalloc.h"
#include "multiplexor/client.h"
#include "multiplexor/generation.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"
#include "multiplexor/shadow.h"
#include "multiplexor/shadow_talk.h"

enum { TRY_MIN_MS = 20 /* with less time left a run is not begun */ };

/* ---- life ---- */

struct shadow_run *shadow_run_new(struct talk *talk, struct request *request)
{
    struct shadow_run *run = xcalloc(1, sizeof(*run));
    *run = (struct shadow_run){
        .talk = talk,
        .request = request,
        .sample.hook = request->hook->hook,
        .deadline_ms = request->deadline_ms,
        .len = request->len,
        .record = xmalloc(request->len),
    };
    snprintf(run->sample.uid, sizeof(run->sample.uid), "%s", request->uid);
    snprintf(run->sample.queue_id, sizeof(run->sample.queue_id), "%s", request->queue_id);
    memcpy(run->record, request->record, request->len);
    TAILQ_INSERT_TAIL(&talk->runs, run, entry);
    talk->mux->shadow.n_runs++;
    request->shadow = run;
    for (int i = 0; i < request->n_fds; i++) {
        int fd = fcntl(request->fds[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            break;
        run->fds[run->n_fds++] = fd;
    }
    return run;
}

void shadow_run_free(struct shadow_run *run)
{
    struct talk *talk = run->talk;
    if (run->request != NULL)
        run->request->shadow = NULL;
    if (talk->running == run)
        talk->running = NULL;
    for (int i = 0; i < run->n_fds; i++)
        close(run->fds[i]);
    TAILQ_REMOVE(&talk->runs, run, entry);
    talk->mux->shadow.n_runs--;
    free(run->record);
    free(run);
}

/* ---- taking in ---- */

static void reset_message(struct talk_message *message, const char *uid)
{
    buf_clear(&message->state);
    buf_clear(&message->changes);
    message->is_accepted = message->has_state = message->has_no_changes = false;
    snprintf(message->uid, sizeof(message->uid), "%s", uid);
}

static bool take_state(struct buf *state, struct slice bytes, bool *has_state)
{
    buf_reset(state);
    *has_state = true;
    return buf_put(state, bytes.data, bytes.len) == 0;
}

/* What the shadow's answer leaves for its later hooks, as milterd takes in one. False: too much. */
static bool take_in(struct talk *talk, const struct hook_info *info, const struct wire_reply *reply)
{
    struct talk_message *message = &talk->message;
    bool goes_on = reply->verdict == VERDICT_CONTINUE || reply->verdict == VERDICT_ACCEPT;
    bool has_message = (info->flags & HOOK_HAS_MSG) != 0;
    if ((reply->flags & REPLY_HAS_CONN_STATE) != 0 &&
        !take_state(&talk->state, reply->conn_state, &talk->has_state))
        return false;
    if (reply->verdict == VERDICT_ACCEPT && info->subject == SUBJECT_CONNECTION)
        talk->is_accepted = true;
    if (!has_message)
        return true;
    if (reply->verdict == VERDICT_ACCEPT && info->subject == SUBJECT_MESSAGE)
        message->is_accepted = true;
    if ((reply->flags & REPLY_HAS_MSG_STATE) != 0 &&
        !take_state(&message->state, reply->msg_state, &message->has_state))
        return false;
    if ((reply->flags & REPLY_NO_CHANGES) != 0) {
        message->has_no_changes = true;
        buf_reset(&message->changes);
    }
    if (message->has_no_changes || (info->subject == SUBJECT_RECIPIENT && !goes_on) ||
        (info->flags & HOOK_CHANGES) == 0 || reply->outcome != OUTCOME_OK)
        return true;
    return buf_put(&message->changes, reply->changes.data, reply->changes.len) == 0;
}

/* ---- comparing ---- */

/* Answers of ours for want of a worker say nothing about a filter. */
static bool is_comparable(const struct shadow_answer *answer)
{
    return answer->outcome != OUTCOME_OVERLOAD && answer->outcome != OUTCOME_NOBODY &&
           answer->outcome != OUTCOME_DRAIN && answer->outcome != OUTCOME_RENEGOTIATE;
}

/* Compares and frees a run for which nothing more will come. */
static void settle(struct shadow_run *run)
{
    struct mux *mux = run->talk->mux;
    if (!run->is_through || run->request != NULL)
        return;
    if (run->has_live && run->has_shadow && is_comparable(&run->sample.live))
        shadow_compare(
            &mux->shadow.tally, &run->sample, (unsigned)mux->conf->multiplexor.shadow_samples);
    shadow_run_free(run);
}

void shadow_note_live(struct request *request, const struct wire_reply *reply)
{
    struct shadow_run *run = request->shadow;
    if (run == NULL)
        return;
    run->has_live = true;
    shadow_answer_of(reply, &run->sample.live);
    shadow_forget_live(request);
}

void shadow_forget_live(struct request *request)
{
    struct shadow_run *run = request->shadow;
    if (run == NULL)
        return;
    struct talk *talk = run->talk;
    request->shadow = NULL;
    run->request = NULL;
    settle(run);
    (void)talk_forget_if_over(talk);
}

/* ---- running ---- */

/* The shadow has no part in this one any more: nobody reads the parcel on its account. */
static void end_run(struct shadow_run *run)
{
    run->is_through = true;
    run->talk->is_over = run->talk->is_over || run->sample.hook == HOOK_CLOSE;
    for (int i = 0; i < run->n_fds; i++)
        close(run->fds[i]);
    run->n_fds = 0;
    if (run->request != NULL)
        run->request->is_parcel_held = false;
    settle(run);
}

static void drop_run(struct shadow_run *run)
{
    run->talk->mux->shadow.tally.dropped++;
    end_run(run);
}

/* It has nothing to say here: it defines no such hook, or has accepted already. */
static void pass_run(struct shadow_run *run)
{
    const struct wire_reply reply = {.outcome = OUTCOME_OK, .verdict = VERDICT_CONTINUE};
    run->has_shadow = true;
    shadow_answer_of(&reply, &run->sample.shadow);
    end_run(run);
}

/* Puts it to a worker, with the shadow's own states and changes in the place of those that came.
 * The answer may have come when this returns. 0, or an error: nothing has happened. */
static int put(struct talk *talk, struct shadow_run *run, int64_t left_ms)
{
    const struct talk_message *message = &talk->message;
    struct wire_header header;
    struct wire_request request;
    struct slice annex = {0}, record = slice_of(run->record, run->len);
    int err = wire_get_header(record, ROLE_MILTERD, run->n_fds, &header);
    int index = err == 0 ? wire_fd_index(&header, WIRE_ANNEX) : -1;
    int parcel = err == 0 ? wire_fd_index(&header, WIRE_PARCEL) : -1;
    if (index >= 0)
        err = annex_open(run->fds[index], WIRE_ANNEX_MAX, &annex);
    if (err == 0)
        err = wire_get_request(record, annex, &request);
    if (err == 0) {
        request.budget_ms = (uint32_t)left_ms;
        request.attempt = 1;
        request.flags = (uint8_t)((request.flags & REQUEST_NEW_MESSAGE) | REQUEST_RESERVED |
                                  (talk->has_state ? REQUEST_HAS_CONN_STATE : 0) |
                                  (message->has_state ? REQUEST_HAS_MSG_STATE : 0));
        request.conn_state = buf_slice(&talk->state);
        request.msg_state = buf_slice(&message->state);
        request.changes = buf_slice(&message->changes);
        talk->running = run;
        err = client_ask_local(talk->client, &request, parcel >= 0 ? run->fds[parcel] : -1, true);
        if (err != 0)
            talk->running = NULL;
    }
    annex_close(annex);
    return err;
}

static bool has_nothing_to_say(const struct talk *talk, const struct hook_info *info)
{
    uint32_t hooks = talk->mux->shadow.generation->needs.hooks;
    bool is_accepted =
        talk->is_accepted || ((info->flags & HOOK_HAS_MSG) != 0 && talk->message.is_accepted);
    return (hooks & HOOK_BIT(info->hook)) == 0 || (is_accepted && info->subject != SUBJECT_NONE);
}

static struct shadow_run *first_waiting(const struct talk *talk)
{
    struct shadow_run *run;
    TAILQ_FOREACH(run, &talk->runs, entry)
    {
        if (!run->is_through && run != talk->running)
            return run;
    }
    return NULL;
}

/* One run, whose turn it is. */
static void begin_run(struct talk *talk, struct shadow_run *run)
{
    const struct hook_info *info = hook_info(run->sample.hook);
    int64_t left_ms = run->deadline_ms - clock_now_ms();
    if ((info->flags & HOOK_HAS_MSG) != 0 && strcmp(talk->message.uid, run->sample.uid) != 0)
        reset_message(&talk->message, run->sample.uid);
    if (talk_is_lost(talk, run->sample.uid)) {
        drop_run(run);
    } else if (has_nothing_to_say(talk, info)) {
        pass_run(run);
    } else if (left_ms < TRY_MIN_MS || put(talk, run, left_ms) != 0) {
        talk_lose(talk, run->sample.uid);
        drop_run(run);
    }
}

/* All whose turn has come. */
void talk_put_next(struct talk *talk)
{
    struct shadow_run *run;
    if (talk->is_putting)
        return;
    talk->is_putting = true;
    while (talk->running == NULL && (run = first_waiting(talk)) != NULL)
        begin_run(talk, run);
    talk->is_putting = false;
}

static void take_answer(struct talk *talk, struct shadow_run *run, const struct wire_reply *reply)
{
    shadow_answer_of(reply, &run->sample.shadow);
    if (!is_comparable(&run->sample.shadow)) {
        talk_lose(talk, run->sample.uid);
        drop_run(run);
        return;
    }
    run->has_shadow = true;
    if (!take_in(talk, hook_info(run->sample.hook), reply))
        talk_lose(talk, run->sample.uid);
    if (run->sample.hook == HOOK_MESSAGE)
        reset_message(&talk->message, "");
    end_run(run);
}

void talk_on_answer(const struct wire_reply *reply, void *context)
{
    struct talk *talk = context;
    struct shadow_run *run = talk->running;
    LOG_INVARIANT(run != NULL);
    talk->running = NULL;
    take_answer(talk, run, reply);
    if (talk->is_putting)
        return; /* whoever put it goes on */
    talk_put_next(talk);
    if (!talk_forget_if_over(talk))
        talk_account(talk);
}
