/* posternctl shadow: runs a filter beside the one in service, ends it, shows where they differ. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/server.h"

enum {
    LOAD_TIMEOUT_MS = 900000
}; /* load_time of the server bounds it; this is above any sensible one */

static long long number(const json_t *data, const char *name)
{
    return (long long)json_integer_value(json_object_get(data, name));
}

static void print_text(const json_t *data, const char *name)
{
    const char *text = json_string_value(json_object_get(data, name));
    render_escaped(stdout, slice_text(text != NULL ? text : "-"));
}

/* "reject 550 5.7.1 no (filter.lua:3)", and the actions below it. */
static void print_answer(const char *label, const json_t *answer)
{
    const char *outcome = json_string_value(json_object_get(answer, "outcome"));
    const char *actions = json_string_value(json_object_get(answer, "actions"));
    const char *where = json_string_value(json_object_get(answer, "where"));
    printf("  %-8s", label);
    print_text(answer, "verdict");
    if (number(answer, "code") > 0) {
        printf(" %lld ", number(answer, "code"));
        print_text(answer, "dsn");
        printf(" ");
        print_text(answer, "text");
    }
    if (outcome != NULL && strcmp(outcome, "ok") != 0) {
        printf(" [%s]", outcome);
    }
    if (where != NULL && where[0] != '\0') {
        printf(" (");
        print_text(answer, "where");
        printf(")");
    }
    if (actions != NULL && actions[0] != '\0') {
        printf("\n          ");
        print_text(answer, "actions");
    }
    printf("\n");
}

static void print_samples(const json_t *samples)
{
    for (size_t i = 0; i < json_array_size(samples); i++) {
        const json_t *sample = json_array_get(samples, i);
        const char *queue_id = json_string_value(json_object_get(sample, "queue_id"));
        printf("\n");
        print_text(sample, "hook");
        printf(" of ");
        print_text(sample, "uid");
        if (queue_id != NULL && queue_id[0] != '\0') {
            printf(", ");
            print_text(sample, "queue_id");
        }
        printf("\n");
        print_answer("live", json_object_get(sample, "live"));
        print_answer("shadow", json_object_get(sample, "shadow"));
    }
}

static void print_list(const char *label, const json_t *value)
{
    if (json_array_size(value) == 0) {
        return;
    }
    char *text = render_value(value);
    printf("%-12s ", label);
    render_escaped(stdout, slice_text(text));
    printf("\n");
    free(text);
}

static void print_shadow(const json_t *data)
{
    bool is_running = json_is_true(json_object_get(data, "is_running"));
    printf("%-12s ", "shadow");
    print_text(data, "filter");
    if (is_running) {
        printf(", generation %lld, workers %lld\n", number(data, "generation"),
            number(data, "workers"));
    } else {
        printf(", %s\n", number(data, "generation") > 0 ? "loading" : "not running");
    }
    if (json_is_string(json_object_get(data, "error"))) {
        printf("%-12s ", "error");
        print_text(data, "error");
        printf("\n");
    }
    print_list("not run", json_object_get(data, "missed_hooks"));
    printf("%-12s %lld, same %lld\n", "compared", number(data, "compared"), number(data, "same"));
    printf("%-12s verdict %lld, reply %lld, actions %lld\n", "differ in", number(data, "verdicts"),
        number(data, "replies"), number(data, "actions"));
    printf("%-12s failed %lld, left out %lld, begun too early %lld\n", "hooks",
        number(data, "errors"), number(data, "dropped"), number(data, "incomplete"));
    print_samples(json_object_get(data, "samples"));
}

static void say_started(const json_t *data)
{
    printf("shadow: generation %lld\n", number(data, "generation"));
}

static void say_stopped(const json_t *data)
{
    (void)data;
    printf("shadow: stopped\n");
}

/* The server's working folder is another one. */
static json_t *start_question(const char *filter)
{
    char *path = realpath(filter, NULL);
    json_t *question = NULL;
    if (path == NULL) {
        fprintf(stderr, "posternctl: %s: %s\n", filter, strerror(errno));
    } else if ((question = json_pack("{s:s}", "filter", path)) == NULL) {
        fprintf(stderr, "posternctl: the filter's path must be UTF-8\n");
    }
    free(path);
    return question;
}

int command_shadow(const struct args *args)
{
    const char *what = command_n_arguments(args) > 0 ? command_argument(args, 0) : NULL;
    bool is_stop = what != NULL && strcmp(what, "stop") == 0;
    bool is_start = what != NULL && !is_stop;
    json_t *question = is_start ? start_question(what) : NULL, *data = NULL;
    if (is_start && question == NULL) {
        return EXIT_CODE_USAGE;
    }
    int code = server_ask(args,
        is_start  ? "shadow_start"
        : is_stop ? "shadow_stop"
                  : "shadow",
        question, is_start ? LOAD_TIMEOUT_MS : 0, &data);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    if (args_has(args, ARG_JSON)) {
        render_json_line(stdout, data);
    } else {
        (is_start ? say_started : is_stop ? say_stopped : print_shadow)(data);
    }
    json_decref(data);
    return EXIT_CODE_OK;
}
