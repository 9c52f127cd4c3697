#include "worker/script_task.h"

#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "worker/script_internal.h"

enum { PENDING_MAX = 2000 /* bytes told of what was waited for */ };

/* ---- waiting ---- */

void script_wait_check(lua_State *L)
{
    struct script *script = script_of(L);
    if (script->is_ending) {
        script_deadline_raise(L);
    }
    if (script->phase == SCRIPT_LOADING) {
        luaL_error(L, "cannot wait here: the top level of the filter runs before there are "
                      "workers; do it in filter_init");
    }
    if (script->n_unyieldable > 0 || !lua_isyieldable(L)) {
        luaL_error(
            L, "cannot wait here (inside a comparator, a gsub callback, a metamethod or require)");
    }
    if (script_loop_open(script) != 0) {
        luaL_error(L, "cannot wait: no descriptors are left (worker.max_files)");
    }
}

int script_wait(
    lua_State *L, const struct script_wait *wait, lua_KContext context, lua_KFunction on_woken)
{
    script_wait_check(L);
    struct script *script = script_of(L);
    script->task->wait = *wait;
    script->is_waiting = true;
    return lua_yieldk(L, 0, context, on_woken);
}

enum script_woken script_wait_result(lua_State *L)
{
    struct script *script = script_of(L);
    if (script->is_ending) {
        script_deadline_raise(L);
    }
    return script->task->woken;
}

int64_t script_time_end(lua_State *L)
{
    const struct script *script = script_of(L);
    return script->task != NULL ? script->task->end_ms : script->deadline_ms;
}

int64_t script_time_left(lua_State *L)
{
    int64_t left = script_time_end(L) - clock_now_ms();
    return left > 0 ? left : 0;
}

/* Its waker and descriptor may be gone the moment after this. What it has open is its own again when
 * it runs. */
static void end_wait(struct script_task *task)
{
    script_loop_remove(task);
    if (task->wait.waker != NULL) {
        task->wait.waker->task = NULL;
    }
    task->wait = (struct script_wait){
        .fd = -1, .on_cancelled = task->wait.on_cancelled, .context = task->wait.context};
}

/* Nobody will go on where it waits, or has waited. */
static void cancel_wait(struct script_task *task)
{
    void (*on_cancelled)(void *context) = task->wait.on_cancelled;
    end_wait(task);
    task->wait.on_cancelled = NULL;
    if (on_cancelled != NULL) {
        on_cancelled(task->wait.context);
    }
}

void script_task_wake(struct script *script, struct script_task *task, enum script_woken woken)
{
    if (task->state != TASK_WAITING) {
        return;
    }
    end_wait(task);
    task->state = TASK_READY;
    task->woken = woken;
    TAILQ_INSERT_TAIL(&script->ready, task, ready);
}

void script_wake(struct script_waker *waker)
{
    if (waker->task != NULL) {
        script_task_wake(script_of(waker->task->co), waker->task, SCRIPT_WOKEN_READY);
    }
}

static void begin_wait(struct script *script, struct script_task *task)
{
    task->state = TASK_WAITING;
    if (task->wait.waker != NULL) {
        task->wait.waker->task = task;
    }
    script_loop_add(script, task);
}

void script_task_nest(struct script *script, lua_State *co)
{
    struct script_task *task = script->task;
    task->nested = xreallocarray(task->nested, task->n_nested + 1, sizeof *task->nested);
    task->nested[task->n_nested++] = co;
}

/* ---- the tree ---- */

struct script_task *script_task_new(
    struct script *script, lua_State *co, int n_arguments, int64_t end_ms)
{
    struct script_task *parent = script->task;
    struct script_task *task = xcalloc(1, sizeof *task);
    TAILQ_INIT(&task->children);
    task->co = co;
    task->parent = parent;
    task->depth = parent->depth + 1;
    task->n_arguments = n_arguments;
    task->end_ms = end_ms < parent->end_ms ? end_ms : parent->end_ms;
    task->wait.fd = -1;
    parent->n_open++;
    script->n_tasks++;
    script_deadline_watch(co);
    TAILQ_INSERT_TAIL(&parent->children, task, sibling);
    TAILQ_INSERT_TAIL(&script->ready, task, ready);
    return task;
}

