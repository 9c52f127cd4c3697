/* One worker process. Calls go up to the pool only through pool_on_*, to the request through
 * request_*. */
#include "multiplexor/child_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/note.h"
#include "common/xalloc.h"
#include "multiplexor/generation.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"
#include "multiplexor/request_answer.h"
#include "multiplexor/request_route.h"

const char *child_state_name(enum child_state state)
{
    static const char *const names[CHILD_STATE_COUNT] = {
        "forking", "starting", "idle", "busy", "quitting", "killed"};
    return names[state];
}

void child_set_state(struct child *child, enum child_state state)
{
    static const uint8_t allowed[CHILD_STATE_COUNT] = {
        [CHILD_FORKING] = 1 << CHILD_STARTING | 1 << CHILD_KILLED,
        [CHILD_STARTING] = 1 << CHILD_IDLE | 1 << CHILD_KILLED,
        [CHILD_IDLE] = 1 << CHILD_BUSY | 1 << CHILD_QUITTING | 1 << CHILD_KILLED,
        [CHILD_BUSY] = 1 << CHILD_IDLE | 1 << CHILD_KILLED,
        [CHILD_QUITTING] = 1 << CHILD_KILLED,
        [CHILD_KILLED] = 0,
    };
    LOG_INVARIANT((allowed[child->state] & 1 << state) != 0);
    pool_on_state(&child->generation->pool, child, state);
    child->state = state;
    child->since_ms = clock_now_ms();
    mux_wake(child->mux);
}

/* Ends the process if it still runs, and our side of its connection. Says nothing, counts nothing.
 */
void child_put_down(struct child *child)
{
    link_close(&child->link);
    event_del(&child->timer);
    if (child->pid > 0 && !child->is_reaped && kill(child->pid, SIGKILL) != 0)
        log_warn("worker %d: kill: %s", (int)child->pid, strerror(errno));
    if (child->state != CHILD_KILLED)
        child_set_state(child, CHILD_KILLED);
}

/* The shadow's workers are not part of what is watched. */
static void count_end(struct child *child, enum recycle cause)
{
    if (!child->generation->is_shadow)
        child->mux->stats.recycles[cause]++;
}

void child_kill(struct child *child, enum recycle cause, const char *why)
{
    LOG_INVARIANT(child->request == NULL);
    if (child->state == CHILD_KILLED)
        return;
    log_warn(
        "worker %d (generation %u) is killed: %s", (int)child->pid, child->generation->number, why);
    if (child->state != CHILD_QUITTING)
        count_end(child, cause);
    child_put_down(child);
}

/* It ended, or must, by its own fault: its request goes to another worker. how: NULL when only its
 * exit status will tell. */
void child_lose(struct child *child, const char *how)
{
    struct request *request = child->request;
    enum child_state state = child->state;
    child->request = NULL;
    if (state == CHILD_IDLE || state == CHILD_BUSY)
        count_end(child, RECYCLE_DIED);
    child_put_down(child);
    if (state == CHILD_IDLE || state == CHILD_BUSY)
        canary_note_death(child->generation);
    if (child->is_ready && child->n_requests == 0)
        pool_on_early_death(child->generation, "it died before its first answer");
    /* A worker that was dead before it read the request is not the request's fault: that is no
     * attempt. */
    if (request != NULL && request->client != NULL && link_has_left_unread(&child->link))
        request_return(request, child->generation);
    else if (request != NULL)
        request_worker_died(request, child, how);
}

/* It will never serve: told once, by whoever notices first. */
void child_start_failed(struct child *child, const char *why)
{
    if (child->has_failed)
        return;
    child->has_failed = true;
    pool_on_start_failed(child->generation, why);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct child *child = context;
    if (child->state == CHILD_QUITTING)
        child_kill(child, RECYCLE_NONE, "it did not end within exit_time");
    else
        child_kill(child, RECYCLE_NONE, "it was not ready within load_time");
    if (!child->is_ready)
        child_start_failed(child, "a worker was not ready within load_time");
}

