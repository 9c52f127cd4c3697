#include "milterd/watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/xalloc.h"
#include "milterd/front.h"
#include "milterd/generation.h"
#include "milterd/mux_link.h"
#include "milterd/thread.h"

enum {
    WATCH_OPEN_MS = 2000,
    WATCH_PAUSE_MIN_MS = 50,
    WATCH_PAUSE_MAX_MS = 1000,
    WATCH_COUNTERS_MS = 5000
};

struct watch {
    const struct conf *conf;
    struct generations *generations;
    struct front_counters *counters;
    const char *sandbox;       /* in force, for status */
    pthread_mutex_t mutex;     /* over what follows, and the use of the connection */
    struct mux_link *link;     /* NULL: none stands */
    int error;                 /* found by watch_catch_up, for the thread to act upon */
    bool has_needs;            /* this connection has answered */
    struct wire_counters told; /* of what we have counted; all 0 on a new connection */
    int64_t told_ms;
    uint32_t current;  /* generation; 0: not known */
    bool has_reloaded; /* another one is current since the thread last looked */
};

static void drain_wakes(struct generations *generations)
{
    uint64_t count;

    while (read(generations_wake_fd(generations), &count, sizeof count) > 0)
        continue;
}

/* Sends RELEASE for each generation that has no message left. 0 or the error of the connection. */
static int send_releases(struct watch *watch, struct mux_link *link)
{
    uint32_t number;

    drain_wakes(watch->generations);
    while ((number = generations_take_idle(watch->generations)) != 0) {
        const struct wire_release release = {.generation = number};
        int rc = wire_put_release(&link->record, NULL, 0, 0, &release);

        if (rc == 0)
            rc = mux_link_send(link, -1);
        if (rc != 0)
            return rc;
        log_debug("generation %u released", number);
    }
    return 0;
}

static void read_counters(struct front_counters *counters, struct wire_counters *out)
{
    *out = (struct wire_counters){
        .connections = atomic_load(&counters->connections),
        .turned_away = atomic_load(&counters->turned_away),
        .messages = atomic_load(&counters->messages),
        .failures = atomic_load(&counters->failures),
        .bad_changes = atomic_load(&counters->bad_changes),
        .not_applied = atomic_load(&counters->not_applied),
    };
}

/* Tells what has been counted, when it has changed and some time has passed. */
static int send_counters(struct watch *watch, struct mux_link *link)
{
    struct wire_counters now;
    int64_t now_ms = clock_now_ms();
    int rc;

    if (now_ms - watch->told_ms < WATCH_COUNTERS_MS)
        return 0;
    watch->told_ms = now_ms;
    read_counters(watch->counters, &now);
    if (memcmp(&now, &watch->told, sizeof now) == 0)
        return 0;
    watch->told = now;
    rc = wire_put_counters(&link->record, NULL, 0, 0, &now);
    return rc == 0 ? mux_link_send(link, -1) : rc;
}

static int take_needs(struct watch *watch, struct mux_link *link)
{
    struct wire_header header;
    struct wire_needs needs;
    struct slice annex;
    int rc = mux_link_receive(link, &header, &annex);

    if (rc != 0)
        return rc == -ERR_AGAIN ? 0 : rc;
    annex_close(annex);
    if (header.type != WIRE_NEEDS)
        return -ERR_BAD;
    rc = wire_get_needs(mux_link_record(link), (struct slice){0}, &needs);
    if (rc != 0)
        return rc;
    generations_learn(watch->generations, &needs);
    watch->has_reloaded |= watch->current != 0 && needs.generation != watch->current;
    watch->current = needs.generation;
    watch->has_needs = true;
    log_debug("generation %u is current, candidate %u, %u %%; stages %x, answers %x",
        needs.generation, needs.candidate, needs.candidate_share, needs.union_sees,
        needs.union_answers);
    return 0;
}

static bool is_readable(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    return poll(&pfd, 1, 0) > 0;
}

void watch_catch_up(struct watch *watch)
{
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->mutex);
    while (watch->link != NULL && watch->error == 0 && is_readable(watch->link->fd))
        watch->error = take_needs(watch, watch->link);
    /* Whichever thread finds it, the watching one must wake up to it. */
    if (watch->error != 0)
        shutdown(watch->link->fd, SHUT_RDWR);
    pthread_mutex_unlock(&watch->mutex);
}

static bool is_standing(const struct watch *watch)
{
    return watch->link != NULL && watch->error == 0 && watch->has_needs;
}

