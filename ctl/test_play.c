/* The process of a test: its state, and `run`, which plays a message in it. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/xalloc.h"
#include "ctl/isolate.h"
#include "ctl/play.h"
#include "ctl/render.h"
#include "ctl/test.h"
#include "worker/lapi_json.h"
#include "worker/mime.h"
#include "worker/script.h"
#include "worker/store.h"

/* In the child. What lives in the arena is let go with the process when Lua raises over it. */
struct bench {
    const struct test_file *file;
    const char *name; /* of the test; NULL: the tests are listed */
    struct isolate *isolate;
    struct store *store; /* of the test and all that it runs */
    struct arena *arena; /* of one run */
    uint32_t n_runs;
    bool is_playing;    /* a message, so that the test's fakes may be called */
    char *filter_error; /* of the newest run whose filter failed; NULL: none */
    int64_t end_ms;
};

/* ---- what run is given ---- */

static const struct {
    const char *name;
    enum arg arg; /* ARG_COUNT: the mail */
} text_fields[] = {{"file", ARG_COUNT}, {"eml", ARG_COUNT}, {"ip", ARG_IP},
    {"hostname", ARG_HOSTNAME}, {"helo", ARG_HELO}, {"sender", ARG_SENDER}};

enum { N_TEXT_FIELDS = sizeof(text_fields) / sizeof(text_fields[0]) };

static bool is_text_field(const char *name)
{
    for (size_t i = 0; i < N_TEXT_FIELDS; i++) {
        if (strcmp(text_fields[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void check_fields(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (is_text_field(name)) {
            if (lua_type(L, -1) != LUA_TSTRING) {
                luaL_error(L, "run: %s is a text, not a %s", name, luaL_typename(L, -1));
            }
        } else if (strcmp(name, "recipients") != 0 && strcmp(name, "macros") != 0 &&
                   strcmp(name, "config") != 0) {
            luaL_error(L, "run: there is no field '%s'", name);
        } else if (lua_type(L, -1) != LUA_TTABLE) {
            luaL_error(L, "run: %s is a table, not a %s", name, luaL_typename(L, -1));
        }
    }
}

static void add_value(struct bench *bench, struct arg_values *values, int n_max, const char *text)
{
    if (values->items == NULL) {
        values->items = arena_calloc(bench->arena, (size_t)n_max, sizeof(*values->items));
    }
    values->items[values->n++] = text;
}

/* A text of the table on top, or raises; it stays good while the table holds it. */
static const char *text_of(lua_State *L, int index, const char *what)
{
    size_t len;
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &len) : NULL;
    if (text == NULL) {
        luaL_error(L, "run: %s holds texts, not a %s", what, luaL_typename(L, index));
    } else if (strlen(text) != len) {
        luaL_error(L, "run: a NUL in %s", what);
    }
    return text;
}

static void take_texts(lua_State *L, struct bench *bench, struct args *args)
{
    for (size_t i = 0; i < N_TEXT_FIELDS; i++) {
        if (text_fields[i].arg != ARG_COUNT &&
            lua_getfield(L, 1, text_fields[i].name) != LUA_TNIL) {
            add_value(
                bench, &args->values[text_fields[i].arg], 1, text_of(L, -1, text_fields[i].name));
        }
        lua_settop(L, 1);
    }
}

static void take_recipients(lua_State *L, struct bench *bench, struct args *args)
{
    if (lua_getfield(L, 1, "recipients") != LUA_TNIL) {
        lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
        luaL_argcheck(
            L, n > 0 && n <= TRANSACTION_RECIPIENTS_MAX, 1, "recipients: none, or too many");
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, 2, i);
            add_value(bench, &args->values[ARG_RECIPIENT], (int)n, text_of(L, -1, "recipients"));
            lua_pop(L, 1);
        }
    }
    lua_settop(L, 1);
}

static void take_macros(lua_State *L, struct bench *bench, struct args *args)
{
    if (lua_getfield(L, 1, "macros") != LUA_TNIL) {
        for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
            const char *name = text_of(L, -2, "macros");
            const char *value = text_of(L, -1, "macros");
            if (args->values[ARG_MACRO].n == ENVELOPE_MACROS_MAX) {
                luaL_error(L, "run: too many macros");
            }
            add_value(bench, &args->values[ARG_MACRO], ENVELOPE_MACROS_MAX,
                arena_printf(bench->arena, "%s=%s", name, value));
        }
    }
    lua_settop(L, 1);
}

/* The value on top as the configuration would spell it, or raises. */
static const char *setting_of(lua_State *L, struct bench *bench)
{
    if (lua_isboolean(L, -1)) {
        return lua_toboolean(L, -1) ? "yes" : "no";
    }
    if (lua_isinteger(L, -1)) {
        return arena_printf(bench->arena, "%lld", (long long)lua_tointeger(L, -1));
    }
    return arena_printf(bench->arena, "%s", text_of(L, -1, "config"));
}

