/* posternctl status: one screen about the running system, from the server's data; what it does not
 * tell is left out. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/server.h"

enum { USER_ROWS = 10 };

static const json_t *find(const json_t *data, const char *name)
{
    return json_object_get(data, name);
}

static void print_label(const char *label)
{
    printf("%-12s ", label);
}

/* A line for a plain value. */
static void print_value(const char *label, const json_t *value)
{
    if (value == NULL || json_is_null(value)) {
        return;
    }
    char *text = render_value(value);
    print_label(label);
    render_escaped(stdout, slice_text(text));
    putchar('\n');
    free(text);
}

/*
 * "name value, name value" of an object's members; objects within as "name (a 1, b 2)", always
 * without what is 0.
 */
static void print_members(const json_t *object, bool has_zeros)
{
    /* jansson iterates through a non-const pointer and changes nothing. */
    json_t *members = json_deep_copy(object);
    const char *name;
    json_t *value;
    bool is_first = true;
    json_object_foreach(members, name, value)
    {
        if (!has_zeros && json_is_integer(value) && json_integer_value(value) == 0) {
            continue;
        }
        printf("%s", is_first ? "" : ", ");
        is_first = false;
        render_escaped(stdout, slice_text(name));
        if (json_is_object(value)) {
            printf(" (");
            print_members(value, false);
            printf(")");
        } else {
            char *text = render_value(value);
            putchar(' ');
            render_escaped(stdout, slice_text(text));
            free(text);
        }
    }
    printf("%s", is_first ? "none" : "");
    json_decref(members);
}

static void print_object(const char *label, const json_t *object, bool has_zeros)
{
    if (!json_is_object(object) || json_object_size(object) == 0) {
        return;
    }
    print_label(label);
    print_members(object, has_zeros);
    putchar('\n');
}

static void print_head(const json_t *data)
{
    char uptime[32];
    render_duration(uptime, sizeof(uptime), json_integer_value(find(data, "uptime_s")));
    const char *version = json_string_value(find(data, "version"));
    print_label("postern");
    render_escaped(stdout, slice_text(version != NULL ? version : "?"));
    printf(", pid %lld, up %s%s\n", (long long)json_integer_value(find(data, "pid")), uptime,
        json_is_true(find(data, "is_draining")) ? ", draining: new mail is turned away" : "");
}

static void print_filter(const json_t *data)
{
    print_value("filter", find(data, "filter"));
    print_value("generation", find(data, "generation"));
    print_value("loaded at", find(data, "loaded_at"));
    print_value("hooks", find(data, "hooks"));
    const char *error = json_string_value(find(data, "filter_error"));
    if (error != NULL) {
        bool colour = render_can_colour(stdout);
        print_label("not loaded");
        printf("%s", render_begin(RENDER_RED, colour));
        render_escaped(stdout, slice_text(error));
        printf("%s\n", render_end(colour));
    }
}

static void print_generations(const json_t *data)
{
    const json_t *list = find(data, "generations");
    if (json_array_size(list) < 2) {
        return;
    }
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        print_object(i == 0 ? "generations" : "", item, true);
    }
}

static void print_limits(const json_t *data)
{
    size_t i;
    json_t *item;
    json_array_foreach(find(data, "limits"), i, item)
    {
        print_object(i == 0 ? "limits" : "", item, true);
    }
}

/* What the filter counts: not more of it than a screen takes. */
static void print_user(const json_t *data)
{
    json_t *counts = json_deep_copy(find(data, "user"));
    const char *name;
    json_t *value;
    size_t n = 0;
    json_object_foreach(counts, name, value)
    {
        if (n++ == USER_ROWS) {
            print_label("");
            printf("and %zu more: posternctl metrics\n", json_object_size(counts) - USER_ROWS);
            break;
        }
        print_label(n == 1 ? "filter's" : "");
        render_escaped(stdout, slice_text(name));
        printf(" %lld\n", (long long)json_integer_value(value));
    }
    json_decref(counts);
}

