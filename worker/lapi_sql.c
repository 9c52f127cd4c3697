/*
 * require "postern.internal.sql": connections to data bases, on which postern.sql is built. What
 * the world does wrong is nil, a text, and a word for the kind: "statement" (the data base refuses
 * it), "limit", "timeout" or "lost".
 *
 *   refusal(is_network)            why no data base is asked here; nil: it is
 *   conninfo(text)                 a connection string of libpq as a table, or nil
 *   postgres(parameters, is_kept)  a connection that is not open yet; parameters: texts by name.
 *                                  nil and why: password_file
 *   sqlite(path, is_read_only, may_create)     the same
 *   link:connect(seconds, what)    true
 *   link:run{ text =, values =, seconds =, max_rows =, max_bytes =, keep =, what = }
 *                                  rows, how many it changed, the name of the first column;
 *                                  nil, why, kind, code
 *   link:is_idle()                 open, with nothing under way and no transaction
 *   link:is_in_transaction()
 *   link:close()
 *   gate()                         what one task waits at until another one wakes it
 *   gate:wait(seconds, what)       whether it was woken
 *   gate:wake()
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "worker/lapi_sql_value.h"
#include "worker/sandbox_files.h"
#include "worker/script_internal.h"
#include "worker/secret_file.h"
#include "worker/sql.h"
#include "worker/sql_postgres.h"
#include "worker/sql_sqlite.h"

#define LINK_NAME "postern.sql_link"
#define GATE_NAME "postern.sql_gate"

enum {
    SECONDS_MAX = 86400,
    PASSWORD_MAX = 1024,
    KEYWORDS_MAX = 64,
    ROWS_MAX = 10000000,
    BYTES_MAX = 256 << 20,
    WHAT_MAX = 160,
};

struct link {
    struct sql_link *sql; /* NULL: closed */
    struct sql_ask ask;
    bool is_busy; /* ask is under way */
    char what[WHAT_MAX];
};

struct gate {
    struct script_waker waker;
    bool is_open; /* somebody has woken it */
};

static int64_t check_end(lua_State *L, lua_Number seconds)
{
    if (!(seconds >= 0 && seconds <= SECONDS_MAX)) /* nor NaN */
        luaL_error(L, "sql: seconds are 0 to %d", SECONDS_MAX);
    return clock_now_ms() + (int64_t)ceil(seconds * 1000);
}

/* ---- results ---- */

static int push_failure(lua_State *L, const struct sql_ask *ask)
{
    static const char *const kinds[] = {[SQL_FAILED_NOT] = "",
        [SQL_FAILED_STATEMENT] = "statement",
        [SQL_FAILED_LIMIT] = "limit",
        [SQL_FAILED_TIME] = "timeout",
        [SQL_FAILED_LOST] = "lost"};
    lua_pushnil(L);
    lapi_push_utf8(L, slice_text(ask->error));
    lua_pushstring(L, kinds[ask->failure]);
    if (ask->code[0] != '\0')
        lua_pushstring(L, ask->code);
    else
        lua_pushnil(L);
    return 4;
}

/* ---- the connection ---- */

static void link_end(struct link *link)
{
    if (link->sql != NULL)
        link->sql->driver->close(link->sql);
    link->sql = NULL;
    link->is_busy = false;
    sql_ask_clear(&link->ask);
}

static int link_gc(lua_State *L)
{
    link_end(luaL_checkudata(L, 1, LINK_NAME));
    return 0;
}

static struct link *check_link(lua_State *L)
{
    struct link *link = luaL_checkudata(L, 1, LINK_NAME);
    if (link->sql == NULL)
        luaL_error(L, "sql: the connection is closed");
    if (link->is_busy)
        luaL_error(L, "sql: the transaction is in use by a function that runs at the same time");
    return link;
}

static int run_on(lua_State *L);

static int run_woken(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    script_wait_result(L);
    return run_on(L);
}

