/*
 * Connections as the shadow sees them: one hook after the other, each with the states and changes
 * of the shadow's own earlier ones, as a front end would keep them. A run is one hook that the
 * filter in service was asked for: it waits for its turn, is put to the shadow's workers as a
 * request of a client within this process, and is compared when both have answered.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/xalloc.h"
#include "multiplexor/client.h"
#include "multiplexor/generation.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"
#include "multiplexor/shadow.h"

enum {
    TRY_MIN_MS = 20,         /* with less time left a run is not begun */
    TALK_CLIENT_BYTES = 512, /* about what its client takes */
    STATE_MAX = 32768,       /* as in records.def */
};

TAILQ_HEAD(run_list, shadow_run);

struct shadow_run {
    TAILQ_ENTRY(shadow_run) entry;
    struct talk *talk;
    struct request *request; /* whose answer is awaited; NULL: it has come, or never will */
    bool has_live, has_shadow, is_through; /* through: the shadow has answered, or will not */
    struct shadow_sample sample;
    int64_t deadline_ms;
    int fds[SOCK_MAX_FDS]; /* of the record, until it is put */
    int n_fds;
    size_t len;
    uint8_t *record; /* as it came; NULL when it has been put */
};

/* A message: what milterd keeps of one (milterd/consult.c). */
struct talk_message {
    char uid[49];
    bool is_accepted, has_state, has_no_changes;
    struct buf state, changes;
};

struct talk {
    TAILQ_ENTRY(talk) entry;
    TAILQ_ENTRY(talk) bucket_entry;
    struct talk_list *bucket;
    struct mux *mux;
    char conn_id[33];
    struct client *client;
    struct run_list runs;
    struct shadow_run *running; /* one of runs; NULL: none */
    bool is_putting;            /* in put_next: answers may come within it */
    bool is_lost;               /* a hook of the connection was not run: no more of it are */
    bool is_over;               /* filter_close has had its turn */
    bool is_accepted, has_state;
    struct buf state;
    struct talk_message message;
    char begun_uid[49], lost_uid[49]; /* the message seen from its start; the one given up */
    int64_t used_ms;
    size_t bytes;
};

/* ---- life ---- */

static struct talk_list *bucket_of(struct shadow *shadow, const char *conn_id)
{
    return &shadow->buckets[hash_bytes(slice_text(conn_id)) % SHADOW_BUCKETS];
}

static struct talk *find(struct shadow *shadow, const char *conn_id)
{
    struct talk *talk;
    TAILQ_FOREACH(talk, bucket_of(shadow, conn_id), bucket_entry)
    {
        if (strcmp(talk->conn_id, conn_id) == 0)
            return talk;
    }
    return NULL;
}

static void on_answer(const struct wire_reply *reply, void *context);

static struct talk *talk_new(struct mux *mux, const char *conn_id)
{
    struct shadow *shadow = &mux->shadow;
    struct talk *talk = xcalloc(1, sizeof(*talk));
    size_t most = (size_t)mux->conf->multiplexor.shadow_memory;
    *talk = (struct talk){.mux = mux, .bucket = bucket_of(shadow, conn_id)};
    snprintf(talk->conn_id, sizeof(talk->conn_id), "%s", conn_id);
    talk->client = client_open_local(mux, on_answer, talk);
    TAILQ_INIT(&talk->runs);
    buf_init(&talk->state, STATE_MAX);
    buf_init(&talk->message.state, STATE_MAX);
    buf_init(&talk->message.changes, most);
    TAILQ_INSERT_TAIL(&shadow->talks, talk, entry);
    TAILQ_INSERT_TAIL(talk->bucket, talk, bucket_entry);
    return talk;
}

static void run_free(struct shadow_run *run)
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

/* A run that a worker still has is forgotten; its parcel counts as held then. */
static void talk_free(struct talk *talk)
{
    struct shadow *shadow = &talk->mux->shadow;
    struct shadow_run *run;
    while ((run = TAILQ_FIRST(&talk->runs)) != NULL)
        run_free(run);
    client_close_local(talk->client);
    shadow->bytes -= talk->bytes;
    TAILQ_REMOVE(&shadow->talks, talk, entry);
    TAILQ_REMOVE(talk->bucket, talk, bucket_entry);
    buf_clear(&talk->state);
    buf_clear(&talk->message.state);
    buf_clear(&talk->message.changes);
    free(talk);
}

void shadow_drop_talks(struct mux *mux, int64_t unused_since_ms)
{
    struct talk *talk;
    while ((talk = TAILQ_FIRST(&mux->shadow.talks)) != NULL && talk->used_ms <= unused_since_ms)
        talk_free(talk);
}

/* Whether it was forgotten, since its connection has ended and nothing of it is awaited. */
static bool forget_if_over(struct talk *talk)
{
    if (!talk->is_over || talk->is_putting || !TAILQ_EMPTY(&talk->runs))
        return false;
    talk_free(talk);
    return true;
}

