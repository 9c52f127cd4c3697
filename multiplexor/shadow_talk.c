/*
 * Connections as the shadow sees them: one hook after the other (shadow_run.c), each with the
 * states and changes of the shadow's own earlier ones, as a front end would keep them. Bounded in
 * bytes: those unused for longest are forgotten first.
 */
#include "multiplexor/shadow_talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/xalloc.h"
#include "multiplexor/client.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"
#include "multiplexor/shadow.h"

enum {
    TALK_CLIENT_BYTES = 512, /* about what its client takes */
    STATE_MAX = 32768,       /* as in records.def */
};

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

static struct talk *talk_new(struct mux *mux, const char *conn_id)
{
    struct shadow *shadow = &mux->shadow;
    struct talk *talk = xcalloc(1, sizeof(*talk));
    size_t most = (size_t)mux->conf->multiplexor.shadow_memory;
    *talk = (struct talk){.mux = mux, .bucket = bucket_of(shadow, conn_id)};
    snprintf(talk->conn_id, sizeof(talk->conn_id), "%s", conn_id);
    talk->client = client_open_local(mux, talk_on_answer, talk);
    TAILQ_INIT(&talk->runs);
    buf_init(&talk->state, STATE_MAX);
    buf_init(&talk->message.state, STATE_MAX);
    buf_init(&talk->message.changes, most);
    TAILQ_INSERT_TAIL(&shadow->talks, talk, entry);
    TAILQ_INSERT_TAIL(talk->bucket, talk, bucket_entry);
    return talk;
}

/* A run that a worker still has is forgotten; its parcel counts as held then. */
static void talk_free(struct talk *talk)
{
    struct shadow *shadow = &talk->mux->shadow;
    struct shadow_run *run;
    while ((run = TAILQ_FIRST(&talk->runs)) != NULL)
        shadow_run_free(run);
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
bool talk_forget_if_over(struct talk *talk)
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
void talk_lose(struct talk *talk, const char *uid)
{
    if (uid[0] == '\0')
        talk->is_lost = true;
    else
        snprintf(talk->lost_uid, sizeof(talk->lost_uid), "%s", uid);
}

bool talk_is_lost(const struct talk *talk, const char *uid)
{
    return talk->is_lost || (uid[0] != '\0' && strcmp(talk->lost_uid, uid) == 0);
}

/* Counts what the connection takes, and forgets those unused for longest when all take too much:
 * this one too, perhaps. */
void talk_account(struct talk *talk)
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

/* Whether the connection and the message were seen from their start, so that the shadow has what
 * its earlier hooks left. */
static bool is_complete(struct talk *talk, const struct request *request, bool is_new)
{
    if (is_new && (request->flags & REQUEST_HAS_CONN_STATE) != 0)
        talk->is_lost = true;
    if (request->attempt > 1)
        talk_lose(talk, request->uid);
    if ((request->flags & REQUEST_NEW_MESSAGE) != 0 && request->uid[0] != '\0')
        snprintf(talk->begun_uid, sizeof(talk->begun_uid), "%s", request->uid);
    if (strcmp(talk->begun_uid, request->uid) != 0 && request->uid[0] != '\0')
        talk_lose(talk, request->uid);
    return !talk_is_lost(talk, request->uid);
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
        talk_lose(talk, request->uid);
    } else {
        struct shadow_run *run = shadow_run_new(talk, request);
        request->is_parcel_held = request->n_fds > 0;
        if (run->n_fds < request->n_fds)
            talk_lose(talk, request->uid); /* out of descriptors: dropped at its turn */
        talk_put_next(talk);
    }
    if (!talk_forget_if_over(talk))
        talk_account(talk);
}
