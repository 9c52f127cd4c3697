#include "milterd/mux_client.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/verdict.h"
#include "common/xalloc.h"
#include "milterd/mux_link.h"

enum {
    MUX_IDLE_MAX = 256, /* as many requests at once open no connection anew */
    MUX_ATTEMPTS = 2,
    MUX_HELLO_MS = 2000, /* a multiplexor that listens but does not speak */
    MUX_RETRY_MIN_MS = 20,
    MUX_RETRY_MAX_MS = 200,
    MUX_RECORD_KEEP = 1 << 20, /* a connection that carried a larger annex gives the memory back */
};

struct mux {
    const char *path;
    int64_t reconnect_ms;
    pthread_mutex_t mutex; /* over the idle list */
    struct mux_link *idle[MUX_IDLE_MAX];
    unsigned n_idle;
};

/* One question on its way: what ask and its helpers share. */
struct errand {
    struct mux *mux;
    const struct ask *ask;
    struct ask_reply *out;
    int64_t next_progress_ms;
    bool is_client_gone;
};

struct mux *mux_new(const char *path, int64_t reconnect_ms)
{
    struct mux *mux = xcalloc(1, sizeof *mux);

    mux->path = path;
    mux->reconnect_ms = reconnect_ms;
    pthread_mutex_init(&mux->mutex, NULL);
    return mux;
}

void mux_free(struct mux *mux)
{
    if (mux == NULL)
        return;
    for (unsigned i = 0; i < mux->n_idle; i++)
        mux_link_close(mux->idle[i]);
    pthread_mutex_destroy(&mux->mutex);
    free(mux);
}

static struct mux_link *take_idle(struct mux *mux)
{
    struct mux_link *link = NULL;

    pthread_mutex_lock(&mux->mutex);
    if (mux->n_idle > 0)
        link = mux->idle[--mux->n_idle];
    pthread_mutex_unlock(&mux->mutex);
    return link;
}

static void put_idle(struct mux *mux, struct mux_link *link)
{
    if (link->annex.cap > MUX_RECORD_KEEP)
        buf_clear(&link->annex);
    pthread_mutex_lock(&mux->mutex);
    if (mux->n_idle < MUX_IDLE_MAX) {
        mux->idle[mux->n_idle++] = link;
        link = NULL;
    }
    pthread_mutex_unlock(&mux->mutex);
    mux_link_close(link);
}

/* A process that ends closes its connections one by one: a request on one that still stands would
 * be lost as well, and that is one of the two attempts. */