/* The link is at 1; what the statement borrows is above it. */
static int run_on(lua_State *L)
{
    struct link *link = lua_touserdata(L, 1);
    if (link->sql == NULL) { /* closed while we waited */
        sql_ask_fail(&link->ask, SQL_FAILED_LOST, NULL, "the connection is closed");
        return push_failure(L, &link->ask);
    }
    int err = link->sql->driver->run(link->sql, &link->ask);
    if (err == -ERR_AGAIN) {
        link->ask.wait.what = link->what;
        return script_wait(L, &link->ask.wait, 0, run_woken);
    }
    link->is_busy = false;
    if (err != 0)
        return push_failure(L, &link->ask);
    if (link->ask.text != NULL)
        return lapi_sql_push_result(L, &link->ask);
    lua_pushboolean(L, true);
    return 1;
}

/* What is known of the ask is set already. A wait that cannot be had raises before anything is
 * done. */
static int begin(lua_State *L, struct link *link, lua_Number seconds, const char *what)
{
    int64_t end_ms = check_end(L, seconds), most_ms = script_time_end(L);
    script_wait_check(L);
    link->ask.deadline_ms = end_ms < most_ms ? end_ms : most_ms;
    snprintf(link->what, sizeof link->what, "%s", what);
    link->is_busy = true;
    return run_on(L);
}

static void renew_ask(struct link *link)
{
    sql_ask_clear(&link->ask);
    sql_ask_init(&link->ask);
}

static int link_connect(lua_State *L)
{
    struct link *link = check_link(L);
    lua_Number seconds = luaL_checknumber(L, 2);
    const char *what = luaL_checkstring(L, 3);
    renew_ask(link);
    return begin(L, link, seconds, what);
}

/* ---- statements ---- */

/* What run's table has, on the stack from 3 on in this order. */
enum { TEXT = 3, VALUES, SECONDS, MAX_ROWS, MAX_BYTES, KEEP, WHAT, VALUES_MEMORY, ANCHORS };
static const char *const keys[] = {
    "text", "values", "seconds", "max_rows", "max_bytes", "keep", "what", NULL};

static size_t check_limit(lua_State *L, int index, lua_Integer most)
{
    lua_Integer limit = luaL_checkinteger(L, index);
    if (limit < 0 || limit > most)
        luaL_error(L, "sql: %s is out of range", keys[index - TEXT]);
    return (size_t)limit;
}

static int link_run(lua_State *L)
{
    struct link *link = check_link(L);
    lapi_check_keys(L, 2, keys);
    lua_settop(L, 2);
    for (size_t i = 0; keys[i] != NULL; i++)
        lua_getfield(L, 2, keys[i]);
    renew_ask(link);
    struct slice text = lapi_check_slice(L, TEXT);
    luaL_checktype(L, VALUES, LUA_TTABLE);
    lua_getfield(L, VALUES, "n");
    lua_Integer n = luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    if (lapi_sql_has_nul(text) || text.len > SQL_TEXT_MAX || n < 0 || n > SQL_PARAMETERS_MAX)
        return luaL_error(L, "sql: a statement over a limit");
    struct sql_value *values =
        lua_newuserdatauv(L, (size_t)(n > 0 ? n : 1) * sizeof *values, 0); /* VALUES_MEMORY */
    lua_createtable(L, (int)n, 0);                                         /* ANCHORS */
    link->ask.text = text.data;
    link->ask.text_bytes = text.len;
    link->ask.values = values;
    link->ask.n_values = (size_t)n;
    link->ask.is_kept = lua_toboolean(L, KEEP);
    link->ask.max_rows = check_limit(L, MAX_ROWS, ROWS_MAX);
    link->ask.max_bytes = check_limit(L, MAX_BYTES, BYTES_MAX);
    const char *why = lapi_sql_take_values(L, VALUES, ANCHORS, values, (size_t)n);
    if (why != NULL) {
        sql_ask_fail(&link->ask, SQL_FAILED_STATEMENT, NULL, why);
        return push_failure(L, &link->ask);
    }
    return begin(L, link, luaL_checknumber(L, SECONDS), luaL_checkstring(L, WHAT));
}

