/* `part` for filters: what mime.h knows of a part, its content and text, and saving it. The mail as
 * received, whatever changes were asked for. */
#include "worker/lapi_part.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/lapi_part_edit.h"
#include "worker/sandbox_files.h"
#include "worker/script.h"

static const struct lapi_class part_class;

const struct mime_part *lapi_part_check(lua_State *L)
{
    return lapi_check(L, 1, &part_class);
}

const struct mime_part *lapi_part_test(lua_State *L, int index)
{
    return luaL_testudata(L, index, part_class.name) != NULL ? lapi_check(L, index, &part_class)
                                                             : NULL;
}

/* ---- fields ---- */

static int push_text(lua_State *L, const char *text)
{
    lapi_push_utf8(L, slice_text(text));
    return 1;
}

static int get_type(lua_State *L)
{
    return push_text(L, lapi_part_check(L)->type);
}

static int get_params(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    lua_createtable(L, 0, (int)part->n_params);
    for (uint32_t i = 0; i < part->n_params; i++) {
        lapi_push_utf8(L, slice_text(part->params[i].name));
        lapi_push_utf8(L, slice_text(part->params[i].value));
        lua_rawset(L, -3);
    }
    return 1;
}

static int get_charset(lua_State *L)
{
    return push_text(L, lapi_part_check(L)->charset);
}

static int get_encoding(lua_State *L)
{
    return push_text(L, lapi_part_check(L)->encoding);
}

static int get_disposition(lua_State *L)
{
    return push_text(L, lapi_part_check(L)->disposition);
}

static int get_content_id(lua_State *L)
{
    return push_text(L, lapi_part_check(L)->content_id);
}

static int get_filename(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    if (part->filename != NULL)
        return push_text(L, part->filename);
    lua_pushnil(L);
    return 1;
}

