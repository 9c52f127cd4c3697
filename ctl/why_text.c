#include "ctl/why_text.h"

#include <string.h>

#include "ctl/render.h"
#include "ctl/trace_entry.h"

/* One row of the head: what it is called, and what is made of the object; nothing is printed for an
 * empty text. */
struct row {
    const char *label;
    void (*make)(const json_t *found, struct buf *out);
};

static void put(struct buf *out, const char *before, const char *text)
{
    if (text[0] != 0) {
        (void)buf_printf(out, "%s%s", before, text);
    }
}

static void make_message(const json_t *found, struct buf *out)
{
    put(out, "", render_text_of(found, "uid"));
    put(out, ", queue id ", render_text_of(found, "id"));
    put(out, ", Message-ID ", render_text_of(found, "message_id"));
}

static void make_connection(const json_t *found, struct buf *out)
{
    if (json_object_get(found, "uid") == NULL) {
        put(out, "", render_text_of(json_object_get(found, "connection"), "conn"));
    }
}

static void make_client(const json_t *found, struct buf *out)
{
    const json_t *connection = json_object_get(found, "connection");
    const json_t *from = json_object_get(found, "host") != NULL ? found : connection;
    json_int_t port = trace_entry_number(connection, "port");
    put(out, "", render_text_of(from, "ip"));
    put(out, out->len > 0 ? " " : "", render_text_of(from, "host"));
    if (port > 0) {
        (void)buf_printf(out, ", port %d", (int)port);
    }
    put(out, ", helo ", render_text_of(found, "helo"));
}

static void make_from(const json_t *found, struct buf *out)
{
    put(out, "", render_text_of(found, "from"));
}

static void make_to(const json_t *found, struct buf *out)
{
    json_int_t refused = trace_entry_number(found, "refused");
    json_int_t taken = trace_entry_number(found, "recipients");
    put(out, "", render_text_of(found, "to"));
    if (out->len > 0 && (refused > 0 || taken > 1)) {
        (void)buf_printf(
            out, " (%lld recipients, %lld refused)", (long long)taken, (long long)refused);
    }
}

static void make_verdict(const json_t *found, struct buf *out)
{
    put(out, "", render_text_of(found, "verdict"));
    if (out->len == 0) {
        put(out, "", json_object_get(found, "uid") != NULL ? "none yet" : "");
        return;
    }
    put(out, " at ", render_text_of(found, "stage"));
    put(out, " by ", render_text_of(found, "where"));
}

static void make_remark(const json_t *found, struct buf *out)
{
    trace_entry_remark(found, out);
}

static void make_times(const json_t *found, struct buf *out)
{
    char queue[32], hook[32];
    if (json_object_get(found, "verdict") == NULL) {
        return;
    }
    trace_entry_duration(trace_entry_number(found, "queue_us"), queue, sizeof(queue));
    trace_entry_duration(trace_entry_number(found, "hook_us"), hook, sizeof(hook));
    (void)buf_printf(out, "%lld ms", (long long)trace_entry_number(found, "ms"));
    put(out, ", in the queue ", queue);
    put(out, ", in hooks ", hook);
    (void)buf_printf(out, ", %lld bytes", (long long)trace_entry_number(found, "size"));
}

static void make_log(const json_t *found, struct buf *out)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(found, "log"), name, value)
    {
        (void)buf_printf(out, "%s%s=%s", out->len > 0 ? " " : "", name, json_string_value(value));
    }
}

static void make_end(const json_t *found, struct buf *out)
{
    put(out, "", render_text_of(found, "time"));
}

static void print_head(FILE *out, const json_t *found)
{
    static const struct row rows[] = {
        {"message", make_message},
        {"connection", make_connection},
        {"client", make_client},
        {"from", make_from},
        {"to", make_to},
        {"verdict", make_verdict},
        {"answer", make_remark},
        {"ended", make_end},
        {"took", make_times},
        {"log", make_log},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf text;
        buf_init(&text, TRACE_LINE_MAX);
        rows[i].make(found, &text);
        if (text.len > 0) {
            fprintf(out, "%-11s", rows[i].label);
            render_escaped(out, buf_slice(&text));
            fputc('\n', out);
        }
        buf_clear(&text);
    }
}

