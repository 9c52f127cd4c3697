/*
 * posternctl check: loads a filter, lists its hooks and what they make the mail server send, warns
 * about globals that nobody defines. filter_init does not run: it may open connections.
 *
 * Exit code: 0 fine, 1 it does not load or there is a warning.
 */
#include "ctl/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/hook.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "ctl/command.h"
#include "ctl/isolate.h"
#include "ctl/render.h"
#include "ctl/server.h"
#include "worker/mime.h"
#include "worker/script.h"

struct checking {
    const struct conf *conf;
    const char *filter;
};

static json_t *result_new(const char *filter)
{
    return json_pack("{s:o, s:b, s:[], s:[], s:[], s:[], s:n, s:n}", "file",
        render_json_text(slice_text(filter)), "ok", 0, "hooks", "sees", "answers", "warnings",
        "offline", "error");
}

static json_t *stage_names(uint32_t stages)
{
    json_t *list = json_array();
    for (int i = 0; i < STAGE_COUNT; i++) {
        if ((stages & STAGE_BIT(i)) != 0) {
            json_array_append_new(list, json_string(stage_name((enum stage)i)));
        }
    }
    return list;
}

static void on_unknown_global(const char *name, int line, void *context)
{
    json_t *list = context;
    char *text = xasprintf("nobody defines the global %s", name);
    json_array_append_new(
        list, json_pack("{s:i, s:o, s:o}", "line", line, "name", render_json_text(slice_text(name)),
                  "text", render_json_text(slice_text(text))));
    free(text);
}

static void warn_of_programs(const struct script *script, json_t *warnings)
{
    const char *name = "filter_through";
    int line = script_method_line(script, name);
    if (line > 0) {
        json_array_append_new(warnings,
            json_pack("{s:i, s:s, s:s}", "line", line, "name", name, "text",
                "part:filter_through starts a program; worker.allow_exec = no forbids it"));
    }
}

static void describe(const struct conf *conf, struct script *script, json_t *result)
{
    uint32_t hooks = script_hooks(script);
    struct hook_needs needs = hook_needs_of(hooks);
    for (int i = 0; i < HOOK_COUNT; i++) {
        if ((hooks & HOOK_BIT(i)) != 0) {
            json_array_append_new(
                json_object_get(result, "hooks"), json_string(hook_info((enum hook)i)->name));
        }
    }
    json_object_set_new(result, "sees", stage_names(needs.sees));
    json_object_set_new(result, "answers", stage_names(needs.answers));
    script_each_unknown_global(script, on_unknown_global, json_object_get(result, "warnings"));
    if (!conf->worker.allow_exec) {
        warn_of_programs(script, json_object_get(result, "warnings"));
    }
    if (script_offline(script) != NULL) {
        json_object_set_new(result, "offline", json_string(script_offline(script)));
    }
    json_object_set_new(result, "ok", json_true());
}

/* In the child. */
static void check(struct isolate *isolate, void *context)
{
    const struct checking *checking = context;
    int64_t load_ms = checking->conf->multiplexor.load_time;
    json_t *result = result_new(checking->filter);
    struct script *script = NULL;
    char *error = NULL;
    mime_start();
    isolate_say_step(isolate, "loading the filter", load_ms);
    int rc = script_new(checking->conf, checking->filter, load_ms, &script, &error);
    if (rc == 0) {
        describe(checking->conf, script, result);
    } else {
        json_object_set_new(
            result, "error", render_json_text(slice_text(error != NULL ? error : err_text(rc))));
    }
    isolate_say_result(isolate, result);
    json_decref(result);
    free(error);
    script_free(script);
}

json_t *check_load(const struct conf *conf, const char *filter)
{
    struct checking checking = {conf, filter};
    struct isolate_outcome outcome;
    isolate_run(conf, check, &checking, &outcome);
    json_t *result;
    if (outcome.end == ISOLATE_RESULT) {
        result = json_incref(outcome.value);
    } else {
        result = result_new(filter);
        char *text = xasprintf("%s: the process %s", outcome.step, outcome.text);
        json_object_set_new(result, "error", render_json_text(slice_text(text)));
        free(text);
    }
    isolate_outcome_clear(&outcome);
    return result;
}

static void print_list(const json_t *result, const char *label, const char *member)
{
    char *text = render_value(json_object_get(result, member));
    printf("  %-8s ", label);
    render_escaped(stdout, slice_text(text));
    putchar('\n');
    free(text);
}

static void print_result(const json_t *result, const char *filter)
{
    const char *error = json_string_value(json_object_get(result, "error"));
    bool colour = render_can_colour(stdout);
    render_escaped(stdout, slice_text(filter));
    if (error != NULL) {
        printf(": %snot loaded%s\n", render_begin(RENDER_RED, colour), render_end(colour));
        for (const char *line = error; line[0] != 0;) {
            size_t len = strcspn(line, "\n");
            fputs("  ", stdout);
            render_escaped(stdout, slice_of(line, len));
            putchar('\n');
            line += len + (line[len] == '\n');
        }
        return;
    }
    printf(": %sloads%s\n", render_begin(RENDER_GREEN, colour), render_end(colour));
    print_list(result, "hooks", "hooks");
    print_list(result, "sees", "sees");
    print_list(result, "answers", "answers");
    const char *module = json_string_value(json_object_get(result, "offline"));
    if (module != NULL) {
        printf(
            "  note     %s asks over the network; worker.allow_network = no forbids it\n", module);
    }
    size_t i;
    json_t *warning;
    json_array_foreach(json_object_get(result, "warnings"), i, warning)
    {
        printf("  %swarning%s  ", render_begin(RENDER_YELLOW, colour), render_end(colour));
        render_escaped(stdout, slice_text(filter));
        printf(":%lld: ", (long long)json_integer_value(json_object_get(warning, "line")));
        render_escaped(stdout, slice_text(json_string_value(json_object_get(warning, "text"))));
        putchar('\n');
    }
}

int command_check(const struct args *args)
{
    const char *filter = command_argument(args, 0);
    if (access(filter, R_OK) < 0) {
        fprintf(stderr, "posternctl: cannot read %s: %s\n", filter, strerror(errno));
        return EXIT_CODE_USAGE;
    }
    struct conf *conf = server_conf_for_filter(args, filter);
    if (conf == NULL) {
        return EXIT_CODE_USAGE;
    }
    json_t *result = check_load(conf, filter);
    if (args_has(args, ARG_JSON)) {
        render_json_line(stdout, result);
    } else {
        print_result(result, filter);
    }
    bool is_fine = json_is_true(json_object_get(result, "ok")) &&
                   json_array_size(json_object_get(result, "warnings")) == 0;
    json_decref(result);
    conf_free(conf);
    return is_fine ? EXIT_CODE_OK : EXIT_CODE_FOUND;
}
