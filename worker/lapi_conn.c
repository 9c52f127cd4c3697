/* conn: facts about the client and the connection. Texts are "" and numbers nil where the MTA told
 * nothing, unless the contract says nil. */
#include "worker/lapi_msg.h"

#include <string.h>

#include "common/network.h"
#include "common/text.h"
#include "worker/client.h"

static const struct lapi_class conn_class;

static struct job *check_conn(lua_State *L)
{
    return lapi_check(L, 1, &conn_class);
}

static int conn_id(lua_State *L)
{
    lapi_push_utf8(L, check_conn(L)->request.conn_id);
    return 1;
}

static int conn_ip(lua_State *L)
{
    char ip[INET6_ADDRSTRLEN];
    if (client_ip(check_conn(L), ip))
        lua_pushstring(L, ip);
    else
        lua_pushnil(L);
    return 1;
}

static int conn_port(lua_State *L)
{
    struct job *job = check_conn(L);
    if (job->envelope.ip.len > 0)
        lua_pushinteger(L, job->envelope.port);
    else
        lua_pushnil(L);
    return 1;
}

static int conn_hostname(lua_State *L)
{
    lapi_push_utf8(L, client_hostname(check_conn(L)));
    return 1;
}

static int conn_ptr(lua_State *L)
{
    const struct slice ptr = client_macro(check_conn(L), "client_ptr");
    const bool is_name =
        ptr.len > 0 && ptr.data[0] != '[' && !slice_equal_nocase(ptr, slice_text("unknown"));
    lapi_push_utf8(L, is_name ? ptr : slice_of(NULL, 0));
    return 1;
}

static int conn_rdns(lua_State *L)
{
    lua_pushstring(L, client_rdns(check_conn(L)));
    return 1;
}

static int conn_helo(lua_State *L)
{
    struct job *job = check_conn(L);
    if (!job_knows(job, HOOK_HELO))
        return lapi_raise_too_early(L, "conn.helo", HOOK_HELO);
    lapi_push_utf8(L, job->envelope.helo);
    return 1;
}

/* sendmail: {if_addr} is where the client came to, {daemon_addr} what the daemon listens on.
 * Postfix has the latter only, and means the former. */
static int conn_local_ip(lua_State *L)
{
    static const char *const names[] = {"if_addr", "daemon_addr"};
    struct job *job = check_conn(L);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct slice told = client_macro(job, names[i]);
        char text[64], ip[INET6_ADDRSTRLEN];
        if (told.len == 0 || told.len >= sizeof(text))
            continue;
        memcpy(text, told.data, told.len);
        text[told.len] = '\0';
        if (network_ip_canonical(text, ip) == 0) {
            lua_pushstring(L, ip);
            return 1;
        }
    }
    lua_pushliteral(L, "");
    return 1;
}

/* A small number in a macro; -1 when it is none. */
static int64_t macro_number(struct job *job, const char *name, int64_t max)
{
    const struct slice told = client_macro(job, name);
    char text[16];
    int64_t number;
    if (told.len == 0 || told.len >= sizeof(text))
        return -1;
    memcpy(text, told.data, told.len);
    text[told.len] = '\0';
    return text_to_i64(text, 0, max, &number) == 0 ? number : -1;
}

static int conn_local_port(lua_State *L)
{
    const int64_t port = macro_number(check_conn(L), "daemon_port", 65535);
    if (port > 0)
        lua_pushinteger(L, port);
    else
        lua_pushnil(L);
    return 1;
}

static int conn_daemon(lua_State *L)
{
    lapi_push_utf8(L, client_macro(check_conn(L), "daemon_name"));
    return 1;
}

static int conn_mta(lua_State *L)
{
    lua_pushstring(L, client_mta(check_conn(L)));
    return 1;
}

struct macro_key {
    const char *key;
    const char *macro;
};

/* [-0, +1, m]: a table of texts. */
static void push_macro_table(lua_State *L, struct job *job, const struct macro_key *keys, size_t n)
{
    lua_createtable(L, 0, (int)n + 1);
    for (size_t i = 0; i < n; i++) {
        lapi_push_utf8(L, client_macro(job, keys[i].macro));
        lua_setfield(L, -2, keys[i].key);
    }
}