/* The filter that is tried, beside the current one; and what became of the last. */
static void print_canary(const json_t *data)
{
    const json_t *canary = find(data, "canary"), *last = find(data, "canary_last");
    if (json_is_object(canary)) {
        print_label("canary");
        char age[32], time[32];
        int64_t time_s = json_integer_value(find(canary, "time_s"));
        render_duration(age, sizeof(age), json_integer_value(find(canary, "age_s")));
        render_duration(time, sizeof(time), time_s);
        printf("%lld %% of the clients for %s, ",
            (long long)json_integer_value(find(canary, "share")), age);
        if (time_s > 0) {
            printf("takes over after %s and %lld runs\n", time,
                (long long)json_integer_value(find(canary, "least_runs")));
        } else {
            printf("takes over when told to\n");
        }
        print_object("  candidate", find(canary, "candidate"), true);
        print_object("  current", find(canary, "current"), true);
    } else if (json_is_object(last)) {
        print_object("last canary", last, true);
    }
}

/* The filter that runs beside, when there is one. */
static void print_shadow(const json_t *data)
{
    json_t *shadow = json_copy((json_t *)(uintptr_t)find(data, "shadow"));
    if (json_is_true(find(shadow, "is_running"))) {
        json_object_del(shadow, "is_running");
        json_object_del(shadow, "error");
        print_object("shadow", shadow, true);
    }
    json_decref(shadow);
}

static double figure(const json_t *data, const char *a, const char *b, const char *c)
{
    return json_number_value(find(find(find(data, a), b), c));
}

/* Rates and latencies, a line for each span of time. */
static void print_spans(const json_t *data)
{
    static const struct {
        const char *label, *member;
    } spans[] = {{"last 10 s", "10s"}, {"last 1 m", "1m"}, {"last 10 m", "10m"}};
    const json_t *rates = find(data, "rates"), *latency = find(data, "latency_ms");
    if (rates == NULL || latency == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
        const char *member = spans[i].member;
        print_label(spans[i].label);
        printf("%.1f requests/s, hook p50 %.3g ms p99 %.3g ms, queue p50 %.3g ms p99 %.3g ms\n",
            json_number_value(find(rates, member)), figure(latency, member, "hook", "p50"),
            figure(latency, member, "hook", "p99"), figure(latency, member, "queue", "p50"),
            figure(latency, member, "queue", "p99"));
    }
}

/* A line for each text that one front end or more has. */
static void print_front_sandboxes(const json_t *texts)
{
    size_t i;
    json_t *text;
    json_array_foreach(texts, i, text)
    {
        print_value("milterd", text);
    }
}

static void print_status(const json_t *data)
{
    static const struct {
        const char *label, *member;
        bool has_zeros; /* else members that are 0 are left out */
    } objects[] = {
        {"workers", "workers", true},
        {"throttled", "throttle", true},
        {"queue", "queue", true},
        {"requests", "requests", true},
        {"verdicts", "verdicts", true},
        {"messages", "messages", true},
        {"outcomes", "outcomes", false},
        {"front ends", "front", false},
        {"recycles", "recycles", false},
        {"ticks", "ticks", false},
    };
    print_head(data);
    print_filter(data);
    print_generations(data);
    print_canary(data);
    print_shadow(data);
    print_spans(data);
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        print_object(objects[i].label, find(data, objects[i].member), objects[i].has_zeros);
    }
    print_limits(data);
    print_user(data);
    print_value("retries", find(data, "retries"));
    print_value("clients", find(data, "clients"));
    print_value("sandbox", find(data, "sandbox"));
    print_value("multiplexor", find(data, "multiplexor_sandbox"));
    print_front_sandboxes(find(data, "front_sandboxes"));
}

int command_status(const struct args *args)
{
    json_t *data = NULL;
    int code = server_ask(args, "status", NULL, 0, &data);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    if (args_has(args, ARG_JSON)) {
        render_json_line(stdout, data);
    } else {
        print_status(data);
    }
    json_decref(data);
    return EXIT_CODE_OK;
}