static int link_is_idle(lua_State *L)
{
    struct link *link = luaL_checkudata(L, 1, LINK_NAME);
    lua_pushboolean(L, link->sql != NULL && !link->is_busy &&
                           link->sql->driver->is_alive(link->sql) &&
                           !link->sql->driver->is_in_transaction(link->sql));
    return 1;
}

static int link_is_in_transaction(lua_State *L)
{
    struct link *link = luaL_checkudata(L, 1, LINK_NAME);
    lua_pushboolean(L, link->sql != NULL && link->sql->driver->is_in_transaction(link->sql));
    return 1;
}

/* ---- making ---- */

static struct link *push_link(lua_State *L)
{
    struct link *link = lua_newuserdatauv(L, sizeof *link, 0);
    *link = (struct link){.sql = NULL};
    sql_ask_init(&link->ask);
    luaL_setmetatable(L, LINK_NAME);
    return link;
}

static int give_error(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static const struct sql_library *library(lua_State *L)
{
    char why[300];
    const struct sql_library *pq = sql_library_load(why, sizeof why);
    if (pq == NULL)
        luaL_error(L, "sql: %s", why);
    return pq;
}

/* What libpq says of a text that it cannot read may be a piece of a password: it is not told. */
static int module_conninfo(lua_State *L)
{
    const struct sql_library *pq = library(L);
    char *error = NULL;
    struct slice text = lapi_check_slice(L, 1);
    lua_settop(L, 1);
    lua_newtable(L);
    luaL_checkstack(L, 4, NULL);
    PQconninfoOption *options =
        lapi_sql_has_nul(text) ? NULL : pq->conninfoParse(text.data, &error);
    bool is_good = options != NULL;
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        if (o->val == NULL)
            continue;
        lua_pushstring(L, o->val);
        lua_setfield(L, 2, o->keyword);
    }
    pq->conninfoFree(options);
    pq->freemem(error);
    if (!is_good)
        lua_pushnil(L);
    return 1;
}

/* The password, one line, in place of the name of its file. The file is read for each connection,
 * so that a new password needs no reload. */
static const char *read_password(const char *path, char *out)
{
    size_t len = 0;
    const char *why = secret_file_read(path, out, PASSWORD_MAX, &len);
    if (why != NULL)
        return why;
    while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == '\r'))
        len--;
    out[len] = '\0';
    return strlen(out) == len && len > 0 ? NULL : "is no password";
}

/* The table at 1; how many. */
static size_t take_parameters(lua_State *L, const char **keywords, const char **values)
{
    size_t n = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING || n == KEYWORDS_MAX)
            luaL_error(L, "sql: the parameters of a connection are texts by name");
        keywords[n] = lua_tostring(L, -2);
        values[n++] = lua_tostring(L, -1);
    }
    return n;
}

/* Texts are anchored by the table. */
static int module_postgres(lua_State *L)
{
    const char *keywords[KEYWORDS_MAX + 1] = {NULL}, *values[KEYWORDS_MAX + 1] = {NULL};
    char password[PASSWORD_MAX + 1] = "";
    const struct sql_library *pq = library(L);
    const char *why = NULL;
    size_t n = take_parameters(L, keywords, values);
    struct link *link = push_link(L);
    for (size_t i = 0; i < n && why == NULL; i++) {
        if (strcmp(keywords[i], "password_file") != 0)
            continue;
        why = read_password(values[i], password);
        keywords[i] = "password";
        values[i] = password;
    }
    if (why == NULL)
        link->sql = sql_postgres_new(pq, keywords, values, lua_toboolean(L, 2));
    explicit_bzero(password, sizeof password);
    if (why == NULL)
        return 1;
    lua_pushnil(L);
    lua_pushfstring(L, "password_file: %s", why);
    return 2;
}