bool watch_is_up(struct watch *watch)
{
    bool is_up;

    if (watch == NULL)
        return true;
    pthread_mutex_lock(&watch->mutex);
    is_up = is_standing(watch);
    pthread_mutex_unlock(&watch->mutex);
    return is_up;
}

void watch_learn_elsewhere(
    struct watch *watch, struct generations *generations, const struct wire_needs *needs)
{
    if (watch == NULL) {
        generations_learn(generations, needs);
        return;
    }
    pthread_mutex_lock(&watch->mutex);
    if (!is_standing(watch))
        generations_learn(generations, needs);
    pthread_mutex_unlock(&watch->mutex);
}

/* The file and options of our own command line, read again as a reload has the multiplexor do. Only
 * the thread: no connection waits for a file. */
static void reload_level(const struct conf *conf)
{
    struct conf *fresh;
    char *error = NULL;
    int rc = conf_load(
        conf->path, (const char *const *)conf->overrides, conf->n_overrides, &fresh, &error);

    if (rc != 0) {
        log_warn("the level of the log stays as it is: %s", error != NULL ? error : err_text(rc));
        free(error);
        return;
    }
    log_set_level(fresh->log.level);
    conf_free(fresh);
}

/* One turn: takes what there is, releases what is due. 0 or why the connection is lost. */
static int turn(struct watch *watch)
{
    bool has_reloaded;
    int rc;

    watch_catch_up(watch);
    pthread_mutex_lock(&watch->mutex);
    has_reloaded = watch->has_reloaded;
    watch->has_reloaded = false;
    rc = watch->error;
    if (rc == 0 && watch->has_needs)
        rc = send_releases(watch, watch->link);
    if (rc == 0 && watch->has_needs)
        rc = send_counters(watch, watch->link);
    pthread_mutex_unlock(&watch->mutex);
    if (has_reloaded)
        reload_level(watch->conf);
    return rc;
}

static void set_link(struct watch *watch, struct mux_link *link)
{
    pthread_mutex_lock(&watch->mutex);
    watch->link = link;
    watch->has_needs = false;
    watch->error = 0;
    watch->told = (struct wire_counters){0};
    watch->told_ms = 0;
    pthread_mutex_unlock(&watch->mutex);
}

/* Serves one connection until it is lost; says why. */
static int follow(struct watch *watch, struct mux_link *link)
{
    const struct wire_watch hello = {.sandbox = slice_text(watch->sandbox)};
    int rc = wire_put_watch(&link->record, NULL, 0, 0, &hello);

    if (rc == 0)
        rc = mux_link_send(link, -1);
    set_link(watch, link);
    while (rc == 0) {
        struct pollfd pfds[2] = {{.fd = link->fd, .events = POLLIN},
            {.fd = generations_wake_fd(watch->generations), .events = POLLIN}};

        if (poll(pfds, 2, WATCH_COUNTERS_MS) < 0 && errno != EINTR)
            rc = -ERR_SYSTEM;
        else
            rc = turn(watch);
    }
    set_link(watch, NULL);
    return rc;
}

static void *watch_run(void *context)
{
    struct watch *watch = context;
    int pause_ms = WATCH_PAUSE_MIN_MS;
    bool has_warned = false;

    for (;;) {
        struct mux_link *link;
        int rc = mux_link_open(watch->conf->multiplexor.socket, WATCH_OPEN_MS, &link);

        if (rc == 0) {
            if (has_warned)
                log_info("the multiplexor at %s is back", watch->conf->multiplexor.socket);
            has_warned = false;
            pause_ms = WATCH_PAUSE_MIN_MS;
            rc = follow(watch, link);
            mux_link_close(link);
        }
        if (!has_warned)
            log_warn("no multiplexor at %s: %s; looking for it", watch->conf->multiplexor.socket,
                err_text(rc));
        has_warned = true;
        poll(NULL, 0, pause_ms);
        pause_ms = pause_ms * 2 < WATCH_PAUSE_MAX_MS ? pause_ms * 2 : WATCH_PAUSE_MAX_MS;
    }
    return NULL;
}

int watch_start(const struct conf *conf, struct generations *generations,
    struct front_counters *counters, const char *sandbox, size_t stack_bytes, struct watch **out)
{
    struct watch *watch = xcalloc(1, sizeof *watch);
    int rc;

    watch->conf = conf;
    watch->generations = generations;
    watch->counters = counters;
    watch->sandbox = sandbox;
    pthread_mutex_init(&watch->mutex, NULL);
    *out = watch;
    rc = thread_spawn(watch_run, watch, stack_bytes);
    if (rc != 0) {
        pthread_mutex_destroy(&watch->mutex);
        free(watch);
        *out = NULL;
    }
    return rc;
}
