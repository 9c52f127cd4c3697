/*
 * rcpt: one recipient, received or added. `domain` is in lower case, since filters compare it; the
 * rest is as the client spelled it.
 */
#include "worker/lapi_msg.h"

#include <string.h>

#include "common/address.h"

static const struct lapi_class rcpt_class;

static struct job_recipient *check_rcpt(lua_State *L)
{
    return lapi_check(L, 1, &rcpt_class);
}

struct job_recipient *lapi_rcpt_test(lua_State *L, int index)
{
    if (luaL_testudata(L, index, rcpt_class.name) == NULL)
        return NULL;
    return lapi_check(L, index, &rcpt_class);
}

static int rcpt_address(lua_State *L)
{
    lapi_push_utf8(L, check_rcpt(L)->address);
    return 1;
}

static int rcpt_domain(lua_State *L)
{
    lapi_domain_push(L, check_rcpt(L)->address);
    return 1;
}

static int rcpt_localpart(lua_State *L)
{
    lapi_push_utf8(L, address_local(check_rcpt(L)->address));
    return 1;
}

static int rcpt_args(lua_State *L)
{
    lapi_args_push(L, check_rcpt(L)->args);
    return 1;
}

static int push_macro(lua_State *L, const char *name)
{
    const struct job_recipient *rcpt = check_rcpt(L);
    for (uint32_t i = rcpt->received != NULL ? rcpt->received->n_macros : 0; i > 0; i--) {
        const struct envelope_macro *macro = &rcpt->received->macros[i - 1];
        if (slice_equal(macro->name, slice_text(name))) {
            lapi_push_utf8(L, macro->value);
            return 1;
        }
    }
    lua_pushliteral(L, "");
    return 1;
}

static int rcpt_mailer(lua_State *L)
{
    return push_macro(L, "{rcpt_mailer}");
}

static int rcpt_host(lua_State *L)
{
    return push_macro(L, "{rcpt_host}");
}

static int rcpt_user(lua_State *L)
{
    return push_macro(L, "{rcpt_addr}");
}

static int rcpt_macros(lua_State *L)
{
    const struct job_recipient *rcpt = check_rcpt(L);
    static struct envelope_recipient told_nothing; /* of one that we added */
    lapi_recipient_macros_push(L, rcpt->received != NULL ? rcpt->received : &told_nothing);
    return 1;
}

/* All patterns are looked at, so that a wrong one is found whatever the address. */
static int rcpt_matches(lua_State *L)
{
    const struct job_recipient *rcpt = check_rcpt(L);
    bool found = false;
    if (lua_type(L, 2) == LUA_TSTRING) {
        lua_pushboolean(L, address_matches(rcpt->address, lapi_check_slice(L, 2)));
        return 1;
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    const lua_Integer n = luaL_len(L, 2);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_geti(L, 2, i) != LUA_TSTRING)
            luaL_argerror(L, 2, "patterns are texts such as \"@example.org\" or \"boss@\"");
        found |= address_matches(rcpt->address, lapi_check_slice(L, -1));
        lua_pop(L, 1);
    }
    lua_pushboolean(L, found);
    return 1;
}

/* The same recipient of the envelope, or the same address added. */
static int rcpt_eq(lua_State *L)
{
    const struct job_recipient *a = lapi_rcpt_test(L, 1);
    const struct job_recipient *b = lapi_rcpt_test(L, 2);
    bool is_same = a != NULL && b != NULL && (a->received != NULL) == (b->received != NULL);
    if (is_same)
        is_same =
            a->received != NULL ? a->number == b->number : slice_equal(a->address, b->address);
    lua_pushboolean(L, is_same);
    return 1;
}

static const luaL_Reg fields[] = {
    {"address", rcpt_address},
    {"domain", rcpt_domain},
    {"localpart", rcpt_localpart},
    {"args", rcpt_args},
    {"mailer", rcpt_mailer},
    {"host", rcpt_host},
    {"user", rcpt_user},
    {"macros", rcpt_macros},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {{"matches", rcpt_matches}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__tostring", rcpt_address}, {"__eq", rcpt_eq}, {NULL, NULL}};

static const struct lapi_class rcpt_class = {
    .name = "postern.rcpt",
    .word = "rcpt",
    .fields = fields,
    .methods = methods,
    .metamethods = metamethods,
};

void lapi_rcpt_register(lua_State *L)
{
    lapi_class_register(L, &rcpt_class);
}

void lapi_rcpt_push(lua_State *L, const struct job_recipient *recipient)
{
    lapi_box_copy(L, &rcpt_class, recipient, sizeof(*recipient));
}

void lapi_push_rcpt(lua_State *L, struct job *job, uint32_t number)
{
    struct job_recipient recipient;
    if (!job_recipient_at(job, number, &recipient))
        luaL_error(L, "the envelope has no recipient %d", (int)number);
    lapi_rcpt_push(L, &recipient);
}
