/* The commands that change the pool of a running system: reload, promote, rollback, recycle, scale,
 * drain, resume. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "common/text.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/server.h"

/* A reload is answered when the filter has loaded, which its own limit (multiplexor.load_time)
 * bounds; this is above any sensible one. */
enum { RELOAD_TIMEOUT_MS = 900000 };
enum { WORKERS_MAX = 1000 };

static int number_argument(
    const struct args *args, int i, int64_t max, const char *what, int64_t *out)
{
    if (text_to_i64(command_argument(args, i), 1, max, out) < 0) {
        fprintf(stderr, "posternctl: %s must be a number from 1 to %lld\n", what, (long long)max);
        return -ERR_BAD;
    }
    return 0;
}

/* Asks, and prints the answer's data with --json, else text. Frees the data. */
static int ask_and_say(const struct args *args, const char *command, json_t *args_json,
    int64_t timeout_ms, void (*say)(const json_t *data))
{
    json_t *data = NULL;
    int code = server_ask(args, command, args_json, timeout_ms, &data);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    if (args_has(args, ARG_JSON)) {
        render_json_line(stdout, data);
    } else {
        say(data);
    }
    json_decref(data);
    return EXIT_CODE_OK;
}

static void say_reloaded(const json_t *data)
{
    const json_t *canary = json_object_get(data, "canary");
    printf("reloaded: generation %lld",
        (long long)json_integer_value(json_object_get(data, "generation")));
    if (canary != NULL) {
        printf(" is tried on %lld %% of the clients", (long long)json_integer_value(canary));
    }
    putchar('\n');
    if (render_text_of(data, "warning")[0] != 0) {
        printf("warning: ");
        render_escaped(stdout, slice_text(render_text_of(data, "warning")));
        putchar('\n');
    }
}

/* "5" or "5%". */
static int read_percent(const char *text, int64_t *out)
{
    size_t len = strlen(text);
    char digits[8] = "";
    if (len > 0 && text[len - 1] == '%') {
        len--;
    }
    if (len < sizeof(digits)) {
        memcpy(digits, text, len);
    }
    if (text_to_i64(digits, 0, 100, out) < 0) {
        fprintf(stderr, "posternctl: --canary must be a percentage from 0 to 100\n");
        return -ERR_BAD;
    }
    return 0;
}

int command_reload(const struct args *args)
{
    int64_t canary;
    if (!args_has(args, ARG_CANARY)) {
        return ask_and_say(args, "reload", NULL, RELOAD_TIMEOUT_MS, say_reloaded);
    }
    if (read_percent(args_get(args, ARG_CANARY), &canary) < 0) {
        return EXIT_CODE_USAGE;
    }
    return ask_and_say(args, "reload", json_pack("{s:I}", "canary", (json_int_t)canary),
        RELOAD_TIMEOUT_MS, say_reloaded);
}

static void say_current(const json_t *data)
{
    printf("current: generation %lld\n",
        (long long)json_integer_value(json_object_get(data, "generation")));
}

int command_promote(const struct args *args)
{
    return ask_and_say(args, "promote", NULL, 0, say_current);
}

int command_rollback(const struct args *args)
{
    return ask_and_say(args, "rollback", NULL, 0, say_current);
}

static void say_recycled(const json_t *data)
{
    const json_t *n = json_object_get(data, "recycled");
    if (json_is_integer(n)) {
        printf("recycling: %lld\n", (long long)json_integer_value(n));
    } else {
        printf("recycling\n");
    }
}

int command_recycle(const struct args *args)
{
    json_t *question = json_object();
    if (command_n_arguments(args) > 0) {
        int64_t pid;
        if (number_argument(args, 0, INT32_MAX, "PID", &pid) < 0) {
            json_decref(question);
            return EXIT_CODE_USAGE;
        }
        json_object_set_new(question, "pid", json_integer(pid));
    }
    return ask_and_say(args, "recycle", question, 0, say_recycled);
}

static void say_scaled(const json_t *data)
{
    const json_t *min = json_object_get(data, "min");
    const json_t *max = json_object_get(data, "max");
    if (json_is_integer(min) && json_is_integer(max)) {
        printf("workers: at least %lld, at most %lld\n", (long long)json_integer_value(min),
            (long long)json_integer_value(max));
    } else {
        printf("scaled\n");
    }
}

int command_scale(const struct args *args)
{
    int64_t min, max;
    if (number_argument(args, 0, WORKERS_MAX, "MIN", &min) < 0 ||
        number_argument(args, 1, WORKERS_MAX, "MAX", &max) < 0) {
        return EXIT_CODE_USAGE;
    }
    if (min > max) {
        fprintf(stderr, "posternctl: MIN must not be above MAX\n");
        return EXIT_CODE_USAGE;
    }
    json_t *question = json_pack("{s:I, s:I}", "min", (json_int_t)min, "max", (json_int_t)max);
    return ask_and_say(args, "scale", question, 0, say_scaled);
}

static void say_draining(const json_t *data)
{
    printf("draining: %lld requests run, %lld wait\n",
        (long long)json_integer_value(json_object_get(data, "running")),
        (long long)json_integer_value(json_object_get(data, "queued")));
}

int command_drain(const struct args *args)
{
    return ask_and_say(args, "drain", NULL, 0, say_draining);
}

static void say_resumed(const json_t *data)
{
    (void)data;
    printf("resumed\n");
}

int command_resume(const struct args *args)
{
    return ask_and_say(args, "resume", NULL, 0, say_resumed);
}