const char *script_tasks_room(const struct script *script, size_t n)
{
    if (n > SCRIPT_TASKS_MAX - script->n_tasks) {
        return "too many functions at the same time in one hook";
    }
    return script->task->depth >= SCRIPT_TASK_DEPTH_MAX ? "too many levels within each other"
                                                        : NULL;
}

/* Ends the variables with __close of a coroutine that shall not go on; nothing of it can wait. */
static void close_coroutine(struct script *script, lua_State *co)
{
    lua_State *running = script->running;
    bool was_suspended = lua_status(co) == LUA_YIELD;
    script->running = co;
    script->n_unyieldable++;
    int status = lua_resetthread(co);
    script->n_unyieldable--;
    script->running = running;
    if (was_suspended && status != LUA_OK && lua_type(co, -1) == LUA_TSTRING) {
        log_error("%s, when it was cancelled", lua_tostring(co, -1));
    }
}

static void close_task(struct script *script, struct script_task *task)
{
    for (size_t i = 0; i < task->n_nested; i++) {
        close_coroutine(script, task->nested[i]);
    }
    close_coroutine(script, task->co);
}

static void unlink_task(struct script *script, struct script_task *task)
{
    TAILQ_REMOVE(&task->parent->children, task, sibling);
    script->n_tasks--;
    if (task->event != NULL) {
        event_free(task->event);
    }
    free(task->nested);
    free(task);
}

void script_task_drop(struct script *script, struct script_task *task)
{
    script_task_drop_children(script, task);
    enum script_task_state state = task->state;
    if (state == TASK_READY) {
        TAILQ_REMOVE(&script->ready, task, ready);
    }
    if (state != TASK_DONE) {
        cancel_wait(task);
        task->parent->n_open--;
        task->state = TASK_DONE;
        close_task(script, task);
    }
    unlink_task(script, task);
}

void script_task_drop_children(struct script *script, struct script_task *task)
{
    struct script_task *child;
    while ((child = TAILQ_FIRST(&task->children)) != NULL) {
        script_task_drop(script, child);
    }
}

void script_tasks_clear(struct script *script)
{
    struct script_task *root = &script->root;
    if (root->co == NULL) {
        return;
    }
    script_task_drop_children(script, root);
    if (root->state == TASK_READY) {
        TAILQ_REMOVE(&script->ready, root, ready);
    }
    cancel_wait(root);
    root->state = TASK_DONE;
    root->co = NULL;
}

void script_tasks_free(struct script *script)
{
    if (script->root.event != NULL) {
        event_free(script->root.event);
    }
    free(script->root.nested);
}

static bool holds(const struct script_task *task, const lua_State *co)
{
    const struct script_task *child;
    for (size_t i = 0; i < task->n_nested; i++) {
        if (task->nested[i] == co) {
            return true;
        }
    }
    TAILQ_FOREACH(child, &task->children, sibling)
    {
        if (holds(child, co)) {
            return true;
        }
    }
    return task->co == co;
}

bool script_task_holds(const struct script *script, const lua_State *co)
{
    return holds(&script->root, co);
}

bool script_task_has_answer(const struct script_task *task)
{
    return task->state == TASK_DONE && task->status == LUA_OK && task->n_results > 0 &&
           !lua_isnil(task->co, -task->n_results);
}

/* ---- what is pending ---- */

static void add_text(char *text, size_t size, size_t *len, const char *piece)
{
    int n = snprintf(text + *len, size - *len, "%s", piece);
    *len = n < 0 ? *len : *len + (size_t)n < size ? *len + (size_t)n : size - 1;
}

/* The line of Lua that waits. */
static void add_place(const struct script_task *task, char *text, size_t size, size_t *len)
{
    lua_State *co = task->n_nested > 0 ? task->nested[0] : task->co;
    char place[LUA_IDSIZE + 32];
    if (script_place(co, 0, task->parent, place, sizeof place)) {
        add_text(text, size, len, " (");
        add_text(text, size, len, place);
        add_text(text, size, len, ")");
    }
}

