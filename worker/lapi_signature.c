/*
 * require "postern.internal.signature": what the modules dkim, arc and dnsbl need in C: fields and
 * body of a message in canonical form, hashes, keys, signatures. Not for filters: arguments are
 * checked for their types, no more.
 */
#include <string.h>

#include "worker/lapi_msg.h"
#include "worker/openssl_library.h"
#include "worker/script_internal.h"
#include "worker/signing.h"

#define KEY_CLASS "postern.key"

static const char *const canon_names[] = {"simple", "relaxed", NULL};
static const char *const kind_names[] = {"rsa", "ed25519", NULL};

/* ---- the message ---- */

static void push_field(lua_State *L, const struct plan_field *field)
{
    if (field->received != NULL) {
        lapi_push_slice(L, field->received->raw);
        return;
    }
    luaL_Buffer raw;
    luaL_buffinitsize(L, &raw, field->name.len + field->value.len + 4);
    luaL_addlstring(&raw, field->name.data, field->name.len);
    luaL_addstring(&raw, ": ");
    luaL_addlstring(&raw, field->value.data, field->value.len);
    luaL_addstring(&raw, "\r\n");
    luaL_pushresult(&raw);
}

/* The name is on top. */
static void lower_name(lua_State *L)
{
    size_t len;
    const char *name = lua_tolstring(L, -1, &len);
    luaL_Buffer lower;
    char *to = luaL_buffinitsize(L, &lower, len);
    for (size_t i = 0; i < len; i++)
        to[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    luaL_pushresultsize(&lower, len);
    lua_remove(L, -2);
}

static void set_field(lua_State *L, lua_Integer n, struct slice name)
{
    lua_rawseti(L, -2, n); /* the field is on top of the list of fields */
    lapi_push_slice(L, name);
    lower_name(L);
    lua_rawseti(L, -3, n);
}

/* fields(msg, leaving): names in lower case, and the fields as bytes, from the top down: as
 * received or as they would leave. */
static int module_fields(lua_State *L)
{
    struct job *job = lapi_msg_check_known(L, "the header", HOOK_HEADERS);
    lua_settop(L, 2);
    lua_newtable(L);
    lua_newtable(L);
    if (lua_toboolean(L, 2)) {
        const struct plan *plan = job_plan(job);
        for (uint32_t i = 0; i < plan->n_fields; i++) {
            push_field(L, &plan->fields[i]);
            set_field(L, (lua_Integer)i + 1, plan->fields[i].name);
        }
        return 2;
    }
    const struct header_list *headers = job_headers(job);
    for (uint32_t i = 0; i < headers->n; i++) {
        lapi_push_slice(L, headers->items[i].raw);
        set_field(L, (lua_Integer)i + 1, headers->items[i].name);
    }
    return 2;
}

static struct slice body_of(struct job *job, bool is_leaving)
{
    const struct plan *plan = is_leaving ? job_plan(job) : NULL;
    return plan != NULL && plan->has_body ? plan->body : job_body(job);
}

/* body_hash(msg, canon, limit or nil, leaving): the hash, and the length of the canonical form. */
static int module_body_hash(lua_State *L)
{
    uint8_t hash[SIGNING_HASH_BYTES];
    struct job *job = lapi_msg_check_known(L, "the body", HOOK_MESSAGE);
    const enum canon canon = (enum canon)luaL_checkoption(L, 2, NULL, canon_names);
    const lua_Integer limit = luaL_optinteger(L, 3, -1);
    const uint64_t total = signing_hash_body(
        body_of(job, lua_toboolean(L, 4)), canon, limit < 0 ? UINT64_MAX : (uint64_t)limit, hash);
    lua_pushlstring(L, (const char *)hash, sizeof(hash));
    lua_pushinteger(L, (lua_Integer)total);
    return 2;
}

/* canon(field, canon): ends with CRLF. */
static int module_canon(lua_State *L)
{
    const struct slice field = lapi_check_slice(L, 1);
    const enum canon canon = (enum canon)luaL_checkoption(L, 2, NULL, canon_names);
    struct buf *out = &script_of(L)->scratch; /* nothing is lost when Lua raises */
    buf_reset(out);
    if (canon_header(field, canon, out) != 0)
        return luaL_error(L, "the header field is too long");
    lapi_push_slice(L, buf_slice(out));
    return 1;
}

/* at_end(msg, order, f): f is called when the hook has ended well and its changes are known. */
static int module_at_end(lua_State *L)
{
    lapi_msg_check_change(L, "sign");
    const lua_Integer order = luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lapi_msg_check_known(L, "a signature", HOOK_MESSAGE);
    lua_settop(L, 3);
    script_finish_add(L, (int)order);
    return 0;
}

/* ---- bytes ---- */

static int module_hash(lua_State *L)
{
    uint8_t hash[SIGNING_HASH_BYTES];
    signing_hash(lapi_check_slice(L, 1), hash);
    lua_pushlstring(L, (const char *)hash, sizeof(hash));
    return 1;
}

/* digest(kind, bytes) */
static int module_digest(lua_State *L)
{
    static const char *const names[] = {"md5", "sha1", "sha256", NULL};
    const struct crypto_library *crypto = crypto_library_loaded();
    const EVP_MD *const kinds[] = {crypto->EVP_md5(), crypto->EVP_sha1(), crypto->EVP_sha256()};
    uint8_t out[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    const int which = luaL_checkoption(L, 1, NULL, names);
    const struct slice bytes = lapi_check_slice(L, 2);
    if (crypto->EVP_Digest(bytes.data, bytes.len, out, &len, kinds[which], NULL) != 1)
        return luaL_error(L, "%s is not to be had", names[which]);
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

static int module_base64(lua_State *L)
{
    const struct slice bytes = lapi_check_slice(L, 1);
    luaL_argcheck(L, bytes.len <= 1 << 24, 1, "too long");
    luaL_Buffer out;
    char *to = luaL_buffinitsize(L, &out, 4 * (bytes.len / 3) + 8);
    const int n = crypto_library_loaded()->EVP_EncodeBlock(
        (unsigned char *)to, (const unsigned char *)bytes.data, (int)bytes.len);
    luaL_pushresultsize(&out, (size_t)n);
    return 1;
}

static bool is_base64(struct slice text, size_t *n_padding_out)
{
    size_t n = text.len;
    while (n > 0 && text.len - n < 2 && text.data[n - 1] == '=')
        n--;
    *n_padding_out = text.len - n;
    for (size_t i = 0; i < n; i++) {
        const char c = text.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                c == '+' || c == '/'))
            return false;
    }
    return text.len % 4 == 0;
}

/* unbase64(text): nil when it is not whole and clean. Blanks must be gone. */
static int module_unbase64(lua_State *L)
{
    const struct slice text = lapi_check_slice(L, 1);
    size_t n_padding;
    if (text.len > 1 << 24 || !is_base64(text, &n_padding)) {
        lua_pushnil(L);
        return 1;
    }
    luaL_Buffer out;
    char *to = luaL_buffinitsize(L, &out, text.len / 4 * 3 + 4);
    const int n = crypto_library_loaded()->EVP_DecodeBlock(
        (unsigned char *)to, (const unsigned char *)text.data, (int)text.len);
    luaL_pushresultsize(&out, n < (int)n_padding ? 0 : (size_t)n - n_padding);
    return 1;
}

/* ---- signatures ---- */

/* verify(kind, public, bytes, signature): "good", or why not; and the bits of the key. */
static int module_verify(lua_State *L)
{
    static const char *const answers[] = {
        [SIGNING_GOOD] = "good",
        [SIGNING_WRONG] = "wrong",
        [SIGNING_BAD_KEY] = "bad key",
        [SIGNING_SHORT_KEY] = "short key",
        [SIGNING_LONG_KEY] = "long key",
    };
    unsigned bits;
    const enum signing_kind kind = (enum signing_kind)luaL_checkoption(L, 1, NULL, kind_names);
    const enum signing_answer answer = signing_verify(
        kind, lapi_check_slice(L, 2), lapi_check_slice(L, 3), lapi_check_slice(L, 4), &bits);
    lua_pushstring(L, answers[answer]);
    lua_pushinteger(L, bits);
    return 2;
}

struct key_box {
    struct signing_key *key; /* owned */
};

static struct signing_key *check_key(lua_State *L, int index)
{
    struct key_box *box = luaL_checkudata(L, index, KEY_CLASS);
    if (box->key == NULL)
        luaL_argerror(L, index, "the key is gone");
    return box->key;
}

static int key_gc(lua_State *L)
{
    struct key_box *box = luaL_checkudata(L, 1, KEY_CLASS);
    signing_key_free(box->key);
    box->key = NULL;
    return 0;
}

/* The box comes first: nothing that Lua does may lose a key. */
static int push_key(lua_State *L, bool is_file)
{
    const struct slice text = lapi_check_slice(L, 1);
    const char *why = NULL;
    struct key_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    box->key = NULL;
    lapi_own(L, KEY_CLASS, key_gc);
    box->key =
        is_file ? signing_key_read(luaL_checkstring(L, 1), &why) : signing_key_new(text, &why);
    if (box->key != NULL)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int module_read_key(lua_State *L)
{
    return push_key(L, true);
}

static int module_parse_key(lua_State *L)
{
    return push_key(L, false);
}

/* key_facts(key): kind, bits, public key as DKIM publishes it. */
static int module_key_facts(lua_State *L)
{
    uint8_t public[SIGNING_PUBLIC_MAX];
    const struct signing_key *key = check_key(L, 1);
    lua_pushstring(L, kind_names[signing_key_kind(key)]);
    lua_pushinteger(L, signing_key_bits(key));
    lua_pushlstring(L, (const char *)public, signing_key_public(key, public));
    return 3;
}

static int module_is_key(lua_State *L)
{
    lua_pushboolean(L, luaL_testudata(L, 1, KEY_CLASS) != NULL);
    return 1;
}

static int module_sign(lua_State *L)
{
    uint8_t signature[SIGNING_OUT_MAX];
    const struct signing_key *key = check_key(L, 1);
    const size_t len = signing_sign(key, lapi_check_slice(L, 2), signature);
    if (len == 0)
        return luaL_error(L, "the key does not sign");
    lua_pushlstring(L, (const char *)signature, len);
    return 1;
}

static const luaL_Reg functions[] = {
    {"fields", module_fields},
    {"body_hash", module_body_hash},
    {"canon", module_canon},
    {"at_end", module_at_end},
    {"hash", module_hash},
    {"digest", module_digest},
    {"base64", module_base64},
    {"unbase64", module_unbase64},
    {"verify", module_verify},
    {"read_key", module_read_key},
    {"parse_key", module_parse_key},
    {"key_facts", module_key_facts},
    {"is_key", module_is_key},
    {"sign", module_sign},
    {NULL, NULL},
};

/* At the top level of a filter that is the nursery, whose workers share what is loaded. */
int lapi_signature_open(lua_State *L)
{
    if (crypto_library() == NULL) {
        return luaL_error(L, "signatures: libcrypto cannot be loaded");
    }
    luaL_newlib(L, functions);
    return 1;
}
