/*
 * Verdicts: accept(), continue(), reject(…), tempfail(…), discard(…). Each makes a value that knows
 * where it was made, and is good for nothing but to be returned by a hook. A value made at the top
 * level may be returned by any hook later.
 */
#include <math.h>
#include <stdio.h>

#include "common/text.h"
#include "common/xalloc.h"
#include "worker/script_internal.h"

static const char verdict_key; /* its address: the metatable in the registry */

enum { WHERE_MAX = 256 };

struct value {
    enum verdict verdict;
    uint16_t code;
    char dsn[REPLY_DSN_MAX + 1];
    uint32_t delay_ms;
    bool whole_message;
    char where[WHERE_MAX];
    size_t text_len;
    char text[]; /* checked; text_len bytes and a NUL */
};

/* ---- making ---- */

static struct value *check_self(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) {
        return NULL;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &verdict_key);
    bool is_same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is_same ? lua_touserdata(L, index) : NULL;
}

static void note_pending(lua_State *L, const struct value *value)
{
    struct script *script = script_of(L);
    if (lapi_is_in_finaliser(L)) { /* which is nothing that this hook does */
        return;
    }
    script->verdict_name = verdict_name(value->verdict);
    snprintf(script->verdict_where, sizeof script->verdict_where, "%s", value->where);
}

static struct value *push_value(lua_State *L, enum verdict verdict, struct slice text)
{
    struct value *value = lua_newuserdatauv(L, sizeof *value + text.len + 1, 0);
    memset(value, 0, sizeof *value);
    value->verdict = verdict;
    value->text_len = text.len;
    if (text.len > 0) {
        memcpy(value->text, text.data, text.len);
    }
    value->text[text.len] = '\0';
    (void)script_place(L, 1, script_of(L)->task, value->where, sizeof value->where);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &verdict_key);
    lua_setmetatable(L, -2);
    return value;
}

/* ---- reject and tempfail ---- */

static const char *const reply_keys[] = {"text", "code", "dsn", "delay", NULL};

/* The option's value is on top, popped. */
static uint16_t take_code(lua_State *L, enum verdict verdict)
{
    int is_integer = 0;
    lua_Integer code = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer || code < 100 || code > 999) {
        luaL_error(L, "%s: code must be a number of three digits", verdict_name(verdict));
    }
    lua_pop(L, 1);
    return (uint16_t)code;
}

static uint32_t take_delay(lua_State *L, enum verdict verdict)
{
    int is_number = 0;
    lua_Number secs = lua_tonumberx(L, -1, &is_number);
    if (!is_number || isnan(secs) || secs < 0) {
        luaL_error(L, "%s: delay must be a number of seconds, 0 or more", verdict_name(verdict));
    }
    lua_pop(L, 1);
    lua_Number most_ms = (lua_Number)script_conf(L)->worker.max_delay;
    return (uint32_t)(secs * 1000 < most_ms ? secs * 1000 : most_ms);
}

/* Pushes field name of the table at 1; true when it is there, else nothing is pushed. */
static bool push_option(lua_State *L, const char *name)
{
    if (lua_getfield(L, 1, name) != LUA_TNIL) {
        return true;
    }
    lua_pop(L, 1);
    return false;
}

static void take_dsn(lua_State *L, enum verdict verdict, struct smtp_reply *reply)
{
    size_t len = 0;
    const char *dsn = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    if (dsn == NULL || len > REPLY_DSN_MAX || strlen(dsn) != len) {
        luaL_error(L, "%s: dsn must be a text such as \"%s\"", verdict_name(verdict),
            verdict == VERDICT_REJECT ? "5.7.1" : "4.7.1");
    }
    memcpy(reply->dsn, dsn, len + 1);
    lua_pop(L, 1);
}

/*
 * The code and dsn that were not given follow the one that was: code 421 keeps 4.7.1, and dsn 5.2.2
 * keeps 550. The text stays on the stack, and with it valid.
 */
static uint32_t read_options(lua_State *L, enum verdict verdict, struct smtp_reply *reply)
{
    uint32_t delay_ms = 0;
    lapi_check_keys(L, 1, reply_keys);
    if (push_option(L, "code")) {
        reply->code = take_code(L, verdict);
    }
    if (push_option(L, "dsn")) {
        take_dsn(L, verdict, reply);
    }
    if (push_option(L, "delay")) {
        delay_ms = take_delay(L, verdict);
    }
    if (push_option(L, "text")) {
        if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER) {
            luaL_error(L, "%s: text must be a string, got %s", verdict_name(verdict),
                luaL_typename(L, -1));
        }
        reply->text = lapi_check_slice(L, -1);
    }
    return delay_ms;
}

static int make_refusal(lua_State *L, enum verdict verdict)
{
    struct smtp_reply reply = smtp_reply_default(verdict);
    uint32_t delay_ms = 0;
    char text[REPLY_TEXT_MAX];
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TTABLE) {
        delay_ms = read_options(L, verdict, &reply);
    } else if (!lua_isnil(L, 1)) {
        luaL_argexpected(L, lua_isstring(L, 1), 1, "text or table");
        reply.text = lapi_check_slice(L, 1);
    }
    reply.text = smtp_text_clean(reply.text, text);
    const char *why = smtp_reply_check(verdict, &reply);
    if (why != NULL) {
        return luaL_error(L, "%s: %s", verdict_name(verdict), why);
    }
    struct value *value = push_value(L, verdict, reply.text);
    value->code = reply.code;
    value->delay_ms = delay_ms;
    snprintf(value->dsn, sizeof value->dsn, "%s", reply.dsn);
    note_pending(L, value);
    return 1;
}