static void add_pending(const struct script_task *task, char *text, size_t size, size_t *len)
{
    const struct script_task *child;
    if (task->state == TASK_WAITING && task->wait.what != NULL) {
        add_text(text, size, len, *len > 0 ? ", " : "");
        add_text(text, size, len, task->wait.what);
        add_place(task, text, size, len);
    }
    TAILQ_FOREACH(child, &task->children, sibling)
    {
        add_pending(child, text, size, len);
    }
}

size_t script_task_pending(const struct script_task *task, char *text, size_t size)
{
    size_t len = 0;
    text[0] = '\0';
    add_pending(task, text, size, &len);
    return len;
}

/* ---- running ---- */

/* The traceback is lost when the parent reads the error. */
static void tell_error(lua_State *L, const struct script_task *task)
{
    script_push_error_text(L, task->co);
    luaL_traceback(L, task->co, NULL, 0);
    log_error("%s\n%s", lua_tostring(L, -2), lua_tostring(L, -1));
    lua_pop(L, 2);
}

static void finish(lua_State *L, struct script *script, struct script_task *task)
{
    struct script_task *parent = task->parent;
    if (task->status == LUA_YIELD) {
        close_coroutine(script, task->co);
        lua_settop(task->co, 0);
        lua_pushliteral(task->co, "attempt to yield from outside a coroutine");
        task->status = LUA_ERRRUN;
    } else if (task->status != LUA_OK) {
        if (!task->is_quiet) {
            tell_error(L, task);
        }
        close_coroutine(script, task->co); /* leaves the error, or that of a __close */
    }
    task->state = TASK_DONE;
    parent->n_open--;
    if (parent->n_open == 0 || (parent->wants_first && script_task_has_answer(task))) {
        script_task_wake(script, parent, SCRIPT_WOKEN_READY);
    }
}

/* Until it waits or ends. True: the hook is over. */
static bool step(lua_State *L, struct script *script, struct script_task *task)
{
    script->task = task;
    script->running = task->co;
    task->state = TASK_RUNNING;
    task->wait.on_cancelled = NULL;
    task->n_nested = 0;
    task->status = lua_resume(task->co, L, task->n_arguments, &task->n_results);
    task->n_arguments = 0;
    if (task->status == LUA_YIELD && script->is_waiting) {
        script->is_waiting = false;
        begin_wait(script, task);
        return false;
    }
    if (task->parent == NULL || script->is_ending) {
        return true;
    }
    finish(L, script, task);
    return script->is_ending;
}

/* The root tells of it, at the line where it waits; what anchors those under it is then gone. */
static struct script_task *end_for_deadline(struct script *script)
{
    struct script_task *root = &script->root;
    char pending[PENDING_MAX];
    if (script_task_pending(root, pending, sizeof pending) > 0) {
        log_error("%s is out of time, and still waits for: %s", script_doing(script), pending);
    }
    script->is_ending = true;
    script_task_drop_children(script, root);
    cancel_wait(root);
    return root;
}

static struct script_task *next_task(struct script *script)
{
    if (script_loop_turn(script) != 0) {
        return end_for_deadline(script);
    }
    struct script_task *task = TAILQ_FIRST(&script->ready);
    TAILQ_REMOVE(&script->ready, task, ready);
    return task;
}

lua_State *script_tasks_run(
    lua_State *L, struct script *script, int n_arguments, int *status_out, int *n_results_out)
{
    struct script_task *task = &script->root;
    *task = (struct script_task){.co = script->thread,
        .n_arguments = n_arguments,
        .end_ms = script->deadline_ms,
        .event = task->event,
        .nested = task->nested,
        .wait = {.fd = -1}};
    TAILQ_INIT(&task->children);
    while (!step(L, script, task)) {
        task = next_task(script);
    }
    *status_out = task->status;
    *n_results_out = task->n_results;
    return task->co;
}
