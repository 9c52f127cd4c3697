/*
 * What the files of the script share: the struct behind `struct script` and the seams between them.
 * Nobody else includes this.
 *
 * Who owns what: script.c the life cycle; script_load.c the filter's file; script_run.c one
 * request, with script_arguments.c and script_result.c; script_call.c the call gate; script_task.c
 * the tasks of a hook; script_loop.c what they wait for; script_deadline.c the deadline and the
 * functions of Lua that could swallow it; script_alarm.c what it cannot stop; script_alloc.c
 * memory; script_profile.c samples of where the time goes; script_libs.c which libraries a filter
 * sees; script_require.c modules; script_finish.c what ends a hook; script_globals.c strict globals
 * and `config`; script_unknown.c names that nobody defines, by script_lexer.c; script_test.c files
 * of tests, script_world.c the world that they simulate.
 */
#ifndef POSTERN_WORKER_SCRIPT_INTERNAL_H
#define POSTERN_WORKER_SCRIPT_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/note.h"
#include "worker/keyed_hash.h"
#include "worker/lapi.h"
#include "worker/script.h"
#include "worker/script_task.h"
#include "worker/script_wait.h"

enum {
    SCRIPT_FILE_MAX = 16 << 20, /* bytes of one Lua file */
    SCRIPT_HOOK_COUNT = 1000,   /* instructions between two looks at the clock */
    SCRIPT_SAMPLE_COUNT = 100,  /* the same while a profile is made */
    SCRIPT_MEMORY_RESERVE =
        256 << 10,            /* what the gate may use over the limit while it tells of an error */
    SCRIPT_STATE_MAX = 32768, /* bytes of conn.state and msg.state, each */
    SCRIPT_FINISH_MAX = 16,   /* functions that end a hook */
    SCRIPT_FINISH_ORDERS = 2,
};

enum script_phase { SCRIPT_LOADING = 0, SCRIPT_LOADED, SCRIPT_SERVING };

/* Counts what Lua holds. limit 0: none. */
struct script_memory {
    size_t used_bytes;
    size_t limit_bytes;
    size_t reserve_bytes; /* in force only while the gate handles an error */
};

/* conn.state or msg.state of the request being served. */
struct script_state_slot {
    struct slice bytes; /* as they came; borrowed from the request */
    bool is_touched;    /* decoded into the registry's table, so that it must be encoded again */
    char error[256];
};

struct script {
    const struct conf *conf; /* borrowed */
    lua_State *L;            /* the main thread: runs only our C functions */
    struct script_memory memory;
    enum script_phase phase;

    char *path;       /* of the filter, as given */
    char *folder;     /* that holds it; "." at least */
    char *chunk_name; /* "filter.lua": in messages */
    char *text;       /* the filter's source, for script_each_unknown_global */
    size_t text_bytes;

    uint32_t hooks;
    int hook_refs[HOOK_COUNT]; /* in the registry; LUA_NOREF where there is none */

    struct note *note; /* what it is at, for the multiplexor; NULL: nobody reads it */
    struct job *job;   /* NULL outside a request */
    enum hook hook;    /* HOOK_NONE at load */

    /* the gate */
    lua_State *thread; /* the coroutine of hooks, kept while hooks end well; NULL: make one */
    int thread_ref;
    int64_t deadline_ms;
    lua_State *volatile running; /* the innermost coroutine; NULL outside calls */
    bool has_alarm;              /* script_alarm.c has its handler */
    bool is_ending; /* the deadline has passed, or a back end ends the hook: every pcall and resume
                       lets the error through */
    bool is_deferred;         /* the hook ends with a tempfail, for deferred_text */
    char deferred_text[320];  /* for the log: "clamav: timeout" */
    char deferred_where[160]; /* the line of the filter that asked */
    char deadline_text[320];  /* where it was noticed; "": not yet */
    bool is_waiting;          /* a C function asks to wait: task->wait says for what */
    struct script_task root;  /* the hook's own; co NULL outside calls */
    struct script_task *task; /* that runs; NULL outside calls */
    struct script_task_list ready;
    size_t n_tasks;           /* besides the root */
    struct script_loop *loop; /* NULL until something waits */
    struct dns *dns;          /* NULL until something is asked */
    struct http *http;        /* NULL until a filter wants postern.http */
    uint32_t n_unyieldable;   /* coroutines resumed from places that cannot yield */
    uint32_t n_closing;       /* calls of coroutine.close that lie within each other */
    int finish_ref;           /* functions of script_finish.c and their orders; LUA_NOREF: none */