static void add_text(struct render_table *table, const char *text)
{
    render_table_add(table, text[0] != 0 ? text : "-");
}

static void add_number(struct render_table *table, json_int_t number)
{
    char text[32] = "";
    if (number > 0) {
        snprintf(text, sizeof(text), "%lld", (long long)number);
    }
    add_text(table, text);
}

static void add_duration(struct render_table *table, json_int_t us)
{
    char text[32];
    trace_entry_duration(us, text, sizeof(text));
    add_text(table, text);
}

static void add_made(
    struct render_table *table, void (*make)(const json_t *, struct buf *), const json_t *entry)
{
    char cell[1000];
    struct buf text;
    buf_init(&text, TRACE_LINE_MAX);
    make(entry, &text);
    snprintf(
        cell, sizeof(cell), "%.*s", (int)text.len, text.len > 0 ? (const char *)text.data : "");
    render_table_add(table, cell);
    buf_clear(&text);
}

/* The recipient that was judged, and what there is to say. */
static void make_note(const json_t *stage, struct buf *out)
{
    struct buf remark;
    buf_init(&remark, TRACE_LINE_MAX);
    trace_entry_remark(stage, &remark);
    put(out, "", render_text_of(stage, "to"));
    if (remark.len > 0) {
        (void)buf_printf(
            out, "%s%.*s", out->len > 0 ? " " : "", (int)remark.len, (const char *)remark.data);
    }
    buf_clear(&remark);
}

static void add_stages(struct render_table *table, const json_t *stages)
{
    size_t i;
    json_t *stage;
    json_array_foreach(stages, i, stage)
    {
        char clock[16];
        trace_entry_clock(stage, clock, sizeof(clock));
        add_text(table, clock);
        add_text(table, render_text_of(stage, "stage"));
        add_text(table, render_text_of(stage, "verdict"));
        add_text(table, render_text_of(stage, "where"));
        add_duration(table, trace_entry_number(stage, "queue_us"));
        add_duration(table, trace_entry_number(stage, "hook_us"));
        add_number(table, trace_entry_number(stage, "worker"));
        add_number(table, trace_entry_number(stage, "generation"));
        add_number(table, trace_entry_number(stage, "attempts"));
        add_made(table, make_note, stage);
    }
}

static void print_stages(FILE *out, const json_t *found)
{
    static const char *const headings[] = {
        "TIME", "STAGE", "VERDICT", "BY", "QUEUE", "HOOK", "WORKER", "GEN", "TRIES", "WHAT"};
    enum { N_COLUMNS = sizeof(headings) / sizeof(headings[0]) };
    struct render_table table;
    render_table_init(&table, N_COLUMNS);
    for (int i = 0; i < N_COLUMNS; i++) {
        render_table_add(&table, headings[i]);
    }
    add_stages(&table, json_object_get(json_object_get(found, "connection"), "stages"));
    add_stages(&table, json_object_get(found, "stages"));
    if (table.n_cells > N_COLUMNS) {
        fputc('\n', out);
        render_table_print(&table, out);
    }
    render_table_clear(&table);
}

static void print_actions(FILE *out, const json_t *found)
{
    size_t i;
    json_t *action;
    json_array_foreach(json_object_get(found, "actions"), i, action)
    {
        struct buf text;
        buf_init(&text, TRACE_LINE_MAX);
        trace_entry_change(action, &text);
        fputs(i == 0 ? "\n" : "", out);
        render_escaped(out, buf_slice(&text));
        fputc('\n', out);
        buf_clear(&text);
    }
}

void why_text_print(FILE *out, const json_t *found, bool is_first)
{
    fputs(is_first ? "" : "\n", out);
    print_head(out, found);
    print_stages(out, found);
    print_actions(out, found);
}
