#include "worker/state.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdio.h>

#include "common/err.h"
#include "common/text.h"

enum state_tag {
    STATE_FALSE = 1,
    STATE_TRUE,
    STATE_INTEGER,
    STATE_FLOAT,
    STATE_STRING,
    STATE_TABLE,
};

enum {
    PAIR_BYTES_MIN = 6,
    KEY_QUOTE_MAX = 40
}; /* the smallest pair: key "" (5 bytes), value false */

/* ---- encoding ---- */

/* The way from the root to the value being encoded: indexes of the keys on the Lua stack. */
struct state_writer {
    lua_State *L;
    struct buf *out;
    const char *root_name;
    int keys[STATE_DEPTH_MAX + 1];
    int depth;
    char *why;
    size_t why_bytes;
};

static void describe_key(lua_State *L, int index, char *out, size_t out_bytes)
{
    if (lua_isinteger(L, index)) {
        snprintf(out, out_bytes, "[%lld]", (long long)lua_tointeger(L, index));
    } else if (lua_type(L, index) == LUA_TSTRING) {
        size_t len;
        const char *key = lua_tolstring(L, index, &len);
        char quoted[KEY_QUOTE_MAX];
        text_escape(quoted, sizeof quoted, slice_of(key, len), 0);
        snprintf(out, out_bytes, ".%s", quoted);
    } else {
        snprintf(out, out_bytes, "[a %s]", lua_typename(L, lua_type(L, index)));
    }
}

static int refuse(struct state_writer *w, int err, const char *what)
{
    size_t n = (size_t)snprintf(w->why, w->why_bytes, "%s", w->root_name);
    for (int i = 0; i < w->depth && n < w->why_bytes; i++) {
        char key[KEY_QUOTE_MAX + 8];
        describe_key(w->L, w->keys[i], key, sizeof key);
        n += (size_t)snprintf(w->why + n, w->why_bytes - n, "%s", key);
    }
    if (n < w->why_bytes) {
        snprintf(w->why + n, w->why_bytes - n, " %s", what);
    }
    return err;
}

static int put_tagged_u64(struct buf *out, enum state_tag tag, uint64_t bits)
{
    int err = buf_put_u8(out, (uint8_t)tag);
    return err != 0 ? err : buf_put_u64(out, bits);
}

static int put_number(struct state_writer *w, int index)
{
    if (lua_isinteger(w->L, index)) {
        return put_tagged_u64(w->out, STATE_INTEGER, (uint64_t)lua_tointeger(w->L, index));
    }
    lua_Number number = lua_tonumber(w->L, index);
    uint64_t bits;
    static_assert(sizeof bits == sizeof number, "Lua's numbers are doubles");
    memcpy(&bits, &number, sizeof bits);
    return put_tagged_u64(w->out, STATE_FLOAT, bits);
}

static int put_string(struct state_writer *w, int index)
{
    size_t len;
    const char *data = lua_tolstring(w->L, index, &len);
    int err = buf_put_u8(w->out, STATE_STRING);
    return err != 0 ? err : buf_put_bytes(w->out, slice_of(data, len));
}

static int put_table(struct state_writer *w, int index);

static int put_value(struct state_writer *w, int index)
{
    int err = 0;
    switch (lua_type(w->L, index)) {
    case LUA_TBOOLEAN:
        err = buf_put_u8(w->out, lua_toboolean(w->L, index) ? STATE_TRUE : STATE_FALSE);
        break;
    case LUA_TNUMBER:
        err = put_number(w, index);
        break;
    case LUA_TSTRING:
        err = put_string(w, index);
        break;
    case LUA_TTABLE:
        return put_table(w, index);
    default: {
        char what[96];
        snprintf(what, sizeof what, "is a %s; it may hold booleans, numbers, strings and tables",
            luaL_typename(w->L, index));
        return refuse(w, -ERR_BAD, what);
    }
    }
    return err != 0 ? refuse(w, err, "makes it larger than 32 KiB") : 0;
}

static int put_pair(struct state_writer *w, int key)
{
    bool is_key = lua_type(w->L, key) == LUA_TSTRING || lua_isinteger(w->L, key);
    w->keys[w->depth++] = key;
    int err = is_key ? put_value(w, key)
                     : refuse(w, -ERR_BAD, "has a key that is neither string nor integer");
    if (err == 0) {
        err = put_value(w, key + 1);
    }
    w->depth--;
    return err;
}

/* The number of pairs is known only at the end: its place is filled in then. */
static void patch_count(struct buf *out, size_t at, uint32_t n)
{
    for (int i = 0; i < 4; i++) {
        out->data[at + (size_t)i] = (uint8_t)(n >> (24 - 8 * i));
    }
}

