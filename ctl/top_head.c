#include "ctl/top_head.h"

#include <inttypes.h>

#include "ctl/render.h"

static void put_name(const json_t *status, const char *member, struct buf *line)
{
    char uptime[32];
    render_duration(uptime, sizeof(uptime), render_number_of(status, "uptime_s"));
    (void)buf_printf(line, "%s %s, up %s, generation %" PRId64 ", %s", member,
        render_text_of(status, "version"), uptime, render_number_of(status, "generation"),
        render_text_of(status, "filter"));
}

static void put_workers(const json_t *status, const char *member, struct buf *line)
{
    const json_t *workers = json_object_get(status, member),
                 *queue = json_object_get(status, "queue");
    (void)buf_printf(line,
        "%" PRId64 " busy, %" PRId64 " idle, %" PRId64 " starting, %" PRId64 " ending (%" PRId64
        " to %" PRId64 ")   queue %" PRId64 " of %" PRId64 ", oldest %" PRId64 " ms",
        render_number_of(workers, "busy"), render_number_of(workers, "idle"),
        render_number_of(workers, "starting"), render_number_of(workers, "ending"),
        render_number_of(workers, "min"), render_number_of(workers, "max"),
        render_number_of(queue, "length"), render_number_of(queue, "max"),
        render_number_of(queue, "oldest_ms"));
}

/* Rate and latency of the recent past. */
static void put_spans(const json_t *status, const char *member, struct buf *line)
{
    static const struct {
        const char *key, *shown;
    } spans[] = {{"10s", "10 s"}, {"1m", "1 m"}, {"10m", "10 m"}};
    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
        const json_t *latency = json_object_get(json_object_get(status, member), spans[i].key);
        const json_t *rate = json_object_get(json_object_get(status, "rates"), spans[i].key);
        (void)buf_printf(line, "%s %.1f/s p99 %.3g ms   ", spans[i].shown, json_number_value(rate),
            json_number_value(json_object_get(json_object_get(latency, "hook"), "p99")));
    }
}

/* "continue 12, reject 3": the members that are not 0. */
static void put_counts(const json_t *status, const char *member, struct buf *line)
{
    /* jansson iterates through a non-const pointer and changes nothing. */
    json_t *members = json_deep_copy(json_object_get(status, member));
    const char *name, *between = "";
    json_t *value;
    json_object_foreach(members, name, value)
    {
        if (json_integer_value(value) > 0) {
            (void)buf_printf(
                line, "%s%s %lld", between, name, (long long)json_integer_value(value));
            between = ", ";
        }
    }
    json_decref(members);
    (void)buf_printf(line, "%s", between[0] == 0 ? "none" : "");
}

static const struct {
    const char *label;
    void (*put)(const json_t *status, const char *member, struct buf *line);
    const char *member;
} lines[] = {
    {"", put_name, "postern"},
    {"workers  ", put_workers, "workers"},
    {"hooks    ", put_spans, "latency_ms"},
    {"messages ", put_counts, "messages"},
    {"outcomes ", put_counts, "outcomes"},
    {"recycles ", put_counts, "recycles"},
};

bool top_head_put(const json_t *status, int n, struct buf *line)
{
    if (n < 0 || (size_t)n >= sizeof(lines) / sizeof(lines[0])) {
        return false;
    }
    (void)buf_printf(line, "%s", lines[n].label);
    lines[n].put(status, lines[n].member, line);
    return true;
}