/* Where a setting stands, or behind the last. */
static struct conf_setting *find_setting(const struct conf *conf, const char *name)
{
    int i = 0;
    while (i < conf->n_filter && strcmp(conf->filter[i].name, name) != 0) {
        i++;
    }
    return &conf->filter[i];
}

/* conf: a copy of the file's, whose [filter] section gets what the table says in place of, and
 * beside, what the server's says. */
static void take_config(lua_State *L, struct bench *bench, struct conf *conf)
{
    if (lua_getfield(L, 1, "config") != LUA_TNIL) {
        size_t n = (size_t)conf->n_filter;
        for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
            n++;
        }
        struct conf_setting *settings = arena_calloc(bench->arena, n, sizeof(*settings));
        if (conf->n_filter > 0) {
            memcpy(settings, conf->filter, (size_t)conf->n_filter * sizeof(*settings));
        }
        conf->filter = settings;
        for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
            const char *name = text_of(L, -2, "config");
            struct conf_setting *setting = find_setting(conf, name);
            conf->n_filter += setting == &conf->filter[conf->n_filter];
            setting->name = (char *)(uintptr_t)name;
            setting->value = (char *)(uintptr_t)setting_of(L, bench);
        }
    }
    lua_settop(L, 1);
}

/* The path of a file beside the test. */
static const char *path_beside(struct bench *bench, const char *name)
{
    const char *test = bench->file->path, *slash = strrchr(test, '/');
    return name[0] == '/' || slash == NULL
               ? name
               : arena_printf(bench->arena, "%.*s/%s", (int)(slash - test), test, name);
}

/* *shown_out: as the report names it. */
static void take_mail(
    lua_State *L, struct bench *bench, struct mail_file *mail, const char **shown_out)
{
    size_t len = 0;
    int has_file = lua_getfield(L, 1, "file") != LUA_TNIL;
    int has_text = lua_getfield(L, 1, "eml") != LUA_TNIL;
    if (has_file == has_text) {
        luaL_error(L, "run: needs file, the path of a message, or eml, its text");
    }
    *shown_out = has_file ? path_beside(bench, text_of(L, 2, "file")) : "eml";
    const char *text = has_text ? lua_tolstring(L, 3, &len) : NULL;
    int rc =
        has_file ? mail_file_read(*shown_out, mail) : mail_file_of_text(slice_of(text, len), mail);
    if (rc < 0) {
        const char *hint = rc == -ERR_SYSTEM && errno == EACCES
                               ? "; in the sandbox, files are those beside the test, below the "
                                 "filter's folder and in worker.read_paths"
                               : "";
        luaL_error(L, "run: cannot read %s: %s%s", *shown_out, err_text(rc), hint);
    }
    lua_settop(L, 1);
}

/* ---- run ---- */

static json_t *play(lua_State *L, struct bench *bench, const struct conf *conf,
    const struct transaction *transaction, const struct mail_file *mail, const char *shown)
{
    struct playing playing = {.conf = conf,
        .filter = conf->worker.filter,
        .file = shown,
        .output_fd = -1,
        .transaction = transaction,
        .mail = mail,
        .last_hook = HOOK_NONE,
        .store = bench->store,
        .world = L};
    json_t *lines = json_array();
    isolate_keep_log(bench->isolate, lines);
    bench->is_playing = true;
    json_t *report = play_in_child(bench->isolate, &playing);
    bench->is_playing = false;
    isolate_keep_log(bench->isolate, NULL);
    isolate_say_step(bench->isolate, bench->name, bench->end_ms - clock_now_ms());
    play_add_log(report, lines);
    json_decref(lines);
    json_object_del(report, "shown");
    const char *error = json_string_value(json_object_get(report, "error"));
    if (error != NULL) {
        free(bench->filter_error);
        bench->filter_error = xstrdup(error);
    }
    return report;
}