static int make_reject(lua_State *L)
{
    return make_refusal(L, VERDICT_REJECT);
}

static int make_tempfail(lua_State *L)
{
    return make_refusal(L, VERDICT_TEMPFAIL);
}

/* ---- the others ---- */

static int make_plain(lua_State *L, enum verdict verdict)
{
    if (!lua_isnoneornil(L, 1)) {
        return luaL_error(L, "%s() takes no argument", verdict_name(verdict));
    }
    note_pending(L, push_value(L, verdict, slice_of(NULL, 0)));
    return 1;
}

static int make_accept(lua_State *L)
{
    return make_plain(L, VERDICT_ACCEPT);
}

static int make_continue(lua_State *L)
{
    return make_plain(L, VERDICT_CONTINUE);
}

static int make_discard(lua_State *L)
{
    static const char *const keys[] = {"whole_message", NULL};
    bool whole_message = false;
    if (!lua_isnoneornil(L, 1)) {
        lapi_check_keys(L, 1, keys);
        lua_getfield(L, 1, "whole_message");
        whole_message = lua_toboolean(L, -1);
    }
    struct value *value = push_value(L, VERDICT_DISCARD, slice_of(NULL, 0));
    value->whole_message = whole_message;
    note_pending(L, value);
    return 1;
}

/* ---- the value ---- */

static int value_tostring(lua_State *L)
{
    const struct value *value = check_self(L, 1);
    if (value == NULL) {
        return luaL_typeerror(L, 1, "verdict");
    }
    lua_pushfstring(L, "verdict %s made at %s", verdict_name(value->verdict), value->where);
    return 1;
}

static int value_index(lua_State *L)
{
    return luaL_error(L, "a verdict has no fields; a hook returns it");
}

static const luaL_Reg constructors[] = {
    {"accept", make_accept},
    {"continue", make_continue},
    {"reject", make_reject},
    {"tempfail", make_tempfail},
    {"discard", make_discard},
    {NULL, NULL},
};
static const luaL_Reg value_metamethods[] = {
    {"__tostring", value_tostring},
    {"__index", value_index},
    {"__newindex", value_index},
    {NULL, NULL},
};

void lapi_verdict_register(lua_State *L)
{
    lua_newtable(L);
    luaL_setfuncs(L, value_metamethods, 0);
    lua_pushliteral(L, "verdict");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &verdict_key);
    lua_pushglobaltable(L);
    luaL_setfuncs(L, constructors, 0);
    lua_pop(L, 1);
}

/* ---- for the gate ---- */

static const char *why_no_verdict(
    lua_State *L, int index, const struct hook_info *hook, struct job *job)
{
    const char *place = script_hook_place(L, job->arena);
    for (const luaL_Reg *c = constructors; lua_iscfunction(L, index) && c->name != NULL; c++) {
        if (lua_tocfunction(L, index) == c->func) {
            return arena_printf(job->arena,
                "%s: %s returned the function %s; call it: `return %s()`", place, hook->name,
                c->name, c->name);
        }
    }
    return arena_printf(job->arena,
        "%s: %s returned a %s; it returns a verdict (accept, continue, reject, tempfail, discard) "
        "or nothing",
        place, hook->name, luaL_typename(L, index));
}

static const char *why_not_allowed(
    const struct value *value, const struct hook_info *hook, struct job *job)
{
    const char *hint = value->verdict == VERDICT_DISCARD && hook->subject == SUBJECT_RECIPIENT
                           ? "; use msg:delete_recipient(rcpt), or discard{ whole_message = true }"
                           : "";
    return arena_printf(job->arena, "%s: %s is not allowed in %s%s", value->where,
        verdict_name(value->verdict), hook->name, hint);
}

const char *lapi_verdict_take(lua_State *L, int index, const struct hook_info *hook,
    struct job *job, struct lapi_verdict *out)
{
    *out = (struct lapi_verdict){.verdict = VERDICT_CONTINUE};
    if (lua_isnoneornil(L, index)) {
        return NULL;
    }
    const struct value *value = check_self(L, index);
    if (value == NULL) {
        return why_no_verdict(L, index, hook, job);
    }
    if (value->verdict != VERDICT_CONTINUE &&
        !verdict_is_allowed(value->verdict, hook->subject, value->whole_message)) {
        return why_not_allowed(value, hook, job);
    }
    out->verdict = value->verdict;
    out->reply.code = value->code;
    snprintf(out->reply.dsn, sizeof out->reply.dsn, "%s", value->dsn);
    out->reply.text =
        slice_of(arena_memdup0(job->arena, value->text, value->text_len), value->text_len);
    out->delay_ms = value->delay_ms;
    out->whole_message = value->whole_message;
    snprintf(out->where, sizeof out->where, "%s", value->where);
    return NULL;
}

const char *lapi_verdict_unreturned(lua_State *L, const char **name_out)
{
    struct script *script = script_of(L);
    if (script->verdict_name == NULL) {
        return NULL;
    }
    *name_out = script->verdict_name;
    return script->verdict_where;
}

void lapi_verdict_reset(lua_State *L)
{
    script_of(L)->verdict_name = NULL;
}
