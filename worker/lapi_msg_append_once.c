/* The option `once` of msg:append_text and msg:append_html: what is looked for, and whether it is
 * in the mail as received. */
#include <string.h>

#include "common/text.h"
#include "worker/append.h"
#include "worker/charset_out.h"
#include "worker/html.h"
#include "worker/lapi_msg_append.h"
#include "worker/mime_impl.h"

enum { WANTED_MAX = 2 * LAPI_APPEND_MARKERS_MAX }; /* each as it is, and as a charset has it */

/* The text as it arrived last time in a charset that lacks some of it; data NULL: it lacks none. */
static struct slice as_sent(const struct mime_part *part, struct slice wanted, struct arena *arena)
{
    struct charset_out charset;
    struct buf bytes;
    struct slice sent = {NULL, 0};
    if (append_is_html(part->type) || !text_is_utf8(wanted) ||
        !charset_out_find(part->charset, slice_of(NULL, 0), &charset) ||
        charset_out_has(&charset, wanted))
        return sent;
    buf_init(&bytes, 4 * wanted.len + 64);
    if (charset_out_put(&charset, wanted, &bytes) == 0) {
        const struct slice text =
            mime_to_utf8(buf_slice(&bytes), part->charset, 4 * wanted.len + 64, arena, NULL);
        sent = slice_of(arena_memdup0(arena, text.data, text.len), text.len);
    }
    buf_clear(&bytes);
    return sent;
}

static bool is_in_text(struct mime *mime, const struct mime_part *part, const struct slice *wanted,
    uint32_t n, struct arena *arena)
{
    struct slice all[WANTED_MAX];
    uint32_t n_all = 0;
    for (uint32_t i = 0; i < n; i++) {
        all[n_all++] = wanted[i];
        all[n_all] = as_sent(part, wanted[i], arena);
        n_all += all[n_all].data != NULL;
    }
    return append_is_there(mime_text(mime, part), all, n_all, arena);
}

static bool is_in_bytes(
    struct mime *mime, const struct mime_part *part, const struct lapi_append_options *options)
{
    const struct slice content = mime_content(mime, part);
    for (uint32_t i = 0; i < options->n_markers; i++) {
        const struct slice marker = options->markers[i];
        if (memmem(content.data, content.len, marker.data, marker.len) != NULL)
            return true;
    }
    return false;
}

bool lapi_append_is_there(struct mime *mime, const struct lapi_append_options *options,
    struct slice text, bool is_html, struct arena *arena)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(mime, &n);
    if (is_html && options->n_markers == 0)
        text = html_text(text, text.len + 1, arena, NULL);
    const struct slice *wanted = options->n_markers > 0 ? options->markers : &text;
    const uint32_t n_wanted = options->n_markers > 0 ? options->n_markers : 1;
    for (uint32_t i = 0; i < n; i++) {
        const struct mime_part *part = parts[i];
        const bool is_text = strcmp(part->type, "text/plain") == 0 || append_is_html(part->type);
        if (part->is_container || !is_text || strcmp(part->disposition, "attachment") == 0)
            continue;
        if (is_in_text(mime, part, wanted, n_wanted, arena) || is_in_bytes(mime, part, options))
            return true;
    }
    return false;
}

/* ---- Lua ---- */

static void check_marker(lua_State *L, int index, struct lapi_append_options *out)
{
    const struct slice marker = lapi_check_slice(L, -1); /* the caller's table keeps it */
    if (!append_is_wanted(marker))
        luaL_argerror(L, index, "once: the marker is empty");
    out->markers[out->n_markers++] = marker;
}

void lapi_append_check_once(lua_State *L, int index, struct lapi_append_options *out)
{
    lua_getfield(L, index, "once");
    const int type = lua_type(L, -1);
    if (type == LUA_TSTRING) {
        check_marker(L, index, out);
    } else if (type == LUA_TTABLE) {
        const lua_Unsigned n = lua_rawlen(L, -1);
        if (n == 0 || n > LAPI_APPEND_MARKERS_MAX)
            luaL_argerror(L, index, "once: a list has 1 to 8 markers");
        for (lua_Unsigned i = 1; i <= n; i++) {
            if (lua_rawgeti(L, -1, (lua_Integer)i) != LUA_TSTRING)
                luaL_argerror(L, index, "once: a list has markers alone");
            check_marker(L, index, out);
            lua_pop(L, 1);
        }
    } else if (type != LUA_TNIL && type != LUA_TBOOLEAN) {
        luaL_argerror(L, index, "once is true, false, a marker, or a list of them");
    }
    out->is_once = lua_toboolean(L, -1);
    lua_pop(L, 1);
}
