/*
 * require "postern.internal.smtp": what postern.smtp and msg:split need in C. Not for filters:
 * arguments are checked for their types, no more.
 */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "common/address.h"
#include "common/err.h"
#include "common/text.h"
#include "worker/client.h"
#include "worker/edit.h"
#include "worker/lapi_msg.h"
#include "worker/origin_mark.h"
#include "worker/script_internal.h"
#include "worker/smtp_text.h"
#include "worker/split_mark.h"

#define CONTENT_CLASS "postern.smtp_content"

enum { PIECE_BYTES = 65536, RECEIVED_MAX = 1200, RECEIVED_NAME_MAX = 255 };

/* ---- content: a message outside Lua's heap, since a large one would not fit ---- */

struct content {
    struct buf bytes; /* owned */
};

static struct content *check_content(lua_State *L)
{
    return luaL_checkudata(L, 1, CONTENT_CLASS);
}

static int content_gc(lua_State *L)
{
    buf_clear(&check_content(L)->bytes);
    return 0;
}

/* The message as it would leave. */
static void take_message(lua_State *L, struct content *content)
{
    struct job *job = lapi_msg_check_known(L, "the message", HOOK_MESSAGE);
    struct slice message;
    if (!edit_is_pending(job)) {
        if (job_render(job, &content->bytes) != 0)
            luaL_error(L, "the message is too large");
        return;
    }
    const char *wrong = edit_render(job, &message);
    if (wrong != NULL)
        luaL_error(L, "the message cannot be sent: %s", wrong);
    if (buf_put(&content->bytes, message.data, message.len) != 0)
        luaL_error(L, "the message is too large");
}

/* content(text or msg) */
static int module_content(lua_State *L)
{
    struct content *content = lua_newuserdatauv(L, sizeof(*content), 0);
    buf_init(&content->bytes, (size_t)512 << 20);
    lapi_own(L, CONTENT_CLASS, content_gc);
    if (lua_type(L, 1) == LUA_TSTRING) {
        const struct slice text = lapi_check_slice(L, 1);
        if (buf_put(&content->bytes, text.data, text.len) != 0)
            luaL_error(L, "the message is too large");
    } else {
        take_message(L, content);
    }
    return 1;
}

/* piece(content, at): bytes for the wire, and where the next piece begins; nil at the end */
static int module_piece(lua_State *L)
{
    const struct slice text = buf_slice(&check_content(L)->bytes);
    const lua_Integer from = luaL_checkinteger(L, 2);
    luaL_argcheck(L, from >= 0, 2, "a position expected");
    size_t at = (size_t)from;
    if (at >= text.len) {
        lua_pushnil(L);
        return 1;
    }
    luaL_Buffer out;
    char *to = luaL_buffinitsize(L, &out, PIECE_BYTES);
    luaL_pushresultsize(&out, smtp_text_put(text, &at, to, PIECE_BYTES));
    lua_pushinteger(L, (lua_Integer)at);
    return 2;
}

/* facts(content): its size, whether it is ASCII, what follows it on the wire */
static int module_facts(lua_State *L)
{
    const struct slice text = buf_slice(&check_content(L)->bytes);
    lua_pushinteger(L, (lua_Integer)text.len);
    lua_pushboolean(L, text_is_ascii(text));
    lua_pushstring(L, smtp_text_end(text));
    return 3;
}

/* ---- who sends, and to whom ---- */

/* is_address(text, may_be_empty) */
static int module_is_address(lua_State *L)
{
    lua_pushboolean(L, address_is_valid(lapi_check_slice(L, 1), lua_toboolean(L, 2)));
    return 1;
}

static int module_is_ascii(lua_State *L)
{
    lua_pushboolean(L, text_is_ascii(lapi_check_slice(L, 1)));
    return 1;
}

static int module_host_name(lua_State *L)
{
    struct utsname name;
    lua_pushstring(L, uname(&name) == 0 && name.nodename[0] != '\0' ? name.nodename : "localhost");
    return 1;
}

static int module_does_deeds(lua_State *L)
{
    lua_pushboolean(L, script_does_deeds(L));
    return 1;
}

/* ---- what makes a copy known again ---- */

/* Without deeds no key is made: what is made of it leaves no trace. */
static void get_key(lua_State *L, const struct job *job, uint8_t key[KEYED_HASH_BYTES])
{
    const bool may_make = script_does_deeds(L);
    memset(key, 0, KEYED_HASH_BYTES);
    const int rc = split_mark_key(job->conf, may_make, key);
    if (rc != 0 && (may_make || rc != -ERR_NOTFOUND))
        luaL_error(L, "the key smtp.key in worker.state_dir: %s", err_text(rc));
}

/* identity(msg): a keyed hash of the message as received and its sender */
static int module_identity(lua_State *L)
{
    uint8_t key[KEYED_HASH_BYTES], hash[KEYED_HASH_BYTES];
    struct job *job = lapi_msg_check_known(L, "the message", HOOK_MESSAGE);
    get_key(L, job, key);
    const struct slice pieces[] = {
        slice_text("split"), address_strip(job->envelope.sender), job->message};
    keyed_hash(key, pieces, sizeof(pieces) / sizeof(pieces[0]), hash);
    lua_pushlstring(L, (const char *)hash, sizeof(hash));
    return 1;
}

