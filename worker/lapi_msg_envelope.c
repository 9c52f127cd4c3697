/* Sender and recipients of a message: reads and changes. */
#include "worker/lapi_msg.h"

#include <string.h>

#include "common/address.h"

/* A new list at each read: keep it in a local when looping. */
int lapi_msg_recipients(lua_State *L)
{
    struct job *job = lapi_msg_check_known(L, "msg.recipients", HOOK_RECIPIENT);
    const struct job_recipient *list;
    uint32_t n;
    if (job_recipients(job, &list, &n) != 0)
        return luaL_error(L, "the envelope of this message cannot be read");
    lua_createtable(L, (int)n, 0);
    for (uint32_t i = 0; i < n; i++) {
        lapi_rcpt_push(L, &list[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static struct slice check_address(lua_State *L, int index, bool may_be_empty)
{
    const struct slice address = address_strip(lapi_check_slice(L, index));
    if (!address_is_valid(address, may_be_empty))
        luaL_argerror(L, index, "no valid mail address");
    return address;
}

int lapi_msg_set_sender(lua_State *L)
{
    struct job *job = lapi_msg_check_change(L, "set_sender");
    struct action action = {.kind = ACTION_SET_SENDER, .address = check_address(L, 2, true)};
    action.args = lapi_args_check(L, 3, job);
    lapi_msg_add(L, job, "set_sender", &action);
    return 0;
}

int lapi_msg_add_recipient(lua_State *L)
{
    struct job *job = lapi_msg_check_change(L, "add_recipient");
    struct action action = {.kind = ACTION_ADD_RECIPIENT, .address = check_address(L, 2, false)};
    action.args = lapi_args_check(L, 3, job);
    lapi_msg_add(L, job, "add_recipient", &action);
    return 0;
}

/* True, or false when the message has no such recipient. */
int lapi_msg_delete_recipient(lua_State *L)
{
    struct job *job = lapi_msg_check_change(L, "delete_recipient");
    const struct job_recipient *rcpt = lapi_rcpt_test(L, 2);
    struct action action = {.kind = ACTION_DELETE_RECIPIENT};
    if (rcpt != NULL) {
        action.address = rcpt->address;
    } else if (lua_type(L, 2) != LUA_TSTRING) {
        return luaL_typeerror(L, 2, "rcpt or address");
    } else if (!job_find_recipient(job, address_strip(lapi_check_slice(L, 2)), &action.address)) {
        lua_pushboolean(L, false);
        return 1;
    }
    lapi_msg_add(L, job, "delete_recipient", &action);
    lua_pushboolean(L, true);
    return 1;
}