static int put_table(struct state_writer *w, int index)
{
    if (w->depth >= STATE_DEPTH_MAX) {
        return refuse(w, -ERR_BAD, "is nested too deeply (16 tables), or in a cycle");
    }
    if (!lua_checkstack(w->L, 4)) {
        return refuse(w, -ERR_TOOBIG, "cannot be read: not enough memory");
    }
    int err = buf_put_u8(w->out, STATE_TABLE);
    size_t count_at = w->out->len;
    err = err != 0 ? err : buf_put_u32(w->out, 0);
    if (err != 0) {
        return refuse(w, err, "makes it larger than 32 KiB");
    }
    uint32_t n = 0;
    lua_pushnil(w->L);
    while (err == 0 && lua_next(w->L, index) != 0) {
        err = put_pair(w, lua_gettop(w->L) - 1);
        n++;
        lua_pop(w->L, 1);
    }
    if (err != 0) {
        lua_pop(w->L, 1); /* the key */
        return err;
    }
    patch_count(w->out, count_at, n);
    return 0;
}

int state_put(lua_State *L, int index, struct buf *out, const char *root_name, char *why_out,
    size_t why_bytes)
{
    struct state_writer writer = {
        .L = L, .out = out, .root_name = root_name, .why = why_out, .why_bytes = why_bytes};
    why_out[0] = '\0';
    return put_table(&writer, lua_absindex(L, index));
}

/* ---- decoding ---- */

static int get_value(lua_State *L, struct buf *in, int depth);

static int get_number(lua_State *L, struct buf *in, uint8_t tag)
{
    uint64_t bits;
    if (buf_get_u64(in, &bits) != 0) {
        return -ERR_BAD;
    }
    if (tag == STATE_INTEGER) {
        lua_pushinteger(L, (lua_Integer)bits);
        return 0;
    }
    lua_Number number;
    memcpy(&number, &bits, sizeof number);
    lua_pushnumber(L, number);
    return 0;
}

static int get_string(lua_State *L, struct buf *in)
{
    struct slice s;
    if (buf_get_bytes(in, STATE_BYTES_MAX, &s) != 0) {
        return -ERR_BAD;
    }
    lua_pushlstring(L, s.len > 0 ? s.data : "", s.len);
    return 0;
}

static int get_key(lua_State *L, struct buf *in)
{
    uint8_t tag;
    if (buf_get_u8(in, &tag) != 0 || (tag != STATE_STRING && tag != STATE_INTEGER)) {
        return -ERR_BAD;
    }
    return tag == STATE_STRING ? get_string(L, in) : get_number(L, in, tag);
}

static int get_table(lua_State *L, struct buf *in, int depth)
{
    uint32_t n;
    if (depth >= STATE_DEPTH_MAX || buf_get_u32(in, &n) != 0 || n > buf_left(in) / PAIR_BYTES_MIN ||
        !lua_checkstack(L, 4)) {
        return -ERR_BAD;
    }
    lua_createtable(L, 0, n < 64 ? (int)n : 64);
    for (uint32_t i = 0; i < n; i++) {
        if (get_key(L, in) != 0 || get_value(L, in, depth + 1) != 0) {
            return -ERR_BAD;
        }
        lua_rawset(L, -3);
    }
    return 0;
}

/* On error the stack is left as it is: state_get puts it right. */
static int get_value(lua_State *L, struct buf *in, int depth)
{
    uint8_t tag;
    if (buf_get_u8(in, &tag) != 0) {
        return -ERR_BAD;
    }
    switch (tag) {
    case STATE_FALSE:
    case STATE_TRUE:
        lua_pushboolean(L, tag == STATE_TRUE);
        return 0;
    case STATE_INTEGER:
    case STATE_FLOAT:
        return get_number(L, in, tag);
    case STATE_STRING:
        return get_string(L, in);
    case STATE_TABLE:
        return get_table(L, in, depth);
    default:
        return -ERR_BAD;
    }
}

int state_get(lua_State *L, struct slice bytes)
{
    int top = lua_gettop(L);
    struct buf in;
    uint8_t tag;
    buf_view(&in, bytes.data, bytes.len);
    if (bytes.len > STATE_BYTES_MAX || buf_get_u8(&in, &tag) != 0 || tag != STATE_TABLE ||
        get_table(L, &in, 0) != 0 || buf_left(&in) != 0) {
        lua_settop(L, top);
        return -ERR_BAD;
    }
    return 0;
}
