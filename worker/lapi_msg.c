/* msg: its class, and the fields that are facts of the transaction. Methods are in the files that
 * lapi_msg.h names. */
#include "worker/lapi_msg.h"

#include <string.h>

#include "common/address.h"
#include "worker/client.h"
#include "worker/lapi_part_edit.h"
#include "worker/split_mark.h"

static const struct lapi_class msg_class;

struct job *lapi_msg_check(lua_State *L)
{
    return lapi_check(L, 1, &msg_class);
}

struct job *lapi_msg_test(lua_State *L, int index)
{
    return luaL_testudata(L, index, msg_class.name) != NULL ? lapi_check(L, index, &msg_class)
                                                            : NULL;
}

struct job *lapi_msg_check_known(lua_State *L, const char *what, enum hook first)
{
    struct job *job = lapi_msg_check(L);
    if (!job_knows(job, first))
        lapi_raise_too_early(L, what, first);
    return job;
}

struct job *lapi_msg_check_change(lua_State *L, const char *method)
{
    struct job *job = lapi_msg_check(L);
    const struct hook_info *hook = hook_info(job->request.hook);
    if ((hook->flags & HOOK_CHANGES) == 0)
        luaL_error(L, "msg:%s cannot be called in %s: the message is gone", method, hook->name);
    return job;
}

void lapi_msg_add(lua_State *L, struct job *job, const char *method, const struct action *action)
{
    const char *wrong = job_add_action(job, action);
    if (wrong != NULL)
        luaL_error(L, "msg:%s: %s", method, wrong);
}

static int msg_conn(lua_State *L)
{
    lapi_push_conn(L, lapi_msg_check(L));
    return 1;
}

static int msg_uid(lua_State *L)
{
    lapi_push_utf8(L, lapi_msg_check(L)->request.uid);
    return 1;
}

/* nil with Postfix before filter_data. */
static int msg_id(lua_State *L)
{
    const struct slice id = client_macro(lapi_msg_check(L), "i");
    if (id.len > 0)
        lapi_push_utf8(L, id);
    else
        lua_pushnil(L);
    return 1;
}

static int msg_attempt(lua_State *L)
{
    lua_pushinteger(L, lapi_msg_check(L)->request.attempt);
    return 1;
}

static int msg_sender(lua_State *L)
{
    lapi_push_utf8(L, job_sender(lapi_msg_check(L)));
    return 1;
}

static int msg_sender_domain(lua_State *L)
{
    lapi_domain_push(L, job_sender(lapi_msg_check(L)));
    return 1;
}

static int msg_sender_local(lua_State *L)
{
    lapi_push_utf8(L, address_local(job_sender(lapi_msg_check(L))));
    return 1;
}

static int msg_sender_args(lua_State *L)
{
    lapi_args_push(L, job_sender_args(lapi_msg_check(L)));
    return 1;
}

/* A copy that msg:split has made comes from this machine: it goes where the mail did. */
static int msg_direction(lua_State *L)
{
    struct split_mark mark;
    struct job *job = lapi_msg_check(L);
    bool is_out = client_is_trusted(job);
    if (is_out && job_knows(job, HOOK_HEADERS) && split_mark_get(job, &mark))
        is_out = mark.is_out;
    lua_pushstring(L, is_out ? "out" : "in");
    return 1;
}

static int msg_macros(lua_State *L)
{
    lapi_macros_push(L, lapi_msg_check(L));
    return 1;
}

static int msg_state(lua_State *L)
{
    lapi_msg_check(L);
    lapi_state_push(L, LAPI_STATE_MSG);
    return 1;
}

static int msg_size(lua_State *L)
{
    const struct job *job = lapi_msg_check_known(L, "msg.size", HOOK_MESSAGE);
    lua_pushinteger(L, (lua_Integer)job->message.len);
    return 1;
}

static int msg_subject(lua_State *L)
{
    struct job *job = lapi_msg_check_known(L, "msg.subject", HOOK_HEADERS);
    lapi_push_utf8(L, lapi_msg_header_text(job, "Subject"));
    return 1;
}

static int msg_message_id(lua_State *L)
{
    struct job *job = lapi_msg_check_known(L, "msg.message_id", HOOK_HEADERS);
    lapi_push_utf8(L, lapi_msg_header_text(job, "Message-ID"));
    return 1;
}

static const luaL_Reg fields[] = {
    {"conn", msg_conn},
    {"uid", msg_uid},
    {"id", msg_id},
    {"attempt", msg_attempt},
    {"sender", msg_sender},
    {"sender_domain", msg_sender_domain},
    {"sender_local", msg_sender_local},
    {"sender_args", msg_sender_args},
    {"direction", msg_direction},
    {"is_split", lapi_msg_is_split},
    {"recipients", lapi_msg_recipients},
    {"macros", msg_macros},
    {"state", msg_state},
    {"size", msg_size},
    {"subject", msg_subject},
    {"message_id", msg_message_id},
    {"root", lapi_msg_root},
    {"defects", lapi_msg_defects},
    {"ambiguous", lapi_msg_ambiguous},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"header", lapi_msg_header},
    {"headers", lapi_msg_headers},
    {"raw_header", lapi_msg_raw_header},
    {"each_header", lapi_msg_each_header},
    {"add_header", lapi_msg_add_header},
    {"insert_header", lapi_msg_insert_header},
    {"set_header", lapi_msg_set_header},
    {"delete_header", lapi_msg_delete_header},
    {"set_sender", lapi_msg_set_sender},
    {"add_recipient", lapi_msg_add_recipient},
    {"delete_recipient", lapi_msg_delete_recipient},
    {"hold", lapi_msg_hold},
    {"mark_origin", lapi_msg_mark_origin},
    {"split", lapi_msg_split},
    {"replace_body", lapi_msg_replace_body},
    {"append_text", lapi_msg_append_text},
    {"add_part", lapi_msg_add_part},
    {"replace_message", lapi_msg_replace_message},
    {"append_html", lapi_msg_append_html},
    {"log", lapi_msg_log},
    {"trap", lapi_msg_trap},
    {"notify_admin", lapi_msg_notify_admin},
    {"notify_sender", lapi_msg_notify_sender},
    {"raw", lapi_msg_raw},
    {"raw_headers", lapi_msg_raw_headers},
    {"raw_body", lapi_msg_raw_body},
    {"to_eml", lapi_msg_to_eml},
    {"text", lapi_msg_text},
    {"parts", lapi_msg_parts},
    {"walk", lapi_msg_walk},
    {"urls", lapi_msg_urls},
    {"charsets", lapi_msg_charsets},
    {NULL, NULL},
};

static const struct lapi_class msg_class = {
    .name = "postern.msg",
    .word = "msg",
    .fields = fields,
    .methods = methods,
};

void lapi_msg_register(lua_State *L)
{
    lapi_class_register(L, &msg_class);
}

void lapi_push_msg(lua_State *L, struct job *job)
{
    lapi_box_new(L, &msg_class, job);
}
