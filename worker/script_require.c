/*
 * require: modules of Postern, of the filter's folder, of worker.module_path, and those of Debian
 * and LuaRocks, C modules too. Lua files are loaded as text only. No environment variable and no
 * current directory takes part.
 */
#include <errno.h>
#include <fcntl.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/proc.h"
#include "worker/script_internal.h"

#ifndef POSTERN_LUA_DIR
#error "POSTERN_LUA_DIR: where the Lua modules are installed"
#endif

static int read_all(int fd, char **text_out, size_t *len_out)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return -ERR_SYSTEM;
    }
    if (!S_ISREG(st.st_mode)) {
        return -ERR_BAD;
    }
    if (st.st_size > SCRIPT_FILE_MAX) {
        return -ERR_TOOBIG;
    }
    struct buf buf;
    buf_init(&buf, SCRIPT_FILE_MAX);
    char piece[16384];
    ssize_t n;
    int err = 0;
    while ((n = read(fd, piece, sizeof piece)) != 0 && err == 0) {
        if (n > 0) {
            err = buf_put(&buf, piece, (size_t)n);
        } else if (errno != EINTR) {
            err = -ERR_SYSTEM;
        }
    }
    err = err == 0 ? buf_put_u8(&buf, 0) : err;
    if (err != 0) {
        buf_clear(&buf);
        return err;
    }
    *text_out = (char *)buf.data;
    *len_out = buf.len - 1;
    return 0;
}

int script_read_file(const char *path, char **text_out, size_t *len_out)
{
    int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hold us up */
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR ? -ERR_NOTFOUND : -ERR_SYSTEM;
    }
    int err = read_all(fd, text_out, len_out);
    int saved = errno;
    close(fd);
    errno = saved;
    return err;
}

int script_load_buffer(lua_State *L, const char *text, size_t len, const char *chunk_name)
{
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if (len > 0 && text[0] == '#') { /* "#!": the line end stays, so that lines count right */
        const char *end = memchr(text, '\n', len);
        len -= end != NULL ? (size_t)(end - text) : len;
        text = end != NULL ? end : "";
    }
    if (len > 0 && text[0] == LUA_SIGNATURE[0]) {
        lua_pushfstring(L, "%s: is Lua bytecode; only source text is loaded", chunk_name + 1);
        return LUA_ERRSYNTAX;
    }
    return luaL_loadbufferx(L, text, len, chunk_name, "t");
}

/* Pushes "@NAME": files in the filter's folder are named from there, others by their path. */
static const char *push_chunk_name(lua_State *L, const char *path)
{
    const char *folder = script_of(L)->folder;
    size_t n = strlen(folder);
    if (strncmp(path, folder, n) == 0 && path[n] == '/') {
        return lua_pushfstring(L, "@%s", path + n + 1);
    }
    return lua_pushfstring(L, "@%s", path);
}

/* Reads into the script's buffer, so that nothing is lost when Lua raises. */
static int load_file(lua_State *L, const char *path)
{
    char *text = NULL;
    size_t len = 0;
    int err = script_read_file(path, &text, &len);
    struct buf *scratch = &script_of(L)->scratch;
    buf_reset(scratch);
    if (err == 0) {
        err = buf_put(scratch, text, len);
        free(text);
    }
    const char *name = push_chunk_name(L, path);
    if (err != 0) {
        lua_pushfstring(L, "%s: %s", path, err_text(err));
        return LUA_ERRFILE;
    }
    return script_load_buffer(L, (const char *)scratch->data, scratch->len, name);
}

/* A searcher. Upvalue: the package table. */
static int search_text(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, lua_upvalueindex(1), "searchpath");
    lua_pushvalue(L, 1);
    lua_getfield(L, lua_upvalueindex(1), "path");
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2)) {
        return 1; /* why not, for require's message */
    }
    lua_pop(L, 1);
    const char *path = lua_tostring(L, -1);
    if (path == NULL) { /* the filter may have put another searchpath there */
        return luaL_error(L, "'package.searchpath' must return a string");
    }
    if (load_file(L, path) != LUA_OK) {
        return luaL_error(
            L, "error loading module '%s':\n\t%s", lua_tostring(L, 1), lua_tostring(L, -1));
    }
    lua_pushvalue(L, 2);
    return 2;
}

/* ---- folders ---- */

/* A build folder beside the sources is known by its CMakeCache.txt; an installed program is not in
 * one. */
