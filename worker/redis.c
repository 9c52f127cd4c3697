#include "worker/redis.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "worker/redis_greeting.h"
#include "worker/redis_link.h"

struct redis {
    const struct conf *conf;
    struct redis_place master; /* with sentinels only while has_master */
    bool has_master;
    struct redis_place sentinels[REDIS_SENTINELS_MAX];
    unsigned n_sentinels, sentinel; /* sentinel: the next to be asked */
    char conf_error[160];           /* "": the options can be used */
    struct redis_link *idle;
    unsigned n_idle;
    int64_t retry_ms;                 /* monotonic clock: nobody is asked before; 0: at once */
    char down_error[REDIS_ERROR_MAX]; /* meanwhile */
    bool was_told;                    /* the log has that it does not answer */
};

/* ---- the client ---- */

static void read_sentinels(struct redis *redis)
{
    for (const char *at = redis->conf->redis.sentinels; *at != '\0';) {
        size_t n = strcspn(at, ",");
        struct slice text = text_trim(slice_of(at, n));
        if (text.len > 0 && redis->conf_error[0] == '\0' &&
            (redis->n_sentinels == REDIS_SENTINELS_MAX ||
                redis_place_from_text(text, &redis->sentinels[redis->n_sentinels++]) != 0))
            snprintf(redis->conf_error, sizeof redis->conf_error,
                "redis.sentinels: at most %d of the form ADDRESS:PORT", REDIS_SENTINELS_MAX);
        at += n + (at[n] == ',');
    }
}

struct redis *redis_new(const struct conf *conf)
{
    struct redis *redis = xcalloc(1, sizeof *redis);
    redis->conf = conf;
    read_sentinels(redis);
    if (redis->n_sentinels > 0 || redis->conf_error[0] != '\0')
        return redis;
    redis->has_master = true;
    if (redis_place_from_text(slice_text(conf->redis.server), &redis->master) != 0)
        snprintf(redis->conf_error, sizeof redis->conf_error,
            "redis.server: ADDRESS:PORT, [ADDRESS]:PORT or the path of a socket expected");
    return redis;
}

static void drop_idle(struct redis *redis)
{
    while (redis->idle != NULL) {
        struct redis_link *next = redis->idle->next;
        redis_link_free(redis->idle);
        redis->idle = next;
    }
    redis->n_idle = 0;
}

void redis_free(struct redis *redis)
{
    if (redis == NULL)
        return;
    drop_idle(redis);
    free(redis);
}

static struct redis_link *take_idle(struct redis *redis)
{
    while (redis->idle != NULL) {
        struct redis_link *link = redis->idle;
        redis->idle = link->next;
        redis->n_idle--;
        link->next = NULL;
        if (redis_link_is_alive(link))
            return link;
        redis_link_free(link);
    }
    return NULL;
}

/* Lost, or no master any more: its other links are of no use either. */
static void forget_master(struct redis *redis)
{
    drop_idle(redis);
    redis->has_master = redis->n_sentinels == 0;
}

/* ---- failing ---- */

static void note_answer(struct redis *redis, const struct redis_place *place)
{
    if (redis->was_told)
        log_info("redis %s answers again", place->text);
    redis->was_told = false;
    redis->retry_ms = 0;
}

/* Who had little time left knows nothing about the server. */
static bool was_patient(const struct redis *redis, const struct redis_call *call)
{
    int64_t full_ms = redis->conf->redis.connect_time < redis->conf->redis.timeout
                          ? redis->conf->redis.connect_time
                          : redis->conf->redis.timeout;
    return clock_now_ms() - call->begun_ms >= full_ms;
}

/* Nobody answers: the next calls need not try that too, for a while. */
static void note_failure(struct redis *redis, const struct redis_call *call)
{
    if (!redis->was_told)
        log_warn("%s", call->error);
    redis->was_told = true;
    redis->retry_ms = clock_now_ms() + redis->conf->redis.retry_time;
    snprintf(redis->down_error, sizeof redis->down_error, "%s", call->error);
}

