/* part:filter_through: the part's content through a program, whose output takes its place. */
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "worker/command.h"
#include "worker/edit.h"
#include "worker/lapi_msg.h"
#include "worker/lapi_part.h"
#include "worker/script_wait.h"

enum { MARGIN_MS = 100 /* of the hook's time, for what comes after the program */ };

struct wishes {
    const char *argv[COMMAND_ARGUMENTS_MAX + 1];
    int64_t timeout_ms, max_output;
    bool returns; /* a failure is no error */
};

static const char *const keys[] = {"command", "timeout", "max_output", "on_failure", NULL};

/* ---- what is asked for ---- */

/* [-0, +1, m] */
static int push_wish(lua_State *L, const char *key)
{
    lua_pushstring(L, key);
    return lua_rawget(L, 2);
}

static const char *check_argument(lua_State *L)
{
    size_t len;
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "part:filter_through: command is a text for the shell, or a list of texts: "
                      "the program and its arguments");
    const char *text = lua_tolstring(L, -1, &len);
    if (strlen(text) != len)
        luaL_error(L, "part:filter_through: command has a NUL in it");
    return text;
}

/* Each text stays on the stack while it is used. */
static void check_list(lua_State *L, struct wishes *out)
{
    const int list = lua_gettop(L);
    const size_t n = lua_rawlen(L, list);
    if (n == 0 || n > COMMAND_ARGUMENTS_MAX)
        luaL_error(L, "part:filter_through: command has 1 to %d texts", (int)COMMAND_ARGUMENTS_MAX);
    luaL_checkstack(L, (int)n + LUA_MINSTACK, NULL);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        out->argv[i] = check_argument(L);
    }
    out->argv[n] = NULL;
}

static void check_command(lua_State *L, struct wishes *out)
{
    const int type = push_wish(L, "command");
    if (type == LUA_TTABLE) {
        check_list(L, out);
    } else {
        out->argv[0] = "/bin/sh";
        out->argv[1] = "-c";
        out->argv[2] = check_argument(L);
        out->argv[3] = NULL;
    }
    if (out->argv[0][0] == '\0')
        luaL_error(L, "part:filter_through: command names no program");
}

/* A number (times unit), or a text that read understands; at most the option's. */
static int64_t check_bound(lua_State *L, const char *key, int64_t option, int64_t unit,
    int (*read)(const char *text, int64_t *out))
{
    int64_t value = option;
    const int type = push_wish(L, key);
    bool is_good = type == LUA_TNIL;
    if (type == LUA_TNUMBER) {
        const lua_Number number = lua_tonumber(L, -1) * (lua_Number)unit;
        is_good = number > 0 && number <= (lua_Number)INT32_MAX * (lua_Number)unit;
        value = is_good ? (int64_t)number : 0;
    } else if (type == LUA_TSTRING) {
        is_good = read(lua_tostring(L, -1), &value) == 0 && value > 0;
    }
    if (!is_good)
        luaL_error(L,
            "part:filter_through: %s is a number over 0, or a text as in the "
            "configuration",
            key);
    lua_pop(L, 1);
    return value < option ? value : option;
}

static bool check_on_failure(lua_State *L)
{
    const int type = push_wish(L, "on_failure");
    const char *text = type == LUA_TSTRING ? lua_tostring(L, -1) : "error";
    const bool returns = strcmp(text, "return") == 0;
    if ((type != LUA_TNIL && type != LUA_TSTRING) || (!returns && strcmp(text, "error") != 0))
        luaL_error(L, "part:filter_through: on_failure is \"error\" or \"return\"");
    lua_pop(L, 1);
    return returns;
}

static void check_wishes(lua_State *L, const struct conf *conf, struct wishes *out)
{
    lapi_check_keys(L, 2, keys);
    lua_settop(L, 2);
    out->timeout_ms = check_bound(L, "timeout", conf->worker.command_time, 1000, text_to_ms);
    out->max_output = check_bound(L, "max_output", conf->worker.command_output, 1, text_to_bytes);
    out->returns = check_on_failure(L);
    check_command(L, out);
    if (!conf->worker.allow_exec)
        luaL_error(L, "part:filter_through: no programs may be started; worker.allow_exec = yes "
                      "allows those below /usr");
}

/* ---- the run ---- */

static int64_t until_ms(lua_State *L, const struct wishes *wishes)
{
    const int64_t left = script_time_left(L);
    const int64_t margin = left / 10 < MARGIN_MS ? left / 10 : MARGIN_MS;
    const int64_t most = left - margin;
    return clock_now_ms() + (wishes->timeout_ms < most ? wishes->timeout_ms : most);
}

/* What a program says is for the administrator, and out of a stranger's mail. */
static void log_errors(const struct command *command, const struct mime_part *part)
{
    char text[4 * COMMAND_ERRORS_MAX + 8];
    size_t n = command->n_errors;
    while (n > 0 && command->errors[n - 1] == '\n')
        n--;
    if (n == 0)
        return;
    text_escape(text, sizeof(text), slice_of(command->errors, n), 0);
    log_warn("part %s: %s: %s", part->path, command->argv[0], text);
}

/* NULL, or why not; nothing is left but what the arena holds. */
static const char *filter(
    struct job *job, const struct mime_part *part, struct command *command, size_t max_output)
{
    buf_init(&command->output, max_output);
    const char *wrong = command_execute(command, job->arena);
    log_errors(command, part);
    if (wrong != NULL)
        wrong = arena_printf(job->arena, "%s: %s", command->argv[0], wrong);
    const struct slice output = buf_slice(&command->output);
    if (wrong == NULL && !slice_equal(output, command->input))
        wrong = edit_set_content(job, part, output, EDIT_REMOVES);
    buf_clear(&command->output);
    return wrong;
}

static int refuse(lua_State *L, const char *why)
{
    lua_pushboolean(L, false);
    lua_pushstring(L, why);
    return 2;
}

int lapi_part_filter_through(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    struct job *job = script_job(L);
    struct wishes wishes;
    struct edit_now now;
    check_wishes(L, job->conf, &wishes);
    if (part->is_container)
        return luaL_error(L, "part:filter_through: a container has no content of its own; ask for "
                             "it on the parts in it");
    edit_part_now(job, part, &now);
    if (now.is_gone)
        return refuse(L, "gone");
    struct command command = {.argv = wishes.argv, .input = edit_content_now(job, part)};
    if (mime_is_cut(job->mime))
        return luaL_error(L, "part:filter_through: the message is over worker.max_decoded, and "
                             "not all of it was decoded");
    command.until_ms = until_ms(L, &wishes);
    if (wishes.max_output < job->conf->worker.command_output)
        command.bound = "max_output";
    const char *wrong = filter(job, part, &command, (size_t)wishes.max_output);
    if (wrong != NULL && wishes.returns)
        return refuse(L, wrong);
    if (wrong != NULL)
        return luaL_error(L, "part:filter_through: %s", wrong);
    lua_pushboolean(L, true);
    return 1;
}
