/* part:replace_with_url: the part's content goes into a folder that a web server serves, and a text
 * with its address takes its place in the mail. */
#include <limits.h>
#include <string.h>
#include <time.h>

#include "common/err.h"
#include "common/hook.h"
#include "common/text.h"
#include "worker/client.h"
#include "worker/edit.h"
#include "worker/lapi_msg.h"
#include "worker/lapi_part.h"
#include "worker/link_deeds.h"
#include "worker/link_text.h"
#include "worker/sandbox_files.h"

enum { URL_MAX = 1024 };

#define AGE_MAX_MS INT64_C(315360000000) /* as of urls.age */

/* What the filter asks for, and the options where it does not. */
struct wishes {
    const char *directory;   /* in the arena */
    struct slice base_url;   /* without slashes at the end */
    struct slice text, html; /* templates; data NULL: not given */
    int64_t age_ms;
};

static const char *const keys[] = {"directory", "base_url", "text", "html", "age", NULL};

/* ---- wishes ---- */

/* A member of the table at index 2; no metamethod. [-0, +1, m] */
static int push_wish(lua_State *L, const char *key)
{
    lua_pushstring(L, key);
    return lua_rawget(L, 2);
}

/* A text, which stays on the stack, since a finaliser might take it out of the table; data NULL
 * when it is not given. [-0, +1, v] */
static struct slice text_of(lua_State *L, const char *key)
{
    struct slice text = slice_of(NULL, 0);
    const int type = push_wish(L, key);
    if (type == LUA_TSTRING)
        text.data = lua_tolstring(L, -1, &text.len);
    else if (type != LUA_TNIL)
        luaL_error(L, "part:replace_with_url: %s is a text, not a %s", key, lua_typename(L, type));
    return text;
}

static struct slice without_slashes(struct slice s)
{
    while (s.len > 1 && s.data[s.len - 1] == '/')
        s.len--;
    return s;
}

static struct slice text_or(lua_State *L, const char *key, const char *option)
{
    const struct slice text = text_of(L, key);
    return without_slashes(text.data != NULL ? text : slice_text(option));
}

/* Seconds, or a text as in the configuration: "30d". */
static int64_t check_age(lua_State *L, int64_t otherwise)
{
    int64_t age = otherwise;
    const int type = push_wish(L, "age");
    bool is_good = type == LUA_TNIL;
    if (type == LUA_TNUMBER) {
        const lua_Number secs = lua_tonumber(L, -1);
        is_good = secs >= 0 && secs <= (lua_Number)AGE_MAX_MS / 1000; /* NaN fails too */
        age = is_good ? (int64_t)(secs * 1000) : 0;
    } else if (type == LUA_TSTRING) {
        is_good = text_to_ms(lua_tostring(L, -1), &age) == 0 && age >= 0 && age <= AGE_MAX_MS;
    }
    if (!is_good)
        luaL_error(L, "part:replace_with_url: age is seconds or a time such as \"30d\", at most "
                      "10 years; 0: for ever");
    lua_pop(L, 1);
    return age;
}

/* Visible ASCII that can stand in a text, between quotes in HTML and in a header. */
static bool is_base_url(struct slice url)
{
    static const char refused[] = "\"'<>\\^`{|}?#";
    const bool has_scheme = (url.len > 8 && memcmp(url.data, "https://", 8) == 0) ||
                            (url.len > 7 && memcmp(url.data, "http://", 7) == 0);
    for (size_t i = 0; has_scheme && i < url.len; i++) {
        if (url.data[i] <= ' ' || url.data[i] > '~' || strchr(refused, url.data[i]) != NULL)
            return false;
    }
    return has_scheme && url.len <= URL_MAX;
}

static const char *check_path(lua_State *L, struct job *job, struct slice path)
{
    if (path.len == 0 || path.data[0] != '/' || path.len >= PATH_MAX - LINK_FILE_LEN - 2 ||
        memchr(path.data, '\0', path.len) != NULL)
        luaL_error(L, "part:replace_with_url: directory is an absolute path; give it, or set "
                      "urls.directory");
    return arena_memdup0(job->arena, path.data, path.len);
}

