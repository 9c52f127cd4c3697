#include "ctl/trace_entry.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/render.h"

static json_t *time_json(int64_t time_us)
{
    char text[64], day[32];
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL) {
        return json_null();
    }
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof(text), "%s.%06dZ", day, (int)(time_us % 1000000));
    return json_string(text);
}

/* "name=value" into the object of that member. */
static void add_pair(json_t *entry, const char *member, struct slice pair)
{
    json_t *pairs = json_object_get(entry, member);
    if (pairs == NULL) {
        pairs = json_object();
        json_object_set_new(entry, member, pairs);
    }
    const char *equals = pair.len > 0 ? memchr(pair.data, '=', pair.len) : NULL;
    size_t len = equals != NULL ? (size_t)(equals - pair.data) : pair.len;
    json_t *name = render_json_text(slice_of(pair.data, len));
    size_t past = equals != NULL ? len + 1 : len;
    json_object_set_new(pairs, json_string_value(name),
        render_json_text(slice_of(pair.data + past, pair.len - past)));
    json_decref(name);
}

static void add_field(json_t *entry, const struct trace_value *value)
{
    const struct trace_field_info *info = trace_field_info(value->field);
    if (info == NULL) {
        return;
    }
    switch (info->type) {
    case TRACE_TYPE_TEXT:
        json_object_set_new(entry, info->member, render_json_text(value->text));
        break;
    case TRACE_TYPE_NUMBER:
        json_object_set_new(
            entry, info->member, json_integer((json_int_t)(value->number & INT64_MAX)));
        break;
    case TRACE_TYPE_PAIR:
        add_pair(entry, info->member, value->text);
        break;
    }
}

json_t *trace_entry_json(struct slice bytes)
{
    struct trace_view view;
    struct trace_value value;
    if (trace_view_read(bytes, &view) != 0 || trace_kind_name(view.kind) == NULL) {
        return NULL;
    }
    json_t *entry = json_object();
    json_object_set_new(entry, "time", time_json(view.time_us));
    json_object_set_new(entry, "kind", json_string(trace_kind_name(view.kind)));
    while (trace_view_next(&view.fields, &value) == 0) {
        add_field(entry, &value);
    }
    if (view.is_cut) {
        json_object_set_new(entry, "cut", json_true());
    }
    return entry;
}

json_int_t trace_entry_number(const json_t *entry, const char *member)
{
    return json_integer_value(json_object_get(entry, member));
}

void trace_entry_clock(const json_t *entry, char *out, size_t out_bytes)
{
    const char *time = render_text_of(entry, "time");
    snprintf(out, out_bytes, "%.12s", strlen(time) > 11 ? time + 11 : "");
}

void trace_entry_duration(json_int_t us, char *out, size_t out_bytes)
{
    out[0] = 0;
    if (us >= 10000000) {
        snprintf(out, out_bytes, "%.3g s", (double)us / 1e6);
    } else if (us >= 1000) {
        snprintf(out, out_bytes, "%.3g ms", (double)us / 1e3);
    } else if (us > 0) {
        snprintf(out, out_bytes, "%d us", (int)us);
    }
}