static void drop_idle(struct mux *mux)
{
    struct mux_link *link;

    while ((link = take_idle(mux)) != NULL)
        mux_link_close(link);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/*
 * Waits until fd (-1: none) has one of events, or until until_ms, giving progress to the MTA
 * meanwhile. 0, -ERR_TIMEOUT, or -ERR_PEER with is_client_gone set.
 */
static int wait_for(struct errand *errand, int fd, short events, int64_t until_ms)
{
    const struct ask *ask = errand->ask;

    for (;;) {
        struct pollfd pfds[2] = {
            {.fd = fd, .events = events}, {.fd = ask->gone_fd, .events = POLLRDHUP}};
        int64_t now = clock_now_ms();
        int64_t wake = until_ms;

        if (now >= until_ms)
            return -ERR_TIMEOUT;
        if (ask->progress_ms > 0 && now >= errand->next_progress_ms) {
            errand->next_progress_ms = now + ask->progress_ms;
            if (ask->on_progress(ask->context) != 0)
                break;
        }
        if (ask->progress_ms > 0)
            wake = earlier(wake, errand->next_progress_ms);
        (void)poll(pfds, 2, (int)earlier(wake - now, 60000));
        if (pfds[0].revents != 0)
            return 0;
        if ((pfds[1].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
            break;
    }
    errand->is_client_gone = true;
    return -ERR_PEER;
}

/* A new connection, looked for until until_ms. -ERR_TIMEOUT, or -ERR_PEER when the client left
 * meanwhile. */
static int connect_anew(struct errand *errand, int64_t until_ms, struct mux_link **out)
{
    int64_t pause_ms = MUX_RETRY_MIN_MS;
    int last = 0;

    for (;;) {
        int64_t left = until_ms - clock_now_ms();
        int rc = mux_link_open(errand->mux->path,
            (int)(left > MUX_HELLO_MS ? MUX_HELLO_MS
                  : left > 1          ? left
                                      : 1),
            out);

        if (rc == 0)
            return 0;
        if (rc != last)
            log_debug("connecting to %s: %s", errand->mux->path, err_text(rc));
        last = rc;
        rc = wait_for(errand, -1, 0, earlier(clock_now_ms() + pause_ms, until_ms));
        if (rc == -ERR_PEER)
            return rc;
        if (clock_now_ms() >= until_ms)
            return -ERR_TIMEOUT;
        pause_ms = earlier(pause_ms * 2, MUX_RETRY_MAX_MS);
    }
}

static int send_request(struct errand *errand, struct mux_link *link, unsigned attempt)
{
    const struct ask *ask = errand->ask;
    struct wire_request request = ask->request;
    unsigned flags = ask->parcel_fd >= 0 ? WIRE_PARCEL : 0;
    int64_t left = ask->deadline_ms - clock_now_ms();
    int rc;

    if (left <= 0)
        return -ERR_TIMEOUT;
    request.budget_ms = (uint32_t)left;
    request.attempt = (uint8_t)attempt;
    rc = wire_put_request(&link->record, &link->annex, ++link->next_id, flags, &request);
    while (rc == 0) {
        rc = mux_link_send(link, ask->parcel_fd);
        if (rc != -ERR_AGAIN)
            break;
        rc = wait_for(errand, link->fd, POLLOUT, ask->deadline_ms);
    }
    return rc;
}

static bool is_sound(const struct wire_reply *reply)
{
    return reply->verdict < VERDICT_COUNT && reply->outcome < OUTCOME_COUNT &&
           reply->attempt <= MUX_ATTEMPTS;
}

/* Waits for the reply to the request just sent. 0, -ERR_TIMEOUT, -ERR_PEER (ours or the client's),
 * or what is wrong with the record. */
static int await_reply(struct errand *errand, struct mux_link *link)
{
    struct ask_reply *out = errand->out;
    struct wire_header header;
    int rc;

    do {
        rc = wait_for(errand, link->fd, POLLIN, errand->ask->deadline_ms);
        if (rc == 0)
            rc = mux_link_receive(link, &header, &out->annex);
    } while (rc == -ERR_AGAIN);
    if (rc != 0)
        return rc;
    if (header.type != WIRE_REPLY || header.id != link->next_id)
        rc = -ERR_BAD;
    else
        rc = wire_get_reply(mux_link_record(link), out->annex, &out->reply);
    if (rc == 0 && !is_sound(&out->reply))
        rc = -ERR_BAD;
    if (rc != 0) {
        annex_close(out->annex);
        out->annex = (struct slice){0};
    }
    return rc;
}

/* After these a worker may have been killed without being seen to end: it might still read. */
static bool left_no_reader(const struct wire_reply *reply)
{
    return (reply->flags & REPLY_PARCEL_HELD) == 0 && reply->outcome != OUTCOME_DEADLINE &&
           reply->outcome != OUTCOME_DIED && reply->outcome != OUTCOME_POISON &&
           reply->attempt < MUX_ATTEMPTS;
}

/*
 * Asks once on one connection, which is used up unless the answer came. was_sent_out tells whether
 * the multiplexor can have seen the request.
 */
static int ask_on(
    struct errand *errand, struct mux_link *link, unsigned attempt, bool *was_sent_out)
{
    int rc = send_request(errand, link, attempt);

    *was_sent_out = rc == 0;
    if (rc == 0) {
        errand->out->attempts++;
        rc = await_reply(errand, link);
    }
    if (rc != 0) {
        if (rc != -ERR_TIMEOUT && !errand->is_client_gone) {
            log_warn("request %.*s: the multiplexor's connection is lost: %s",
                (int)errand->ask->request.uid.len,
                errand->ask->request.uid.data != NULL ? errand->ask->request.uid.data : "",
                err_text(rc));
            drop_idle(errand->mux);
        }
        mux_link_close(link);
        return rc;
    }
    errand->out->link = link;
    return 0;
}

static enum ask_result failure_of(const struct errand *errand)
{
    if (errand->is_client_gone)
        return ASK_CLIENT_GONE;
    return clock_now_ms() >= errand->ask->deadline_ms ? ASK_LATE : ASK_NOBODY;
}

static enum ask_result mux_ask(void *context, const struct ask *ask, struct ask_reply *out)
{
    struct mux *mux = context;
    struct errand errand = {.mux = mux, .ask = ask, .out = out};
    int64_t started = clock_now_ms();
    int64_t look_until = earlier(started + mux->reconnect_ms, ask->deadline_ms);
    unsigned attempt = 1;

    *out = (struct ask_reply){.is_parcel_free = true};
    errand.next_progress_ms = started + ask->progress_ms;
    for (;;) {
        struct mux_link *link = take_idle(mux);
        bool was_sent;

        if (link == NULL && connect_anew(&errand, look_until, &link) != 0)
            return failure_of(&errand);
        if (ask_on(&errand, link, attempt, &was_sent) == 0) {
            out->is_parcel_free = out->is_parcel_free && left_no_reader(&out->reply);
            return ASK_ANSWERED;
        }
        if (was_sent) {
            out->is_parcel_free = false;
            attempt++;
            look_until = earlier(clock_now_ms() + mux->reconnect_ms, ask->deadline_ms);
        }
        if (errand.is_client_gone || attempt > MUX_ATTEMPTS || (was_sent && !ask->may_repeat) ||
            clock_now_ms() >= look_until)
            return failure_of(&errand);
    }
}

static void mux_release(void *context, struct ask_reply *reply)
{
    struct mux *mux = context;

    annex_close(reply->annex);
    reply->annex = (struct slice){0};
    if (reply->link != NULL)
        put_idle(mux, reply->link);
    reply->link = NULL;
}

static int needs_on(struct mux_link *link, int64_t until_ms, struct wire_needs *out)
{
    struct pollfd pfd = {.fd = link->fd, .events = POLLIN};
    const struct wire_ask_needs question = {0};
    struct wire_header header;
    struct slice annex;
    int rc = wire_put_ask_needs(&link->record, NULL, ++link->next_id, 0, &question);

    buf_reset(&link->annex);
    if (rc == 0)
        rc = mux_link_send(link, -1);
    if (rc == 0 &&
        poll(&pfd, 1, (int)(until_ms - clock_now_ms() > 0 ? until_ms - clock_now_ms() : 0)) <= 0)
        rc = -ERR_TIMEOUT;
    if (rc == 0)
        rc = mux_link_receive(link, &header, &annex);
    if (rc != 0)
        return rc;
    annex_close(annex);
    if (header.type != WIRE_NEEDS)
        return -ERR_BAD;
    return wire_get_needs(mux_link_record(link), (struct slice){0}, out);
}

static int mux_ask_needs(void *context, int timeout_ms, struct wire_needs *out)
{
    struct mux *mux = context;
    int64_t until_ms = clock_now_ms() + timeout_ms;
    struct ask nobody = {.gone_fd = -1};
    struct errand errand = {.mux = mux, .ask = &nobody};

    for (;;) {
        struct mux_link *link = take_idle(mux);
        bool is_fresh = link == NULL;
        int rc = is_fresh ? connect_anew(&errand, until_ms, &link) : 0;

        if (rc != 0)
            return rc;
        rc = needs_on(link, until_ms, out);
        if (rc == 0) {
            put_idle(mux, link);
            return 0;
        }
        mux_link_close(link);
        if (is_fresh)
            return rc;
    }
}

struct ask_ops mux_asker(struct mux *mux)
{
    return (struct ask_ops){
        .ask = mux_ask, .release = mux_release, .ask_needs = mux_ask_needs, .context = mux};
}