static void check_wishes(lua_State *L, struct job *job, struct wishes *out)
{
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_newtable(L);
    }
    lapi_check_keys(L, 2, keys);
    *out = (struct wishes){.base_url = text_or(L, "base_url", job->conf->urls.base_url),
        .text = text_of(L, "text"),
        .html = text_of(L, "html"),
        .age_ms = check_age(L, job->conf->urls.age)};
    out->directory = check_path(L, job, text_or(L, "directory", job->conf->urls.directory));
    if (!is_base_url(out->base_url))
        luaL_error(L, "part:replace_with_url: base_url is an http or https address without "
                      "question mark and fragment; give it, or set urls.base_url");
}

/* ---- what fails ---- */

/* The message will be tempfailed, whatever the filter catches. */
static void fail_for_good(lua_State *L, struct job *job, const char *why)
{
    link_deeds_fail(link_deeds_of(job), arena_printf(job->arena, "part:replace_with_url: %s", why));
    luaL_error(L, "part:replace_with_url: %s", why);
}

static void check_directory(lua_State *L, struct job *job, const char *directory)
{
    char why[256];
    const char *inside = arena_printf(job->arena, "%s/x", directory);
    const int rc = sandbox_files_check_write(job->conf, inside, why, sizeof(why));
    if (rc == -ERR_DENIED)
        luaL_error(L,
            "part:replace_with_url: %s is neither urls.directory nor in "
            "worker.state_dir; worker.write_paths may allow it",
            directory);
    if (rc != 0 && script_does_deeds(L))
        fail_for_good(L, job, arena_printf(job->arena, "%s: %s", directory, why));
}

static const char *key_failure(int rc)
{
    switch (rc) {
    case -ERR_NOTFOUND:
        return "its folder is not there";
    case -ERR_BAD:
        return "it is no plain file of 32 bytes that others cannot read";
    default:
        return err_text(rc);
    }
}

/* A rehearsal makes no key; without one its addresses are good for nothing but to be looked at. */
static void get_key(lua_State *L, struct job *job, uint8_t key_out[KEYED_HASH_BYTES])
{
    char path[PATH_MAX];
    if (!link_key_path(job->conf, path))
        fail_for_good(L, job, "the path of urls.key_file is too long");
    const bool does_deeds = script_does_deeds(L);
    const int rc = link_key_get(path, does_deeds, key_out);
    if (rc == 0)
        return;
    if (does_deeds)
        fail_for_good(
            L, job, arena_printf(job->arena, "urls.key_file %s: %s", path, key_failure(rc)));
    memset(key_out, 0, KEYED_HASH_BYTES);
}

/* ---- the text in its place ---- */

static bool is_shown_text(const struct mime_part *part, const char *type)
{
    return !part->is_container && strcmp(part->type, type) == 0 && part->filename == NULL &&
           strcmp(part->disposition, "attachment") != 0;
}

/* Whether the readable text of the mail is HTML alone: then a text part would look strange in it.
 */
static bool reads_as_html(struct job *job)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(job->mime, &n);
    struct link_deeds *deeds = link_deeds_of(job);
    if (deeds->html != LINK_HTML_UNKNOWN)
        return deeds->html == LINK_HTML_YES;
    bool has_html = false, has_plain = false;
    for (uint32_t i = 0; i < n && !has_plain; i++) {
        has_html |= is_shown_text(parts[i], "text/html");
        has_plain |= is_shown_text(parts[i], "text/plain");
    }
    deeds->html = has_html && !has_plain ? LINK_HTML_YES : LINK_HTML_NO;
    return deeds->html == LINK_HTML_YES;
}

static const char *fill(struct job *job, const struct wishes *wishes,
    const struct link_facts *facts, struct edit_entity *out)
{
    const bool has_choice = wishes->html.data != NULL || wishes->text.data == NULL;
    const bool is_html = has_choice && reads_as_html(job);
    struct slice template = is_html ? wishes->html : wishes->text;
    if (template.data == NULL)
        template = slice_text(link_text_default(facts->expires_secs != 0, is_html));
    *out = (struct edit_entity){.type = slice_text(is_html ? "text/html" : "text/plain"),
        .charset = slice_text("utf-8"),
        .is_inline = true};
    return link_text_fill(template, facts, is_html, job->arena, &out->body);
}

