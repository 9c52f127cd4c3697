/*
 * The filter: one Lua state with the administrator's file loaded, and the call gate through which
 * every hook runs. Knows nothing of sockets, so that postern-worker and `posternctl run` share it.
 *
 * Order: script_new (nursery: loads the file; anything that waits raises) → [fork] →
 * script_after_fork → script_init (filter_init) → script_run for each request → script_exit
 * (filter_exit) → script_free.
 */
#ifndef POSTERN_WORKER_SCRIPT_H
#define POSTERN_WORKER_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/hook.h"
#include "common/wire.h"

struct note;
struct script;
struct store;
struct job;
struct lua_State;
struct profile;
struct tally;

/*
 * Makes the state (allocator capped at worker.lua_memory, libraries one by one, the API), and runs
 * the filter's top level with a time limit.
 *
 * conf       borrowed for the script's life.
 * path       the filter file; text only, bytecode is refused.
 * error_out  malloc'd text with file and line on failure.
 * Returns 0, -ERR_BAD (does not compile, raises, defines no hook, unknown filter_ name),
 * -ERR_NOTFOUND, -ERR_TIMEOUT, -ERR_SYSTEM.
 */
int script_new(const struct conf *conf, const char *path, int64_t load_ms, struct script **out,
    char **error_out);
void script_free(struct script *script);
uint32_t script_hooks(const struct script *script); /* HOOK_BIT of each hook defined */
const char *script_path(const struct script *script);
/* Whether the word stands in the filter's text: what it may need is then made before the fork. */
bool script_mentions(const struct script *script, const char *word);
/* The line where the filter's text calls a method of that name; 0: nowhere. */
int script_method_line(const struct script *script, const char *name);
/* The first module that the filter has loaded and that can ask nobody, since worker.allow_network
 * is off: "postern.dns"; NULL: none. */
const char *script_offline(const struct script *script);
/* Worker: a new random seed; globals become read-only after script_init when strict_globals. */
void script_after_fork(struct script *script);
/* Nursery, for the workers that come of it: a signal that ends the process finds the line first. */
void script_note_watch(struct script *script);
/* From now on it notes there what it is at; NULL: nowhere. Borrowed. */
void script_note_set(struct script *script, struct note *note);
/* What hooks ask for outside the mail (deeds.h) is done from now on; else it is only told. */
void script_do_deeds(struct script *script);
bool script_does_deeds(struct lua_State *L);
/* What postern.store keeps goes into this one (borrowed), whatever the configuration says. */
void script_share_store(struct script *script, struct store *store);
/* Runs filter_init within budget_ms. 0 or -ERR_BAD with error_out. */
int script_init(struct script *script, int64_t budget_ms, char **error_out);
void script_exit(struct script *script, int64_t budget_ms);

/*
 * Runs the hook of a request and fills the reply (fields the multiplexor patches are left 0). Never
 * fails: whatever happens becomes an outcome and a verdict. Slices of the reply are good
 * until job_close or the script's next run. A hook that the filter does not define gives
 * OUTCOME_OK, VERDICT_CONTINUE. deadline_ms: monotonic clock; the hook is cancelled then.
 */
void script_run(
    struct script *script, struct job *job, int64_t deadline_ms, struct wire_reply *reply);

/*
 * Fills the reply of a hook that failed: on_error's verdict for what the hook judges, with its
 * neutral text. error is borrowed (cut at what the record takes), texts hold what the reply's
 * slices point to. request->hook < HOOK_COUNT.
 */
struct script_failure_texts {
    char text[512];
    char dsn[16];
};
void script_fill_failure(const struct conf *conf, const struct wire_request *request,
    enum reply_outcome outcome, const char *error, struct script_failure_texts *texts,
    struct wire_reply *reply);

/*
 * Profiles: number 0 ends one. From the next call on, samples gather in script_samples (borrowed;
 * NULL: no profile is made). `tell` is called now and then while a hook runs long, from inside of
 * it: it may take the samples, and nothing else.
 */
void script_profile(struct script *script, uint32_t number);
struct profile *script_samples(struct script *script);
void script_profile_watch(struct script *script, void (*tell)(void *context), void *context);
/* What the filter has counted and nobody was told yet; borrowed. */
struct tally *script_tally(struct script *script);
/* The present Lua heap in KiB. */
uint32_t script_heap_kb(const struct script *script);
/* The names that the filter's text uses as globals but nobody defines, for posternctl check: calls
 * cb with name and line. */
typedef void (*script_unknown_global_cb)(const char *name, int line, void *context);
void script_each_unknown_global(struct script *script, script_unknown_global_cb cb, void *context);

/*
 * Files of tests: a script that is no filter, with the same libraries and limits, and
 *   run     play, a C function whose first upvalue is the context as light userdata
 *   assert  which tells file and line
 *   advance_clock  which moves the wall clock on
 *   dns_answers, fake_backend  which say what the world answers (script_enter_world)
 *
 * Arguments and result as script_new.
 */
int script_new_test(const struct conf *conf, const char *path, int64_t load_ms,
    int (*play)(struct lua_State *L), void *context, struct script **out, char **error_out);

/* What the script asks of DNS and of back ends, the tests answer to which this thread belongs. It
 * is inside play, and stays there as long as the script may ask. */
void script_enter_world(struct script *script, struct lua_State *test);

enum { SCRIPT_TEST_NAME_MAX = 127 };

struct script_test {
    char name[SCRIPT_TEST_NAME_MAX + 1];
    int line;
};

/* Its global functions test_…, by line: a malloc'd list. 0 or -ERR_BAD with error_out. */
int script_tests(struct script *script, struct script_test **out, size_t *n_out, char **error_out);
/* Runs one within budget_ms. 0, -ERR_TIMEOUT, or -ERR_BAD, with error_out. */
int script_run_test(struct script *script, const char *name, int64_t budget_ms, char **error_out);

/* For the API's C functions: the script and the job being served (NULL outside hooks) of a state.
 */
struct script *script_of(struct lua_State *L);
struct job *script_job(struct lua_State *L);
const struct conf *script_conf(struct lua_State *L);
enum hook script_current_hook(struct lua_State *L); /* HOOK_NONE at load */

#endif