/* name(identity, text): a name that is made of both */
static int module_name(lua_State *L)
{
    uint8_t hash[KEYED_HASH_BYTES];
    char name[KEYED_HASH_NAME_CHARS + 1];
    const struct slice identity = lapi_check_slice(L, 1), text = lapi_check_slice(L, 2);
    luaL_argcheck(L, identity.len == KEYED_HASH_BYTES, 1, "an identity expected");
    keyed_hash((const uint8_t *)identity.data, &text, 1, hash);
    keyed_hash_name(hash, name);
    lua_pushstring(L, name);
    return 1;
}

/* ---- fields of a copy ---- */

/* mark(msg, is_by_domain) */
static int module_mark(lua_State *L)
{
    uint8_t key[KEYED_HASH_BYTES];
    char value[SPLIT_MARK_MAX];
    struct job *job = lapi_msg_check_known(L, "the message", HOOK_MESSAGE);
    struct split_mark before;
    const bool is_out = split_mark_get(job, &before) ? before.is_out : client_is_trusted(job);
    const struct split_mark mark = {.is_by_domain = lua_toboolean(L, 2), .is_out = is_out};
    get_key(L, job, key);
    split_mark_make(&mark, job_sender(job), key, (int64_t)time(NULL), value);
    lua_pushfstring(L, "%s: %s\r\n", SPLIT_MARK_FIELD, value);
    return 1;
}

/* A name that a client gave, without what would end a comment or a line. */
static void put_name(char out[RECEIVED_NAME_MAX + 1], struct slice name, const char *otherwise)
{
    size_t n = 0;
    for (size_t i = 0; i < name.len && n < RECEIVED_NAME_MAX; i++) {
        const char c = name.data[i];
        out[n++] = c > ' ' && c < 127 && strchr("()<>;\\\"", c) == NULL ? c : '?';
    }
    out[n] = '\0';
    if (n == 0)
        snprintf(out, RECEIVED_NAME_MAX + 1, "%s", otherwise);
}

/*
 * received(msg, host): the field that the mail server will write, which filters do not see: without
 * it the client's address would be lost (RFC 5321 section 4.4).
 */
static int module_received(lua_State *L)
{
    char ip[INET6_ADDRSTRLEN], helo[RECEIVED_NAME_MAX + 1], client[RECEIVED_NAME_MAX + 1];
    char id[RECEIVED_NAME_MAX + 1], text[RECEIVED_MAX], date[64];
    struct job *job = lapi_msg_check_known(L, "the message", HOOK_MESSAGE);
    const char *host = luaL_checkstring(L, 2);
    const time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &utc);
    put_name(helo, job->envelope.helo, "unknown");
    put_name(client, client_hostname(job), "unknown");
    put_name(id, client_macro(job, "i"), "unknown");
    const bool has_ip = client_ip(job, ip);
    snprintf(text, sizeof(text),
        "Received: from %s (%s [%s%s])\r\n\tby %s with SMTP id %s;\r\n\t%s\r\n", helo, client,
        has_ip && strchr(ip, ':') != NULL ? "IPv6:" : "", has_ip ? ip : "unknown", host, id, date);
    lua_pushstring(L, text);
    return 1;
}

/* origin(msg): the field X-Postern-Origin, which tells those behind us who brought the mail; ""
 * when there is no key, no address, or no Message-ID to bind it to */
static int module_origin(lua_State *L)
{
    struct client_origin origin;
    struct job *job = lapi_msg_check_known(L, "the message", HOOK_MESSAGE);
    struct slice id = {NULL, 0};
    const struct plan *plan = job_plan(job);
    for (uint32_t i = 0; i < plan->n_fields && id.len == 0; i++) {
        if (slice_equal_nocase(plan->fields[i].name, slice_text("Message-ID")))
            id = plan->fields[i].value;
    }
    client_origin_get(job, &origin);
    if (job->origin_key == NULL || origin.ip[0] == '\0' || id.len == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    struct origin_mark mark = {.helo = origin.helo, .hostname = origin.hostname};
    memcpy(mark.ip, origin.ip, sizeof(mark.ip));
    const struct slice value =
        origin_mark_make(&mark, id, job->origin_key, (int64_t)time(NULL), job->arena);
    lua_pushfstring(L, "%s: ", ORIGIN_MARK_FIELD);
    lapi_push_slice(L, value);
    lua_pushliteral(L, "\r\n");
    lua_concat(L, 3);
    return 1;
}

static const luaL_Reg functions[] = {
    {"content", module_content},
    {"piece", module_piece},
    {"facts", module_facts},
    {"is_address", module_is_address},
    {"is_ascii", module_is_ascii},
    {"host_name", module_host_name},
    {"does_deeds", module_does_deeds},
    {"identity", module_identity},
    {"name", module_name},
    {"mark", module_mark},
    {"received", module_received},
    {"origin", module_origin},
    {NULL, NULL},
};

int lapi_smtp_open(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