    struct redis *redis; /* postern.redis; NULL until something is asked */
    struct store *store; /* NULL until the filter asks it for something */
    bool owns_store;
    lua_State *world; /* of tests, whose answers stand in for the network; NULL: the real one */
    int world_top;    /* what that thread had on its stack */
    bool does_deeds;  /* deeds.h: for real */
    uint8_t origin_key[KEYED_HASH_BYTES]; /* origin_mark.h */
    bool has_origin_key;
    struct tally *tally; /* what postern.metrics has counted */

    /* the profile */
    struct profile *profile; /* NULL: none is made */
    int64_t sampled_us;      /* monotonic clock: all before is accounted for */
    int64_t told_us;         /* when samples were last told */
    void (*tell_samples)(void *context);
    void *tell_samples_context;

    /* the API */
    uint32_t box_serial;      /* boxes with another one are stale */
    const char *verdict_name; /* of the newest verdict made in this hook; NULL: none */
    char verdict_where[256];
    struct script_state_slot states[2]; /* by enum lapi_state_kind */
    struct buf scratch;                 /* for conversions; must not be held across Lua calls */
    struct buf reply_states[2];
    struct buf reply_changes;
};

/* script_alloc.c. An allocator for lua_newstate; ud is a struct script_memory. */
void *script_alloc(void *ud, void *block, size_t old_bytes, size_t new_bytes);

/* script_libs.c [-0, +0, m]: opens the libraries that filters see, and takes out what they must
 * not. */
void script_libs_open(lua_State *L);
/* From now on os.time and os.date have the clock that a test has moved on; that costs their errors
 * the filter's line. [-0, +0, m] */
void script_libs_follow_clock(lua_State *L);
/* script_require.c [-0, +0, m]: package with our searchers; the folders come from script and
 * configuration. */
void script_require_open(lua_State *L);
/* Whether a file may be run as Lua text; pushes the function, or leaves an error text: LUA_OK, or
 * LUA_ERRSYNTAX, LUA_ERRFILE, LUA_ERRMEM. [-0, +1, m] */
int script_load_buffer(lua_State *L, const char *text, size_t len, const char *chunk_name);
/* Reads a regular file of at most SCRIPT_FILE_MAX bytes. 0 and malloc'd *text_out, -ERR_NOTFOUND,
 * -ERR_TOOBIG, -ERR_BAD (no regular file), -ERR_SYSTEM. */
int script_read_file(const char *path, char **text_out, size_t *len_out);
/* script.c: the state with libraries and API, and nothing loaded yet. As script_new. */
int script_make(const struct conf *conf, const char *path, struct script **out, char **error_out);
/* What runs, in words: a hook's name, "the top level", "the test". */
const char *script_doing(const struct script *script);
/* script_load.c: runs the top level. As script_new. */
int script_load_file(struct script *script, int64_t load_ms, char **error_out);
/* The same, and finds the hooks. */
int script_load(struct script *script, int64_t load_ms, char **error_out);
void script_find_hooks(
    lua_State *L, struct script *script); /* takes the present functions [-0, +0, m] */

/* script_result.c: where the hook that runs is defined, "filter.lua:12", for errors of what it
 * returned; borrowed from the arena. [-0, +0, -] */
const char *script_hook_place(lua_State *L, struct arena *arena);

/* script_globals.c [-0, +0, m] */
void script_globals_open(lua_State *L, struct script *script);
void script_globals_freeze(lua_State *L);
/* Pushes the table that holds the globals, frozen or not. [-0, +1, -] */
void script_globals_push(lua_State *L);

/* script_deadline.c */
void script_deadline_open(lua_State *L);   /* replaces pcall, xpcall, coroutine.* [-0, +0, m] */
void script_deadline_watch(lua_State *co); /* sets the hook, for the profile too */
int script_deadline_raise(lua_State *L);   /* "the hook did not end in time", with file and line */

/* Ends the hook with a tempfail that nothing in it can catch; does not return. why: for the log;
 * Call as `return script_defer(L, why);`. */