/* It may hold a password. */
static void clear_greeting(struct redis_call *call)
{
    if (call->greeting.len > 0)
        explicit_bzero(call->greeting.data, call->greeting.len);
    buf_clear(&call->greeting);
}

static void drop_link(struct redis_call *call)
{
    redis_link_free(call->link);
    call->link = NULL;
}

static int fail(struct redis *redis, struct redis_call *call, int err, const char *why)
{
    const char *where = call->link != NULL  ? call->link->place.text
                        : redis->has_master ? redis->master.text
                                            : redis->conf->redis.master;
    if (call->error[0] == '\0')
        snprintf(call->error, sizeof call->error, "redis %s: %.150s", where, why);
    bool was_open = call->phase == REDIS_ASKING;
    drop_link(call);
    forget_master(redis);
    if (!was_open && (err != -ERR_TIMEOUT || was_patient(redis, call)))
        note_failure(redis, call);
    return err;
}

/* ---- phases ---- */

static void begin_phase(struct redis *redis, struct redis_call *call, enum redis_phase phase)
{
    int64_t now_ms = clock_now_ms(), step_ms = now_ms + redis->conf->redis.connect_time;
    call->phase = phase;
    call->begun_ms = now_ms;
    call->step_ms =
        phase != REDIS_ASKING && step_ms < call->deadline_ms ? step_ms : call->deadline_ms;
}

static void ask(struct redis *redis, struct redis_call *call)
{
    begin_phase(redis, call, REDIS_ASKING);
    redis_link_ask(call->link, call->request, call->n_replies);
}

/* Opens a link, whose first exchange is what the phase asks. */
static int open_link(struct redis *redis, struct redis_call *call, enum redis_phase phase,
    const struct redis_place *place)
{
    char why[160] = "";
    size_t n_replies = 0;
    clear_greeting(call);
    buf_init(&call->greeting, REDIS_GREETING_MAX);
    int err = phase == REDIS_SENTINEL ? redis_greeting_sentinel(redis->conf, &call->greeting,
                                            &n_replies, why, sizeof why)
                                      : redis_greeting_master(redis->conf, redis->n_sentinels > 0,
                                            &call->greeting, &n_replies, why, sizeof why);
    begin_phase(redis, call, phase);
    if (err != 0)
        return fail(redis, call, err, why);
    call->link = redis_link_open(place);
    redis_link_ask(call->link, buf_slice(&call->greeting), n_replies);
    return 0;
}

static int open_master(struct redis *redis, struct redis_call *call)
{
    return redis->has_master
               ? open_link(redis, call, REDIS_GREETING, &redis->master)
               : open_link(redis, call, REDIS_SENTINEL, &redis->sentinels[redis->sentinel]);
}

static int begin(struct redis *redis, struct redis_call *call)
{
    if (redis->conf_error[0] != '\0') {
        snprintf(call->error, sizeof call->error, "%s", redis->conf_error);
        return -ERR_BAD;
    }
    call->link = take_idle(redis);
    if (call->link != NULL) {
        ask(redis, call);
        return 0;
    }
    if (clock_now_ms() < redis->retry_ms) {
        snprintf(call->error, sizeof call->error, "%s", redis->down_error);
        return -ERR_PEER;
    }
    return open_master(redis, call);
}

/* This one was no help. err and why: of the last one, when all were asked. */
static int next_sentinel(struct redis *redis, struct redis_call *call, int err, const char *why)
{
    redis->sentinel = (redis->sentinel + 1) % redis->n_sentinels;
    if (++call->n_sentinels >= redis->n_sentinels || clock_now_ms() >= call->deadline_ms)
        return fail(redis, call, err, why);
    drop_link(call);
    forget_master(redis);
    call->is_master_told = false;
    return open_master(redis, call);
}

/* ---- what a phase has brought ---- */