/* Both the pid and READY are known: into service. */
void child_enter_service(struct child *child)
{
    event_del(&child->timer);
    child_set_state(child, CHILD_IDLE);
    log_debug("worker %d (generation %u) is ready", (int)child->pid, child->generation->number);
    profile_on_worker(child);
    pool_on_ready(child->generation);
}

static void on_down(int err, void *context)
{
    struct child *child = context;
    char how[96];
    snprintf(how, sizeof(how), "killed for a bad record (%s)", err_text(err));
    if (child->state != CHILD_QUITTING)
        child_lose(child, err == -ERR_PEER ? NULL : how);
    /* A worker that was asked to quit closes its end just before it exits; the timer still watches
     * it. */
}

static const struct link_events events = {.on_record = child_on_record, .on_down = on_down};

static void child_free(struct child *child)
{
    LOG_INVARIANT(child->request == NULL && child->death_of == NULL);
    struct mux *mux = child->mux;
    link_close(&child->link);
    event_del(&child->timer);
    note_close(child->note);
    pool_remove(&child->generation->pool, child);
    free(child);
    mux_wake(mux);
}

/* Without the page a worker does as well; only less is known when it dies. */
static int send_fork(struct child *child, int fd)
{
    struct wire_fork record = {.number = child->number};
    struct generation *generation = child->generation;
    struct buf *encoded = &generation->mux->encoded;
    int fds[2] = {fd, -1};
    child->note = note_new(&fds[1]);
    int n_fds = child->note != NULL ? 2 : 1;
    int err = wire_put_fork(
        encoded, NULL, child->number, WIRE_SOCKET | (n_fds > 1 ? WIRE_NOTE : 0), &record);
    if (err == 0)
        err = link_send(&generation->link, buf_slice(encoded), fds, n_fds);
    if (n_fds > 1)
        close(fds[1]);
    return err;
}

int child_start(struct generation *generation)
{
    struct mux *mux = generation->mux;
    int pair[2];
    char name[48];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        log_error("cannot make a socket for a worker: %s", strerror(errno));
        return -ERR_SYSTEM;
    }
    struct child *child = xcalloc(1, sizeof(*child));
    *child = (struct child){.mux = mux, .generation = generation, .number = ++mux->last_child};
    child->started_ms = child->since_ms = clock_now_ms();
    snprintf(name, sizeof(name), "worker #%u of generation %u", child->number, generation->number);
    int err = link_open(&child->link, mux->base, pair[0], ROLE_WORKER, generation->number,
        mux->scratch, name, &events, child);
    evtimer_assign(&child->timer, mux->base, on_timer, child);
    pool_add(&generation->pool, child);
    if (err == 0)
        err = sock_set_record_buffers(pair[1]);
    if (err == 0)
        err = send_fork(child, pair[1]);
    close(pair[1]);
    if (err != 0) {
        log_error("%s: cannot ask for it: %s", name, err_text(err));
        child_free(child);
        return err;
    }
    mux->stats.forks += generation->is_shadow ? 0 : 1;
    loop_add_ms(
        &child->timer, mux->conf->multiplexor.load_time + mux->conf->multiplexor.kill_grace);
    return 0;
}

int child_assign(struct child *child, struct request *request)
{
    int64_t time_ms;
    LOG_INVARIANT(child->state == CHILD_IDLE && child->request == NULL);
    if (!request_plan_time(request, clock_now_ms(), &time_ms))
        return -ERR_TIMEOUT;
    child->hop_id = ++child->mux->last_hop_id;
    wire_patch_id(request->record, child->hop_id);
    wire_patch_request(
        request->record, (uint32_t)time_ms, child->generation->number, request->attempt);
    int err = link_send(
        &child->link, slice_of(request->record, request->len), request->fds, request->n_fds);
    if (err != 0) {
        child_lose(
            child, NULL); /* it has not seen the request, which is not charged with the death */
        return -ERR_PEER;
    }
    snprintf(child->doing, sizeof(child->doing), "%s uid=%s", request->hook->name,
        request->uid[0] != '\0' ? request->uid : request->conn_id);
    child->request = request;
    child_set_state(child, CHILD_BUSY);
    request_started(request, child, time_ms);
    return 0;
}