/* run{file= or eml=, ip=, hostname=, helo=, sender=, recipients=, macros=, config=} */
static int run_message(lua_State *L)
{
    struct bench *bench = lua_touserdata(L, lua_upvalueindex(1));
    struct args args = {0};
    struct conf conf = *bench->file->conf;
    struct transaction transaction;
    struct mail_file mail;
    const char *shown = "";
    lua_settop(L, 1);
    if (bench->name == NULL) {
        return luaL_error(L, "run is for the functions of a test, not for its top level");
    }
    if (bench->is_playing) {
        return luaL_error(L, "run: a message is being played already: a fake cannot play another");
    }
    check_fields(L);
    arena_reset(bench->arena);
    take_texts(L, bench, &args);
    take_recipients(L, bench, &args);
    take_macros(L, bench, &args);
    take_config(L, bench, &conf);
    take_mail(L, bench, &mail, &shown);
    const char *wrong = transaction_make(&args, &mail, ++bench->n_runs, bench->arena, &transaction);
    if (wrong != NULL) {
        mail_file_clear(&mail);
        return luaL_error(L, "run: %s", wrong);
    }
    json_t *report = play(L, bench, &conf, &transaction, &mail, shown);
    mail_file_clear(&mail);
    lapi_json_push(L, report);
    json_decref(report);
    return 1;
}

/* ---- the process ---- */

/* NULL and an error text when it does not load. */
static struct script *load(struct bench *bench, char **error_out)
{
    const struct conf *conf = bench->file->conf;
    int64_t load_ms = conf->multiplexor.load_time;
    const char *name = bench->name;
    struct script *script = NULL;
    mime_start();
    isolate_say_step(bench->isolate, "loading the tests", load_ms);
    bench->name = NULL;
    int rc =
        script_new_test(conf, bench->file->path, load_ms, run_message, bench, &script, error_out);
    bench->name = name;
    if (rc != 0 && *error_out == NULL) {
        *error_out = xstrdup(err_text(rc));
    }
    return script;
}

static void say_error(struct isolate *isolate, const char *error)
{
    json_t *result = json_object();
    json_object_set_new(
        result, "error", error != NULL ? render_json_text(slice_text(error)) : json_null());
    isolate_say_result(isolate, result);
    json_decref(result);
}

static void list_in_child(struct isolate *isolate, void *context)
{
    struct bench bench = {.file = context, .isolate = isolate};
    struct script_test *tests = NULL;
    size_t n = 0;
    char *error = NULL;
    struct script *script = load(&bench, &error);
    if (script == NULL || script_tests(script, &tests, &n, &error) != 0) {
        say_error(isolate, error);
    } else {
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++) {
            json_array_append_new(
                list, json_pack("{s:o, s:i}", "name", render_json_text(slice_text(tests[i].name)),
                          "line", tests[i].line));
        }
        json_t *result = json_pack("{s:o}", "tests", list);
        isolate_say_result(isolate, result);
        json_decref(result);
    }
    free(tests);
    free(error);
    script_free(script);
}

/* A test that fails since its filter did says that too. */
static char *with_filter_error(char *error, const struct bench *bench)
{
    if (error == NULL || bench->filter_error == NULL) {
        return error;
    }
    char *both = xasprintf("%s\nthe filter: %s", error, bench->filter_error);
    free(error);
    return both;
}

struct testing {
    const struct test_file *file;
    const char *name;
};

static void run_in_child(struct isolate *isolate, void *context)
{
    const struct testing *testing = context;
    int64_t limit_ms = testing->file->conf->multiplexor.load_time;
    struct bench bench = {.file = testing->file, .name = testing->name, .isolate = isolate};
    char *error = NULL;
    bench.arena = arena_new();
    bench.store = store_new(testing->file->conf, STORE_PRIVATE);
    struct script *script = load(&bench, &error);
    if (script != NULL) {
        script_share_store(script, bench.store);
        bench.end_ms = clock_now_ms() + limit_ms;
        isolate_set_end(isolate, bench.end_ms);
        isolate_say_step(isolate, bench.name, limit_ms);
        (void)script_run_test(script, bench.name, limit_ms, &error);
    }
    error = with_filter_error(error, &bench);
    say_error(isolate, error);
    free(error);
    free(bench.filter_error);
    script_free(script);
    store_free(bench.store);
    arena_free(bench.arena);
}

static json_t *outcome_of(
    const struct test_file *file, void (*work)(struct isolate *, void *), void *context)
{
    struct isolate_outcome outcome;
    isolate_run(file->conf, work, context, &outcome);
    json_t *result;
    if (outcome.end == ISOLATE_RESULT && json_is_object(outcome.value)) {
        result = json_incref(outcome.value);
    } else {
        char *text = xasprintf("%s: the process %s", outcome.step, outcome.text);
        result = json_object();
        json_object_set_new(result, "error", render_json_text(slice_text(text)));
        free(text);
    }
    json_object_set(result, "log", outcome.log);
    isolate_outcome_clear(&outcome);
    return result;
}

json_t *test_list(const struct test_file *file)
{
    return outcome_of(file, list_in_child, (void *)(uintptr_t)file);
}

json_t *test_run(const struct test_file *file, const char *name)
{
    struct testing testing = {file, name};
    return outcome_of(file, run_in_child, &testing);
}