static int take_sentinel(struct redis *redis, struct redis_call *call)
{
    char why[160] = "";
    struct redis_place master;
    int err = redis_greeting_take_sentinel(
        redis->conf, redis_link_reply(call->link), &master, why, sizeof why);
    if (err != 0)
        return next_sentinel(redis, call, err, why);
    drop_link(call);
    redis->master = master;
    redis->has_master = true;
    call->is_master_told = true;
    return open_master(redis, call);
}

static int take_greeting(struct redis *redis, struct redis_call *call)
{
    char why[160] = "";
    int err = redis_greeting_take_master(redis_link_reply(call->link), why, sizeof why);
    if (err == 0 && !redis_link_finish(call->link)) {
        snprintf(why, sizeof why, "no RESP2");
        err = -ERR_BAD;
    }
    if (err != 0)
        return redis->n_sentinels > 0 ? next_sentinel(redis, call, err, why)
                                      : fail(redis, call, err, why);
    note_answer(redis, &call->link->place);
    ask(redis, call);
    return 0;
}

/* One command that a replica has refused has not been run: the master is looked for once more. */
static int take_reply(struct redis *redis, struct redis_call *call)
{
    struct slice reply = redis_link_reply(call->link);
    if (redis->n_sentinels > 0 && redis_greeting_is_replica(reply)) {
        bool may_repeat = call->n_replies == 1 && !call->was_told_replica;
        forget_master(redis);
        if (may_repeat) {
            call->was_told_replica = true;
            drop_link(call);
            return open_master(redis, call);
        }
    }
    call->reply = reply;
    call->phase = REDIS_DONE;
    return 0;
}

static int (*const take[])(struct redis *redis, struct redis_call *call) = {
    [REDIS_SENTINEL] = take_sentinel,
    [REDIS_GREETING] = take_greeting,
    [REDIS_ASKING] = take_reply,
};

/* A link that failed before the request was sent may have a better one beside it. */
static int on_lost(struct redis *redis, struct redis_call *call, int err, const char *why)
{
    if (call->phase == REDIS_ASKING || redis->n_sentinels == 0)
        return fail(redis, call, err, why);
    if (call->phase == REDIS_GREETING && !call->is_master_told) { /* it was the master long ago */
        drop_link(call);
        forget_master(redis);
        return open_master(redis, call);
    }
    return next_sentinel(redis, call, err, why);
}

/* ---- running ---- */

static int wait_for(struct redis_call *call, enum net_status wanted)
{
    call->wait = (struct script_wait){.fd = call->link->stream.fd,
        .events = wanted == NET_READ ? POLLIN : POLLOUT,
        .until_ms = call->step_ms,
        .what = call->what};
    snprintf(call->what, sizeof call->what, "redis %s", call->link->place.text);
    return -ERR_AGAIN;
}

int redis_run(struct redis *redis, struct redis_call *call)
{
    int err = call->phase == REDIS_BEGIN ? begin(redis, call) : 0;
    while (err == 0 && call->phase != REDIS_DONE) {
        enum net_status status = redis_link_step(redis->conf, call->link);
        if (status == NET_DONE)
            err = take[call->phase](redis, call);
        else if (status == NET_FAILED)
            err = on_lost(redis, call, call->link->error, call->link->stream.error);
        else if (clock_now_ms() >= call->step_ms)
            err = on_lost(redis, call, -ERR_TIMEOUT, "timeout");
        else
            return wait_for(call, status);
    }
    return err;
}

void redis_end(struct redis *redis, struct redis_call *call)
{
    struct redis_link *link = call->link;
    call->link = NULL;
    call->reply = slice_of(NULL, 0);
    clear_greeting(call);
    if (link == NULL)
        return;
    bool is_whole = call->phase == REDIS_DONE && redis_link_finish(link);
    bool is_kept = is_whole && redis->has_master &&
                   redis_place_equal(&link->place, &redis->master) &&
                   redis->n_idle < REDIS_IDLE_MAX;
    if (!is_kept) {
        redis_link_free(link);
        return;
    }
    link->next = redis->idle;
    redis->idle = link;
    redis->n_idle++;
}