static size_t size_of(const struct talk *talk)
{
    const struct shadow_run *run;
    size_t bytes = sizeof(*talk) + TALK_CLIENT_BYTES + talk->state.cap + talk->message.state.cap +
                   talk->message.changes.cap;
    TAILQ_FOREACH(run, &talk->runs, entry)
    {
        bytes += sizeof(*run) + (run->record != NULL ? run->len : 0);
    }
    return bytes;
}

/* The message at hand, or the whole connection, is given up: what comes of it is not run. */
static void lose(struct talk *talk, const char *uid)
{
    if (uid[0] == '\0')
        talk->is_lost = true;
    else
        snprintf(talk->lost_uid, sizeof(talk->lost_uid), "%s", uid);
}

static bool is_lost(const struct talk *talk, const char *uid)
{
    return talk->is_lost || (uid[0] != '\0' && strcmp(talk->lost_uid, uid) == 0);
}

/* Counts what the connection takes, and forgets those unused for longest when all take too much:
 * this one too, perhaps. */
static void account(struct talk *talk)
{
    struct mux *mux = talk->mux;
    struct shadow *shadow = &mux->shadow;
    size_t bytes = size_of(talk);
    shadow->bytes = shadow->bytes - talk->bytes + bytes;
    talk->bytes = bytes;
    while (shadow->bytes > (size_t)mux->conf->multiplexor.shadow_memory) {
        struct talk *oldest = TAILQ_FIRST(&shadow->talks);
        bool is_own = oldest == talk;
        shadow->tally.dropped++;
        talk_free(oldest);
        if (is_own)
            return;
    }
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
    run_free(run);
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
    (void)forget_if_over(talk);
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
    if (is_lost(talk, run->sample.uid)) {
        drop_run(run);
    } else if (has_nothing_to_say(talk, info)) {
        pass_run(run);
    } else if (left_ms < TRY_MIN_MS || put(talk, run, left_ms) != 0) {
        lose(talk, run->sample.uid);
        drop_run(run);
    }
}

/* All whose turn has come. */
static void put_next(struct talk *talk)
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
        lose(talk, run->sample.uid);
        drop_run(run);
        return;
    }
    run->has_shadow = true;
    if (!take_in(talk, hook_info(run->sample.hook), reply))
        lose(talk, run->sample.uid);
    if (run->sample.hook == HOOK_MESSAGE)
        reset_message(&talk->message, "");
    end_run(run);
}

static void on_answer(const struct wire_reply *reply, void *context)
{
    struct talk *talk = context;
    struct shadow_run *run = talk->running;
    LOG_INVARIANT(run != NULL);
    talk->running = NULL;
    take_answer(talk, run, reply);
    if (talk->is_putting)
        return; /* whoever put it goes on */
    put_next(talk);
    if (!forget_if_over(talk))
        account(talk);
}

/* ---- the beginning ---- */

static struct shadow_run *run_new(struct talk *talk, struct request *request)
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

/* Whether the connection and the message were seen from their start, so that the shadow has what
 * its earlier hooks left. */
static bool is_complete(struct talk *talk, const struct request *request, bool is_new)
{
    if (is_new && (request->flags & REQUEST_HAS_CONN_STATE) != 0)
        talk->is_lost = true;
    if (request->attempt > 1)
        lose(talk, request->uid);
    if ((request->flags & REQUEST_NEW_MESSAGE) != 0 && request->uid[0] != '\0')
        snprintf(talk->begun_uid, sizeof(talk->begun_uid), "%s", request->uid);
    if (strcmp(talk->begun_uid, request->uid) != 0 && request->uid[0] != '\0')
        lose(talk, request->uid);
    return !is_lost(talk, request->uid);
}

void shadow_begin(struct request *request)
{
    struct mux *mux = request->mux;
    struct shadow *shadow = &mux->shadow;
    if (!shadow->is_ready || request->is_shadowed || request->hook->answers == STAGE_NONE)
        return;
    request->is_shadowed = true;
    struct talk *talk = find(shadow, request->conn_id);
    bool is_new = talk == NULL;
    if (is_new)
        talk = talk_new(mux, request->conn_id);
    talk->used_ms = clock_now_ms();
    TAILQ_REMOVE(&shadow->talks, talk, entry);
    TAILQ_INSERT_TAIL(&shadow->talks, talk, entry);
    if (!is_complete(talk, request, is_new)) {
        shadow->tally.incomplete++;
    } else if (shadow->n_runs >= (unsigned)mux->conf->multiplexor.shadow_queue) {
        shadow->tally.dropped++;
        lose(talk, request->uid);
    } else {
        struct shadow_run *run = run_new(talk, request);
        request->is_parcel_held = request->n_fds > 0;
        if (run->n_fds < request->n_fds)
            lose(talk, request->uid); /* out of descriptors: dropped at its turn */
        put_next(talk);
    }
    if (!forget_if_over(talk))
        account(talk);
}