/* A file that is written to must be in a folder that filters may write to. */
static int module_sqlite(lua_State *L)
{
    char why[128];
    const char *path = luaL_checkstring(L, 1);
    bool is_read_only = lua_toboolean(L, 2);
    const struct conf *conf = script_of(L)->conf;
    if (!is_read_only && sandbox_files_check_write(conf, path, why, sizeof why) != 0)
        return give_error(L, why);
    struct link *link = push_link(L);
    link->sql = sql_sqlite_new(path, is_read_only, lua_toboolean(L, 3));
    return 1;
}

static int module_refusal(lua_State *L)
{
    const struct script *script = script_of(L);
    const struct conf *conf = script->conf;
    if (!script->does_deeds)
        lua_pushliteral(
            L, "data bases are not asked where no deeds are done (posternctl run --deeds)");
    else if (lua_toboolean(L, 1) && !conf->worker.allow_network &&
             conf->worker.sandbox != SANDBOX_OFF)
        lua_pushliteral(L, "network: the sandbox: worker.allow_network");
    else
        lua_pushnil(L);
    return 1;
}

/* ---- gates ---- */

static int module_gate(lua_State *L)
{
    struct gate *gate = lua_newuserdatauv(L, sizeof *gate, 0);
    *gate = (struct gate){.is_open = false};
    luaL_setmetatable(L, GATE_NAME);
    return 1;
}

static int gate_woken(lua_State *L, int status, lua_KContext context)
{
    const struct gate *gate = lua_touserdata(L, 1);
    (void)status;
    (void)context;
    script_wait_result(L);
    lua_pushboolean(L, gate->is_open);
    return 1;
}

static int gate_wait(lua_State *L)
{
    struct gate *gate = luaL_checkudata(L, 1, GATE_NAME);
    struct script_wait wait = {.fd = -1,
        .until_ms = check_end(L, luaL_checknumber(L, 2)),
        .waker = &gate->waker,
        .what = luaL_checkstring(L, 3)};
    luaL_argcheck(L, gate->waker.task == NULL, 1, "it is waited at once");
    return script_wait(L, &wait, 0, gate_woken);
}

static int gate_wake(lua_State *L)
{
    struct gate *gate = luaL_checkudata(L, 1, GATE_NAME);
    gate->is_open = true;
    script_wake(&gate->waker);
    return 0;
}

/* ---- the module ---- */

static const luaL_Reg no_fields[] = {{NULL, NULL}};
static const luaL_Reg link_methods[] = {
    {"close", link_gc},
    {"connect", link_connect},
    {"is_idle", link_is_idle},
    {"is_in_transaction", link_is_in_transaction},
    {"run", link_run},
    {NULL, NULL},
};
static const luaL_Reg link_metamethods[] = {{"__gc", link_gc}, {NULL, NULL}};
static const struct lapi_class link_class = {.name = LINK_NAME,
    .word = "link",
    .fields = no_fields,
    .methods = link_methods,
    .metamethods = link_metamethods};
static const luaL_Reg gate_methods[] = {
    {"wait", gate_wait},
    {"wake", gate_wake},
    {NULL, NULL},
};
static const struct lapi_class gate_class = {
    .name = GATE_NAME, .word = "gate", .fields = no_fields, .methods = gate_methods};

static const luaL_Reg functions[] = {
    {"conninfo", module_conninfo},
    {"gate", module_gate},
    {"postgres", module_postgres},
    {"refusal", module_refusal},
    {"sqlite", module_sqlite},
    {NULL, NULL},
};

int lapi_sql_open(lua_State *L)
{
    lapi_class_register(L, &link_class);
    lapi_class_register(L, &gate_class);
    luaL_newlib(L, functions);
    return 1;
}