static bool is_build_folder(const char *program_dir)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/../CMakeCache.txt", program_dir);
    return access(path, F_OK) == 0;
}

static void add_folder(luaL_Buffer *paths, const char *folder)
{
    luaL_addstring(paths, folder);
    luaL_addstring(paths, "/?.lua;");
    luaL_addstring(paths, folder);
    luaL_addstring(paths, "/?/init.lua;");
}

static void add_own_folders(luaL_Buffer *paths)
{
    char dir[4096];
    char folder[4300];
    if (proc_program_dir(dir, sizeof dir) == 0) {
        snprintf(folder, sizeof folder, "%s/%s", dir,
            is_build_folder(dir) ? "../../../scripts/lib" : POSTERN_LUA_FROM_PROGRAM);
        add_folder(paths, folder);
    }
    add_folder(paths, POSTERN_LUA_DIR);
}

/* module_path is "A:B"; a relative folder is the filter's. */
static void add_configured_folders(luaL_Buffer *paths, const struct script *script)
{
    char folder[8200];
    for (const char *at = script->conf->worker.module_path; *at != '\0';) {
        size_t n = strcspn(at, ":");
        if (n > 0 && n < 4096 && memchr(at, ';', n) == NULL && memchr(at, '?', n) == NULL) {
            bool is_absolute = at[0] == '/';
            snprintf(folder, sizeof folder, "%s%s%.*s", is_absolute ? "" : script->folder,
                is_absolute ? "" : "/", (int)n, at);
            add_folder(paths, folder);
        }
        at += n + (at[n] == ':');
    }
}

/* Lua's default paths without those that start in the current directory. */
static void add_defaults(luaL_Buffer *paths, const char *defaults)
{
    for (const char *at = defaults; *at != '\0';) {
        size_t n = strcspn(at, ";");
        if (n > 0 && at[0] != '.') {
            luaL_addlstring(paths, at, n);
            luaL_addchar(paths, ';');
        }
        at += n + (at[n] == ';');
    }
}

static void push_path(lua_State *L, const struct script *script, const char *defaults)
{
    luaL_Buffer paths;
    luaL_buffinit(L, &paths);
    add_own_folders(&paths);
    if (strpbrk(script->folder, ";?") == NULL) {
        add_folder(&paths, script->folder);
    }
    add_configured_folders(&paths, script);
    add_defaults(&paths, defaults);
    luaL_pushresult(&paths);
}

static void push_cpath(lua_State *L, const char *defaults)
{
    luaL_Buffer paths;
    luaL_buffinit(L, &paths);
    add_defaults(&paths, defaults);
    luaL_pushresult(&paths);
}

/* The package table is on top. searchers: preload, ours for text, C, C in one file. */
static void replace_searcher(lua_State *L)
{
    lua_getfield(L, -1, "searchers");
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, search_text, 1);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 1);
}

static const luaL_Reg own_modules[] = {
    {"postern.archive", lapi_archive_open},
    {"postern.async", lapi_async_open},
    {"postern.html", lapi_html_open},
    {"postern.internal.address", lapi_address_open},
    {"postern.internal.backend", lapi_backend_open},
    {"postern.internal.dns", lapi_dns_open},
    {"postern.internal.http", lapi_http_open},
    {"postern.internal.json", lapi_json_open},
    {"postern.internal.net", lapi_net_open},
    {"postern.internal.signature", lapi_signature_open},
    {"postern.internal.smtp", lapi_smtp_open},
    {"postern.internal.sql", lapi_sql_open},
    {"postern.internal.system", lapi_system_open},
    {"postern.metrics", lapi_metrics_open},
    {"postern.redis", lapi_redis_open},
    {"postern.store", lapi_store_open},
    {"postern.url", lapi_url_open},
    {NULL, NULL},
};

void script_require_open(lua_State *L)
{
    lua_pushboolean(L, true);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV"); /* LUA_PATH and the like are not read */
    luaL_requiref(L, LUA_LOADLIBNAME, luaopen_package, 1);
    push_path(L, script_of(L), LUA_PATH_DEFAULT);
    lua_setfield(L, -2, "path");
    push_cpath(L, LUA_CPATH_DEFAULT);
    lua_setfield(L, -2, "cpath");
    lua_pushnil(L);
    lua_setfield(L, -2, "loadlib");
    replace_searcher(L);
    lua_getfield(L, -1, "preload");
    luaL_setfuncs(L, own_modules, 0);
    lua_pop(L, 2);
}
