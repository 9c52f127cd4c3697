/*
 * Tasks: the coroutines of one call of the gate that may wait at the same time. A tree: the hook's
 * own task is the root, and the functions that a task gave to async.all and the like are its
 * children, for which it waits. One runs at a time, and goes on until it waits or ends. Children
 * never outlive the wait of their parent: they have ended when it is over, or are cancelled.
 *
 *   READY → running → WAITING → READY …   → DONE (its results or its error lie on its stack)
 */
#ifndef POSTERN_WORKER_SCRIPT_TASK_H
#define POSTERN_WORKER_SCRIPT_TASK_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "worker/script_wait.h"

struct event;
struct script;

enum {
    SCRIPT_TASKS_MAX = 1000, /* at a time in one hook */
    SCRIPT_TASK_DEPTH_MAX = 50,
};

enum script_task_state { TASK_READY = 0, TASK_RUNNING, TASK_WAITING, TASK_DONE };

TAILQ_HEAD(script_task_list, script_task);

struct script_task {
    lua_State *co; /* anchored by the parent's stack; the root's in the registry */
    enum script_task_state state;
    struct script_task *parent; /* NULL: the hook's own */
    struct script_task_list children;
    TAILQ_ENTRY(script_task) sibling;
    TAILQ_ENTRY(script_task) ready;
    unsigned depth;
    unsigned n_open; /* children that are not DONE */
    int64_t end_ms;  /* the time it has: never later than its parent's */

    bool is_quiet;    /* its error is raised again by the parent, so it is not logged here */
    bool wants_first; /* is woken by the first child that answers */

    int n_arguments; /* on its stack, for its first run */
    int status;      /* of lua_resume, once DONE */
    int n_results;

    struct script_wait wait;
    enum script_woken woken;
    struct event *event; /* NULL until it first waits for a descriptor or for time */
    lua_State **nested;  /* coroutines of the filter's own that wait with it, innermost first */
    size_t n_nested;
};

/*
 * A child of the running task: co has a function and its n_arguments arguments on its stack, and is
 * anchored by the caller until script_task_drop. It runs when the parent waits. end_ms: at most the
 * parent's counts. The caller has looked at script_tasks_room.
 */
struct script_task *script_task_new(
    struct script *script, lua_State *co, int n_arguments, int64_t end_ms);
/* Whether n more may be made: NULL, or why not. */
const char *script_tasks_room(const struct script *script, size_t n);
/* Cancels it unless it is DONE, its children first: it waits no more, and its variables with
 * __close end (nothing in there can wait). Frees it. May set is_ending. [-0, +0, -] */
void script_task_drop(struct script *script, struct script_task *task);
/* All of the running task's. */
void script_task_drop_children(struct script *script, struct script_task *task);
/* Whether a child's function returned something but nil. */
bool script_task_has_answer(const struct script_task *task);
/* What the task or those under it wait for, for people: "dns A example.org (filter.lua:12)"; cut
 * at size bytes. Returns the length. */
size_t script_task_pending(const struct script_task *task, char *text, size_t size);

/* For the gate: runs the root, whose function and n_arguments are on script->thread, and all under
 * it until the root has ended or everything has (is_ending). Returns the coroutine that ended it,
 * results or error on its stack. L: the main thread. */
lua_State *script_tasks_run(
    lua_State *L, struct script *script, int n_arguments, int *status_out, int *n_results_out);
/* What is left of the tree after an error. */
void script_tasks_clear(struct script *script);
/* Before the loop is freed, and after the state. */
void script_tasks_free(struct script *script);

/* For coroutines of the filter's own: co, which the running task has resumed, waits with it. */
void script_task_nest(struct script *script, lua_State *co);
/* Whether a task is made of co or waits in it: then nobody else may resume or close it. */
bool script_task_holds(const struct script *script, const lua_State *co);

/* ---- script_loop.c: what a task waits for ---- */

/* 0, or -ERR_SYSTEM when there can be no loop. */
int script_loop_open(struct script *script);
void script_loop_free(struct script *script);
void script_loop_add(struct script *script, struct script_task *task);
void script_loop_remove(struct script_task *task);
/* Sleeps until a task is ready: 0, or -ERR_TIMEOUT when the hook's deadline has passed first. */
int script_loop_turn(struct script *script);
/* For script_loop.c: the wait is over. */
void script_task_wake(struct script *script, struct script_task *task, enum script_woken woken);

#endif