static int get_filenames(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    lua_createtable(L, (int)part->n_filenames, 0);
    for (uint32_t i = 0; i < part->n_filenames; i++) {
        lapi_push_utf8(L, slice_text(part->filenames[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int get_extension(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    lapi_push_utf8(L, lapi_part_extension_of(part->filename != NULL ? part->filename : ""));
    return 1;
}

static int get_size(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    lua_pushinteger(L, (lua_Integer)mime_content_size(part->mime, part));
    return 1;
}

static int get_path(lua_State *L)
{
    return push_text(L, lapi_part_check(L)->path);
}

static int get_depth(lua_State *L)
{
    lua_pushinteger(L, lapi_part_check(L)->depth);
    return 1;
}

static int get_parent(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    if (part->parent != NULL)
        lapi_push_part(L, script_job(L), part->parent);
    else
        lua_pushnil(L);
    return 1;
}

static int get_is_container(lua_State *L)
{
    lua_pushboolean(L, lapi_part_check(L)->is_container);
    return 1;
}

static int get_is_signed(lua_State *L)
{
    lua_pushboolean(L, lapi_part_check(L)->is_signed);
    return 1;
}

static int get_is_encrypted(lua_State *L)
{
    lua_pushboolean(L, lapi_part_check(L)->is_encrypted);
    return 1;
}

static int get_detected_type(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    return push_text(L, mime_detected_type(part->mime, part));
}

/* ---- methods ---- */

static int part_header(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    struct slice name = lapi_check_slice(L, 2);
    luaL_argcheck(L, name.len > 0 && memchr(name.data, ':', name.len) == NULL, 2,
        "the name of a header field, without colon, expected");
    struct slice value = mime_part_header(part->mime, part, name);
    if (value.data != NULL)
        lapi_push_utf8(L, value);
    else
        lua_pushnil(L);
    return 1;
}

/* Bytes from `from` (1 is the first), at most `length` of them. */
static int part_content(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    lua_Integer from = luaL_optinteger(L, 2, 1);
    luaL_argcheck(L, from >= 1, 2, "counts from 1");
    lua_Integer length = luaL_optinteger(L, 3, LUA_MAXINTEGER);
    luaL_argcheck(L, length >= 0, 3, "must not be negative");
    struct slice content = mime_content(part->mime, part);
    size_t start = (lua_Unsigned)from - 1 < content.len ? (size_t)from - 1 : content.len;
    size_t left = content.len - start;
    size_t len = (lua_Unsigned)length < left ? (size_t)length : left;
    lapi_push_slice(L, slice_of(content.data + start, len));
    return 1;
}

static int part_text(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    lapi_push_utf8(L, mime_text(part->mime, part));
    return 1;
}

static int part_hash(lua_State *L)
{
    static const char *const names[] = {"sha256", "sha1", "md5", "sha384", "sha512", NULL};
    static const GChecksumType types[] = {
        G_CHECKSUM_SHA256, G_CHECKSUM_SHA1, G_CHECKSUM_MD5, G_CHECKSUM_SHA384, G_CHECKSUM_SHA512};
    const struct mime_part *part = lapi_part_check(L);
    int which = luaL_checkoption(L, 2, "sha256", names);
    struct slice content = mime_content(part->mime, part);
    GChecksum *sum = g_checksum_new(types[which]);
    for (size_t done = 0;
         done < content.len;) { /* GLib takes lengths of 31 bits at a time for some of them */
        size_t n = content.len - done < 1 << 20 ? content.len - done : 1 << 20;
        g_checksum_update(sum, (const guchar *)content.data + done, (gssize)n);
        done += n;
    }
    char hex[130];
    snprintf(hex, sizeof(hex), "%s", g_checksum_get_string(sum));
    g_checksum_free(sum);
    lua_pushstring(L, hex);
    return 1;
}

static int write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return 0;
}

/* Only into a plain file, new or old; never through a symbolic link, never into a pipe or device.
 */
static int write_file(const char *path, struct slice bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    struct stat st;
    int result = fstat(fd, &st);
    if (result == 0 && !S_ISREG(st.st_mode)) {
        errno = EINVAL;
        result = -1;
    }
    if (result == 0 && (fchmod(fd, 0600) < 0 || ftruncate(fd, 0) < 0))
        result = -1;
    if (result == 0)
        result = write_all(fd, bytes);
    int error = errno;
    if (close(fd) < 0 && result == 0)
        return -1;
    errno = error;
    return result;
}

static int part_save(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    size_t len;
    const char *path = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len > 0 && strlen(path) == len, 2, "the path of a file expected");
    char why[128];
    if (sandbox_files_check_write(script_conf(L), path, why, sizeof(why)) != 0) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s: %s", path, why);
        return 2;
    }
    if (write_file(path, mime_content(part->mime, part)) < 0) {
        int error = errno;
        lua_pushnil(L);
        lua_pushfstring(L, "%s: %s", path,
            error == ELOOP    ? "is a symbolic link"
            : error == EINVAL ? "is not a plain file"
                              : strerror(error));
        return 2;
    }
    lua_pushboolean(L, true);
    return 1;
}

static int part_tostring(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    lua_pushfstring(L, "part %s (%s)", part->path, part->type);
    return 1;
}

static int part_eq(lua_State *L)
{
    lua_pushboolean(L, lapi_check(L, 1, &part_class) == lapi_check(L, 2, &part_class));
    return 1;
}

static const luaL_Reg fields[] = {
    {"type", get_type},
    {"params", get_params},
    {"charset", get_charset},
    {"encoding", get_encoding},
    {"disposition", get_disposition},
    {"content_id", get_content_id},
    {"filename", get_filename},
    {"filenames", get_filenames},
    {"extension", get_extension},
    {"size", get_size},
    {"path", get_path},
    {"depth", get_depth},
    {"parent", get_parent},
    {"is_container", get_is_container},
    {"is_signed", get_is_signed},
    {"is_encrypted", get_is_encrypted},
    {"detected_type", get_detected_type},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"header", part_header},
    {"content", part_content},
    {"text", part_text},
    {"hash", part_hash},
    {"entries", lapi_part_entries},
    {"has_extension", lapi_part_has_extension},
    {"name_matches", lapi_part_name_matches},
    {"save", part_save},
    {"trap", lapi_part_trap},
    {"drop", lapi_part_drop},
    {"replace", lapi_part_replace},
    {"set_content", lapi_part_set_content},
    {"set_header", lapi_part_set_header},
    {"defang", lapi_part_defang},
    {"strip_html", lapi_part_strip_html},
    {"replace_with_url", lapi_part_replace_with_url},
    {"filter_through", lapi_part_filter_through},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__tostring", part_tostring},
    {"__eq", part_eq},
    {NULL, NULL},
};

static const struct lapi_class part_class = {
    .name = "postern.part",
    .word = "part",
    .fields = fields,
    .methods = methods,
    .metamethods = metamethods,
};

void lapi_part_register(lua_State *L)
{
    lapi_class_register(L, &part_class);
}

void lapi_push_part(lua_State *L, struct job *job, const struct mime_part *part)
{
    (void)job; /* its box ends with the hook, and so with the job */
    lapi_box_new(L, &part_class, (void *)(uintptr_t)part);
}
