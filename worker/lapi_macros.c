/*
 * conn.macros, msg.macros, rcpt.macros: look-ups by name, with or without braces, and pairs(). What
 * the MTA did not tell is nil.
 */
#include "worker/lapi_msg.h"

#include "worker/client.h"

/* The box's tag says what it holds. */
enum { MACROS_OF_JOB = 0, MACROS_OF_RECIPIENT };

static const struct lapi_class macros_class;

static int macros_index(lua_State *L)
{
    void *of = lapi_check(L, 1, &macros_class);
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "a macro's name is a text, not a %s", luaL_typename(L, 2));
    const struct slice name = lapi_check_slice(L, 2);
    const struct envelope_recipient *rcpt = lapi_box_tag(L, 1) == MACROS_OF_RECIPIENT ? of : NULL;
    const struct slice value = rcpt != NULL
                                   ? envelope_macro_find(rcpt->macros, rcpt->n_macros, name)
                                   : client_macro_slice(of, name);
    if (value.data == NULL)
        lua_pushnil(L);
    else
        lapi_push_utf8(L, value);
    return 1;
}

static int macros_newindex(lua_State *L)
{
    return luaL_error(L, "macros come from the mail server and cannot be changed");
}

/* [-0, +0, m]: fills the table at the top; a value set already is newer. */
static void add_macros(lua_State *L, const struct envelope_macro *list, uint32_t n)
{
    for (uint32_t i = n; i > 0; i--) {
        lapi_push_utf8(L, envelope_macro_name(list[i - 1].name));
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL) {
            lua_pop(L, 2);
            continue;
        }
        lua_pop(L, 1);
        lapi_push_utf8(L, list[i - 1].value);
        lua_rawset(L, -3);
    }
}

static int snapshot_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (lua_next(L, 1) != 0)
        return 2;
    lua_pushnil(L);
    return 1;
}

static void add_job_macros(lua_State *L, struct job *job)
{
    if (job->request.hook >= HOOK_DATA)
        job_need_recipients(job);
    for (int stage = client_last_stage(job); stage >= 0; stage--) {
        if (stage != STAGE_RCPT || job->request.hook == HOOK_RECIPIENT)
            add_macros(L, job->envelope.macros[stage], job->envelope.n_macros[stage]);
    }
}

/* A snapshot: the names without braces. */
static int macros_pairs(lua_State *L)
{
    void *of = lapi_check(L, 1, &macros_class);
    const bool is_recipient = lapi_box_tag(L, 1) == MACROS_OF_RECIPIENT;
    lua_pushcfunction(L, snapshot_next);
    lua_newtable(L);
    if (is_recipient)
        add_macros(L, ((struct envelope_recipient *)of)->macros,
            ((struct envelope_recipient *)of)->n_macros);
    else
        add_job_macros(L, of);
    lua_pushnil(L);
    return 3;
}

static const luaL_Reg none[] = {{NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__index", macros_index},
    {"__newindex", macros_newindex},
    {"__pairs", macros_pairs},
    {NULL, NULL},
};

static const struct lapi_class macros_class = {
    .name = "postern.macros",
    .word = "macros",
    .fields = none,
    .methods = none,
    .metamethods = metamethods,
};

void lapi_macros_push(lua_State *L, struct job *job)
{
    lapi_box_new(L, &macros_class, job);
}

void lapi_recipient_macros_push(lua_State *L, struct envelope_recipient *recipient)
{
    lapi_box_new(L, &macros_class, recipient);
    lapi_box_set_tag(L, -1, MACROS_OF_RECIPIENT);
}

void lapi_macros_register(lua_State *L)
{
    lapi_class_register(L, &macros_class);
}