/* ---- the call ---- */

static struct slice keep(struct job *job, struct slice s)
{
    return slice_of(arena_memdup0(job->arena, s.len > 0 ? s.data : "", s.len), s.len);
}

static struct link_deed *deed_new(struct job *job, const struct mime_part *part,
    const struct wishes *wishes, struct slice content, const char *id)
{
    char path[LINK_FILE_LEN + 1], sum[65];
    struct link_deed *deed = arena_calloc(job->arena, 1, sizeof(*deed));
    const int64_t now = (int64_t)time(NULL);
    link_file_path(id, path);
    link_sha256(content, sum);
    deed->part = part;
    deed->link = (struct link){
        .directory = wishes->directory,
        .id = arena_memdup0(job->arena, id, LINK_ID_LEN),
        .url = arena_printf(
            job->arena, "%.*s/%s", (int)wishes->base_url.len, wishes->base_url.data, path),
        .content = content,
        .sha256 = arena_memdup0(job->arena, sum, strlen(sum)),
        .type = part->type,
        .filename = slice_text(part->filename),
        .message_id = keep(job, lapi_msg_header_text(job, "Message-ID")),
        .sender = keep(job, job_sender(job)),
        .queue_id = keep(job, client_macro(job, "i")),
        .now_secs = now,
        .expires_secs = wishes->age_ms > 0 ? now + wishes->age_ms / 1000 : 0,
    };
    return deed;
}

/* The change and the deed; NULL, or what is wrong. */
static const char *replace(struct job *job, const struct mime_part *part,
    const struct wishes *wishes, struct link_deed *deed)
{
    struct edit_entity entity;
    const struct link_facts facts = {.name = deed->link.filename,
        .url = deed->link.url,
        .type = part->type,
        .sha256 = deed->link.sha256,
        .size = deed->link.content.len,
        .expires_secs = deed->link.expires_secs};
    const char *wrong = fill(job, wishes, &facts, &entity);
    if (wrong == NULL)
        wrong = edit_replace(job, part, &entity);
    if (wrong == NULL)
        link_deeds_add(link_deeds_of(job), deed);
    return wrong;
}

static int refuse(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

int lapi_part_replace_with_url(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    struct job *job = script_job(L);
    struct wishes wishes;
    uint8_t key[KEYED_HASH_BYTES];
    struct edit_now now;
    char id[LINK_ID_LEN + 1];
    check_wishes(L, job, &wishes);
    if (part->is_container && strncmp(part->type, "multipart/", 10) == 0)
        return luaL_error(L, "part:replace_with_url: a multipart has no content of its own; ask "
                             "for it on the parts in it");
    edit_part_now(job, part, &now);
    if (now.is_gone)
        return refuse(L, "gone");
    const struct link_deed *linked = link_deeds_find(link_deeds_of(job), part);
    if (linked != NULL) {
        lua_pushstring(L, linked->link.url);
        return 1;
    }
    if (link_deeds_of(job)->n >= LINK_DEEDS_MAX)
        return luaL_error(
            L, "part:replace_with_url: at most %d parts of a message", (int)LINK_DEEDS_MAX);
    check_directory(L, job, wishes.directory);
    const struct slice content = edit_content_now(job, part);
    if (mime_is_cut(job->mime))
        return luaL_error(L, "part:replace_with_url: the message is over worker.max_decoded, and "
                             "not all of it was decoded");
    get_key(L, job, key);
    link_id_make(key, content, id);
    struct link_deed *deed = deed_new(job, part, &wishes, content, id);
    const char *wrong = replace(job, part, &wishes, deed);
    if (wrong != NULL)
        return luaL_error(L, "part:replace_with_url: %s", wrong);
    lua_pushstring(L, deed->link.url);
    return 1;
}