int script_defer(lua_State *L, const char *why);

/* script_place.c: the line of the filter that runs in L, "filter.lua:12", from that level of its
 * stack on. Where it has handed over to a module and is gone (a tail call): the line that waits for
 * the task, else that of the module. task: the one that L runs in, or its parent; or NULL. False:
 * no Lua runs. place_bytes: more than LUA_IDSIZE + 12. */
bool script_place(
    lua_State *L, int level, const struct script_task *task, char *place, size_t place_bytes);

/* script_profile.c: only while script->profile is not NULL */
void script_profile_begin(struct script *script); /* a call begins: what was before is not its */
void script_profile_event(struct script *script, lua_State *L, const lua_Debug *ar);

/* script_note.c. word: of a class; name: of its field or method. */
void script_note_begin(struct script *script);
void script_note_operation(struct script *script, const char *word, const char *name, size_t len);
void script_note_line(struct script *script, lua_State *L);

/* script_alarm.c: the log is told where a call is that its deadline did not end. */
void script_alarm_set(struct script *script); /* for the call that begins, from deadline_ms */
void script_alarm_clear(const struct script *script);

/*
 * script_finish.c. _add: the function on top of the stack is called when the hook has ended well
 * and its changes are known, those of a lower order first [-1, +0, m]. _run calls them [-0, +n, m]:
 * NULL, or what went wrong (on the stack).
 */
void script_finish_add(lua_State *L, int order);
const char *script_finish_run(lua_State *L, struct script *script);
void script_finish_forget(struct script *script);

/*
 * script_world.c. _is_simulated: whether a test answers in place of the network. Then _ask calls a
 * function of postern.internal.world there: its n arguments are on top of the stack, and
 * SCRIPT_WORLD_RESULTS results take their place; raises what the test raised. [-n, +3, e] _open:
 * in the state of the tests, before their file is loaded. [-0, +0, e]
 */
enum { SCRIPT_WORLD_RESULTS = 3 };
bool script_world_is_simulated(lua_State *L);
void script_world_ask(lua_State *L, const char *function, int n);
void script_world_open(lua_State *L);

/* lapi_archive.c, lapi_async.c …: push the module. */
int lapi_address_open(lua_State *L);
int lapi_archive_open(lua_State *L);
int lapi_async_open(lua_State *L);
int lapi_backend_open(lua_State *L);
int lapi_dns_open(lua_State *L);
int lapi_net_open(lua_State *L);
int lapi_html_open(lua_State *L);
int lapi_http_open(lua_State *L);
int lapi_json_open(lua_State *L);
int lapi_metrics_open(lua_State *L);
int lapi_redis_open(lua_State *L);
int lapi_signature_open(lua_State *L);
int lapi_smtp_open(lua_State *L);
int lapi_sql_open(lua_State *L);
int lapi_store_open(lua_State *L);
int lapi_system_open(lua_State *L);
int lapi_url_open(lua_State *L);
int lapi_log_print(lua_State *L); /* print: as log.info */
/* lapi_store.c: made at its first use; raises while the filter loads. */
struct store *script_store(lua_State *L);

/*
 * The call gate: runs the function of function_ref as a coroutine until it ends, the deadline
 * passes or it fails.
 *
 * push      pushes the arguments onto L and returns their number; may raise.
 * take      gets what the function returned at first … first + n - 1; returns NULL or why the
 * result is an error (borrowed); may raise. Result: outcome, error (malloc'd, one line with file
 * and line, NULL when OK) and traceback (malloc'd, may be NULL).
 */
struct script_call {
    int function_ref;
    int (*push)(lua_State *L, struct script *script, void *context);
    const char *(*take)(lua_State *L, struct script *script, int first, int n, void *context);
    void *context;
    int64_t deadline_ms;
    enum reply_outcome outcome;
    char *error;
    char *traceback;
};
void script_call(struct script *script, struct script_call *call);
void script_call_clear(struct script_call *call);
/* Pushes onto L the error object on top of a dead coroutine as a text. [-0, +1, m] */
void script_push_error_text(lua_State *L, lua_State *co);
/* Runs a function of ours in protected mode with the memory reserve. 0, or -ERR_BAD with malloc'd
 * error_out (may be NULL). */
int script_protect(struct script *script, lua_CFunction function, void *context, char **error_out);

#endif