void child_quit(struct child *child, enum recycle cause)
{
    LOG_INVARIANT(child->state == CHILD_IDLE);
    struct buf *encoded = &child->mux->encoded;
    struct wire_quit quit = {0};
    int err = wire_put_quit(encoded, NULL, 0, 0, &quit);
    LOG_INVARIANT(err == 0);
    count_end(child, cause);
    child_set_state(child, CHILD_QUITTING);
    loop_add_ms(&child->timer, child->mux->conf->multiplexor.exit_time);
    log_debug("worker %d (generation %u) is asked to end: %s", (int)child->pid,
        child->generation->number, cause != RECYCLE_NONE ? stats_recycle_key((int)cause) : "stop");
    if (link_send(&child->link, buf_slice(encoded), NULL, 0) != 0)
        link_close(&child->link); /* gone already, or it will see the end of file */
}

void child_on_deadline(struct child *child)
{
    struct request *request = child->request;
    uint64_t hop_id = child->hop_id;
    link_drain(&child->link);
    if (child->state != CHILD_BUSY || child->hop_id != hop_id)
        return; /* a complete reply was in the socket, or it died by itself */
    log_error("worker %d (generation %u) did not end %s in time: killed", (int)child->pid,
        child->generation->number, child->doing);
    count_end(child, RECYCLE_DEADLINE);
    child->request = NULL;
    request_fail(request, OUTCOME_DEADLINE,
        "the hook did not end in time"); /* names the worker, so it goes first */
    child_put_down(child);
}

void child_on_forked(struct child *child, pid_t pid, const char *error)
{
    if (pid <= 0) {
        child_start_failed(child, error);
        child_free(child);
        return;
    }
    child->pid = pid;
    if (child->state == CHILD_KILLED) {
        child_put_down(child); /* given up before its pid was known */
        return;
    }
    child_set_state(child, CHILD_STARTING);
    if (child->is_ready)
        child_enter_service(child);
}

void child_status_text(int status, char *out, size_t out_bytes)
{
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(out, out_bytes, "signal %d (SIG%s)", WTERMSIG(status), name != NULL ? name : "?");
    } else {
        snprintf(out, out_bytes, "exit status %d", WEXITSTATUS(status));
    }
}

static void log_exit(
    const struct child *child, enum child_state state, const char *status_text, bool is_clean)
{
    enum log_level level = state == CHILD_QUITTING && is_clean ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN;
    char last[256] = "";
    if (child->doing[0] != '\0')
        note_text(child->note, last, sizeof(last));
    log_at(level, "worker %d (generation %u) ended: %s, after %llu requests%s%s%s%s",
        (int)child->pid, child->generation->number, status_text,
        (unsigned long long)child->n_requests, child->doing[0] != '\0' ? ", while running " : "",
        child->doing, last[0] != '\0' ? ", at " : "", last);
}

void child_on_exit(struct child *child, int status)
{
    char text[64];
    child_status_text(status, text, sizeof(text));
    child->is_reaped = true;
    link_drain(&child->link); /* what it said before it died counts */
    log_exit(child, child->state, text, status == 0);
    if (child->state != CHILD_QUITTING && child->state != CHILD_KILLED)
        child_lose(child, NULL);
    if (child->death_of != NULL)
        request_worker_ended(child->death_of, child, text);
    if (!child->is_ready)
        child_start_failed(child, text);
    child_free(child);
}

void child_abandon(struct child *child)
{
    if (child->state != CHILD_KILLED)
        child_lose(child, NULL);
    child_free(child);
}