static int conn_tls(lua_State *L)
{
    static const struct macro_key keys[] = {
        {"version", "tls_version"},
        {"cipher", "cipher"},
        {"verify", "verify"},
        {"subject", "cert_subject"},
        {"issuer", "cert_issuer"},
    };
    struct job *job = check_conn(L);
    if (client_macro(job, "tls_version").len == 0) {
        lua_pushnil(L);
        return 1;
    }
    push_macro_table(L, job, keys, sizeof(keys) / sizeof(keys[0]));
    const int64_t bits = macro_number(job, "cipher_bits", 100000);
    lua_pushinteger(L, bits < 0 ? 0 : bits);
    lua_setfield(L, -2, "bits");
    return 1;
}

static int conn_auth(lua_State *L)
{
    static const struct macro_key keys[] = {
        {"user", "auth_authen"},
        {"mech", "auth_type"},
        {"author", "auth_author"},
    };
    struct job *job = check_conn(L);
    if (client_macro(job, "auth_authen").len == 0)
        lua_pushnil(L);
    else
        push_macro_table(L, job, keys, sizeof(keys) / sizeof(keys[0]));
    return 1;
}

static int conn_macros(lua_State *L)
{
    lapi_macros_push(L, check_conn(L));
    return 1;
}

static int conn_is_local(lua_State *L)
{
    lua_pushboolean(L, client_is_local(check_conn(L)));
    return 1;
}

static int conn_is_trusted(lua_State *L)
{
    lua_pushboolean(L, client_is_trusted(check_conn(L)));
    return 1;
}

static int conn_origin(lua_State *L)
{
    struct job *job = check_conn(L);
    struct client_origin origin;
    if (client_is_relay(job) && !job_knows(job, HOOK_HEADERS))
        return lapi_raise_too_early(L, "conn.origin", HOOK_HEADERS);
    client_origin_get(job, &origin);
    lua_createtable(L, 0, 3);
    if (origin.ip[0] != '\0') {
        lua_pushstring(L, origin.ip);
        lua_setfield(L, -2, "ip");
    }
    lapi_push_utf8(L, origin.helo);
    lua_setfield(L, -2, "helo");
    lapi_push_utf8(L, origin.hostname);
    lua_setfield(L, -2, "hostname");
    return 1;
}

static int conn_state(lua_State *L)
{
    check_conn(L);
    lapi_state_push(L, LAPI_STATE_CONN);
    return 1;
}

static void check_network(lua_State *L, int index, struct network *out)
{
    const struct slice text = lapi_check_slice(L, index);
    if (strlen(text.data) != text.len || network_from_text(text.data, out) != 0)
        luaL_argerror(L, index, "an address or network such as \"192.0.2.0/24\" expected");
}

/* All arguments are looked at, so that a wrong one is found whatever the client. None (an empty
 * list unpacked) is false. */
static int conn_in_network(lua_State *L)
{
    struct job *job = check_conn(L);
    const int n = lua_gettop(L);
    char ip[INET6_ADDRSTRLEN];
    const bool has_ip = client_ip(job, ip);
    bool found = false;
    for (int i = 2; i <= n; i++) {
        struct network network;
        check_network(L, i, &network);
        found |= has_ip && network_has(&network, ip);
    }
    lua_pushboolean(L, found);
    return 1;
}

static const luaL_Reg fields[] = {
    {"id", conn_id},
    {"ip", conn_ip},
    {"port", conn_port},
    {"hostname", conn_hostname},
    {"ptr", conn_ptr},
    {"rdns", conn_rdns},
    {"helo", conn_helo},
    {"local_ip", conn_local_ip},
    {"local_port", conn_local_port},
    {"daemon", conn_daemon},
    {"mta", conn_mta},
    {"tls", conn_tls},
    {"auth", conn_auth},
    {"macros", conn_macros},
    {"is_local", conn_is_local},
    {"is_trusted", conn_is_trusted},
    {"origin", conn_origin},
    {"state", conn_state},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {{"in_network", conn_in_network}, {NULL, NULL}};

static const struct lapi_class conn_class = {
    .name = "postern.conn",
    .word = "conn",
    .fields = fields,
    .methods = methods,
};

void lapi_conn_register(lua_State *L)
{
    lapi_macros_register(L);
    lapi_class_register(L, &conn_class);
}

void lapi_push_conn(lua_State *L, struct job *job)
{
    lapi_box_new(L, &conn_class, job);
}
