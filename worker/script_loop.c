/*
 * The event loop of a worker: descriptors and times that tasks wait for, and events of C code that
 * outlive a hook. Made by the first hook that waits, so that the nursery has none and a filter
 * without waiting pays nothing. It turns only while every task of a hook waits.
 */
#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "worker/script_internal.h"

struct script_loop {
    struct event_base *base;
    struct event *deadline; /* of the hook */
};

static struct timeval span_until(int64_t until_ms)
{
    int64_t left_ms = until_ms - clock_now_ms();
    left_ms = left_ms > 0 ? left_ms : 0;
    return (struct timeval){.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
}

/* That it woke the loop is all. */
static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context;
}

/* Not from the environment: a filter's is not what chooses our system calls. */
static struct event_base *make_base(void)
{
    struct event_config *config = event_config_new();
    if (config == NULL) {
        return NULL;
    }
    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

int script_loop_open(struct script *script)
{
    if (script->loop != NULL) {
        return 0;
    }
    struct event_base *base = make_base();
    struct event *deadline = base != NULL ? evtimer_new(base, on_deadline, NULL) : NULL;
    if (deadline == NULL) {
        if (base != NULL) {
            event_base_free(base);
        }
        return -ERR_SYSTEM;
    }
    script->loop = xcalloc(1, sizeof *script->loop);
    script->loop->base = base;
    script->loop->deadline = deadline;
    return 0;
}

void script_loop_free(struct script *script)
{
    if (script->loop != NULL) {
        event_free(script->loop->deadline);
        event_base_free(script->loop->base);
        free(script->loop);
        script->loop = NULL;
    }
}

struct event_base *script_event_base(lua_State *L)
{
    struct script *script = script_of(L);
    return script_loop_open(script) == 0 ? script->loop->base : NULL;
}

/* The loop's clock is a coarse one: a time that it thinks is over may be some milliseconds away. */
static void on_event(evutil_socket_t fd, short what, void *context)
{
    struct script_task *task = context;
    (void)fd;
    if ((what & (EV_READ | EV_WRITE)) == 0 && clock_now_ms() < task->wait.until_ms) {
        struct timeval span = span_until(task->wait.until_ms);
        event_add(task->event, &span);
        return;
    }
    script_task_wake(script_of(task->co), task,
        (what & (EV_READ | EV_WRITE)) != 0 ? SCRIPT_WOKEN_READY : SCRIPT_WOKEN_TIMEOUT);
}

/* What cannot be watched (a regular file, a descriptor that is none) is ready, as in poll(2): the
 * next system call on it tells. */
void script_loop_add(struct script *script, struct script_task *task)
{
    const struct script_wait *wait = &task->wait;
    bool has_end = wait->until_ms != INT64_MAX;
    short events = (short)(((wait->events & POLLIN) != 0 ? EV_READ : 0) |
                           ((wait->events & POLLOUT) != 0 ? EV_WRITE : 0));
    if (wait->fd < 0 && !has_end) {
        return;
    }
    struct timeval span = has_end ? span_until(wait->until_ms) : (struct timeval){.tv_sec = 0};
    if (task->event == NULL) {
        task->event = event_new(script->loop->base, wait->fd, events, on_event, task);
    } else {
        event_assign(task->event, script->loop->base, wait->fd, events, on_event, task);
    }
    if (task->event == NULL || event_add(task->event, has_end ? &span : NULL) != 0) {
        script_task_wake(script, task, SCRIPT_WOKEN_READY);
    }
}

void script_loop_remove(struct script_task *task)
{
    if (task->event != NULL) {
        event_del(task->event);
    }
}

int script_loop_turn(struct script *script)
{
    while (TAILQ_EMPTY(&script->ready)) {
        if (clock_now_ms() >= script->deadline_ms) {
            return -ERR_TIMEOUT;
        }
        struct timeval span = span_until(script->deadline_ms);
        evtimer_add(script->loop->deadline, &span);
        if (event_base_loop(script->loop->base, EVLOOP_ONCE) < 0) {
            log_error("waiting: %s; the hook is ended", err_text(-ERR_SYSTEM));
            return -ERR_TIMEOUT;
        }
    }
    return 0;
}