/* Adds a text after a separator, when there is something before it. */
static void add(struct buf *out, const char *separator, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(struct buf *out, const char *separator, const char *format, ...)
{
    char text[TRACE_LINE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (text[0] != 0) {
        (void)buf_printf(out, "%s%s", out->len > 0 ? separator : "", text);
    }
}

void trace_entry_remark(const json_t *entry, struct buf *out)
{
    json_int_t code = trace_entry_number(entry, "code");
    json_int_t delay_ms = trace_entry_number(entry, "delay_ms");
    const char *dsn = render_text_of(entry, "dsn");
    if (code != 0) {
        add(out, ", ", "%d %s%s%s", (int)code, dsn, dsn[0] != 0 ? " " : "",
            render_text_of(entry, "text"));
    }
    add(out, ", ", "%s", render_text_of(entry, "outcome"));
    add(out, ": ", "%s", render_text_of(entry, "error"));
    if (delay_ms > 0) {
        add(out, ", ", "after a delay of %lld ms", (long long)delay_ms);
    }
}

void trace_entry_change(const json_t *entry, struct buf *out)
{
    json_int_t more = trace_entry_number(entry, "more");
    json_int_t bytes = trace_entry_number(entry, "bytes");
    json_int_t index = trace_entry_number(entry, "index");
    const char *name = render_text_of(entry, "name");
    const char *value = render_text_of(entry, "value");
    if (more > 0) {
        add(out, "", "and %lld more", (long long)more);
        return;
    }
    add(out, " ", "%s", render_text_of(entry, "action"));
    if (index > 0) {
        add(out, " ", "#%lld", (long long)index);
    }
    add(out, " ", "%s%s", name, name[0] != 0 && value[0] != 0 ? ":" : "");
    add(out, " ", "%s", value);
    add(out, " ", "%s", render_text_of(entry, "address"));
    add(out, " ", "%s", render_text_of(entry, "args"));
    if (bytes > 0) {
        add(out, " ", "%lld bytes", (long long)bytes);
    }
}

static void add_place(const json_t *entry, struct buf *out)
{
    const char *where = render_text_of(entry, "where");
    if (where[0] != 0) {
        add(out, " ", "by %s", where);
    }
}

static void add_verdict(const json_t *entry, struct buf *out)
{
    struct buf remark;
    add(out, " ", "%s", render_text_of(entry, "verdict"));
    buf_init(&remark, TRACE_LINE_MAX);
    trace_entry_remark(entry, &remark);
    if (remark.len > 0) {
        add(out, " ", "%.*s", (int)remark.len, (const char *)remark.data);
    }
    buf_clear(&remark);
    add_place(entry, out);
}

static void add_client(const json_t *entry, struct buf *out)
{
    const char *host = render_text_of(entry, "host");
    add(out, " ", "%s", render_text_of(entry, "ip"));
    if (host[0] != 0) {
        add(out, " ", "(%s)", host);
    }
}

static void add_stage(const json_t *entry, struct buf *out)
{
    char hook[32];
    add(out, " ", "%s", render_text_of(entry, "stage"));
    add(out, " ", "%s", render_text_of(entry, "to"));
    add_verdict(entry, out);
    trace_entry_duration(trace_entry_number(entry, "hook_us"), hook, sizeof(hook));
    if (hook[0] != 0) {
        add(out, " ", "in %s", hook);
    }
}

static void add_message(const json_t *entry, struct buf *out)
{
    add_client(entry, out);
    add(out, " ", "from %s", render_text_of(entry, "from"));
    add(out, " ", "to %s:", render_text_of(entry, "to"));
    add_verdict(entry, out);
    add(out, ", ", "%s", render_text_of(entry, "summary"));
    add(out, ", ", "%lld ms", (long long)trace_entry_number(entry, "ms"));
}

void trace_entry_line(const json_t *entry, struct buf *out)
{
    static const struct {
        const char *kind;
        void (*add)(const json_t *entry, struct buf *out);
    } rows[] = {
        {"connection", add_client},
        {"stage", add_stage},
        {"action", trace_entry_change},
        {"message", add_message},
    };
    const char *kind = render_text_of(entry, "kind");
    const char *const ids[] = {"id", "uid", "conn"};
    char clock[16];
    trace_entry_clock(entry, clock, sizeof(clock));
    add(out, "", "%s", clock);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        if (render_text_of(entry, ids[i])[0] != 0) {
            add(out, " ", "%s", render_text_of(entry, ids[i]));
            break;
        }
    }
    add(out, " ", "%s", kind);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].kind, kind) == 0) {
            rows[i].add(entry, out);
        }
    }
}
