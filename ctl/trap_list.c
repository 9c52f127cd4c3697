/* posternctl trap list: a row for each entry, the oldest first, as far as it is asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/text.h"
#include "ctl/render.h"
#include "ctl/trap.h"

/* ---- selection ---- */

/* A duration back from now, or a local day or minute. */
static int read_since(const char *text, int64_t *out)
{
    static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"};
    int64_t back_ms;
    if (text_to_ms(text, &back_ms) == 0) {
        *out = clock_wall_ms() - back_ms;
        return 0;
    }
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm local = {.tm_isdst = -1};
        const char *end = strptime(text, formats[i], &local);
        if (end != NULL && *end == 0) {
            *out = (int64_t)mktime(&local) * 1000;
            return 0;
        }
    }
    return -ERR_BAD;
}

static bool holds(const char *text, const char *wanted)
{
    return wanted == NULL || strcasestr(text, wanted) != NULL;
}

static bool has_sender(const json_t *facts, const char *wanted)
{
    const char *sender = render_text_of(facts, "sender");
    if (wanted != NULL && strcmp(wanted, "<>") == 0) {
        return sender[0] == 0;
    }
    return holds(sender, wanted);
}

static bool has_recipient(const json_t *facts, const char *wanted)
{
    size_t i;
    json_t *recipient;
    json_array_foreach(json_object_get(facts, "recipients"), i, recipient)
    {
        if (holds(render_text_of(recipient, "address"), wanted)) {
            return true;
        }
    }
    return wanted == NULL;
}

/* Every --recipient must be there. */
static bool is_selected(const struct args *args, const json_t *facts)
{
    const struct arg_values *recipients = &args->values[ARG_RECIPIENT];
    for (int i = 0; i < recipients->n; i++) {
        if (!has_recipient(facts, recipients->items[i])) {
            return false;
        }
    }
    return has_sender(facts, args_get(args, ARG_SENDER)) &&
           holds(render_text_of(facts, "reason"), args_get(args, ARG_REASON));
}

/* ---- rows ---- */

static json_t *addresses_of(const json_t *facts)
{
    json_t *list = json_array();
    size_t i;
    json_t *recipient;
    json_array_foreach(json_object_get(facts, "recipients"), i, recipient)
    {
        json_array_append_new(list, json_string(render_text_of(recipient, "address")));
    }
    return list;
}

static json_t *row_of(const struct trap_row *entry, const json_t *facts)
{
    static const char *const copied[] = {"kind", "part", "mode", "state", "reason", "where", "uid",
        "queue_id", "sender", "message_id", "subject", "verdict"};
    json_t *row = json_pack("{s:s, s:I, s:I}", "id", entry->id, "time_ms",
        (json_int_t)entry->time_ms, "bytes", (json_int_t)entry->bytes);
    for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
        json_object_set(row, copied[i], json_object_get(facts, copied[i]));
    }
    json_object_set_new(row, "recipients", addresses_of(facts));
    return row;
}

static void add_cell(struct render_table *table, const char *text)
{
    render_table_add(table, text[0] != 0 ? text : "-");
}

static void add_row(struct render_table *table, const json_t *row)
{
    const json_t *recipients = json_object_get(row, "recipients");
    const char *first = json_string_value(json_array_get(recipients, 0));
    const char *sender = render_text_of(row, "sender"), *state = render_text_of(row, "state");
    size_t n = json_array_size(recipients);
    char when[32], to[200];
    render_time(when, sizeof(when), render_number_of(row, "time_ms") / 1000);
    render_table_add(table, when);
    render_table_add(table, render_text_of(row, "id"));
    first = first != NULL ? first : "-";
    if (n > 1) {
        snprintf(to, sizeof(to), "%.150s and %zu more", first, n - 1);
    } else {
        snprintf(to, sizeof(to), "%.150s", first);
    }
    /* What is only a copy, or a part, waits for nobody. */
    add_cell(table, strcmp(state, "kept") != 0 ? state
                    : strcmp(render_text_of(row, "kind"), "part") == 0
                        ? "part"
                        : render_text_of(row, "mode"));
    add_cell(table, sender[0] != 0 ? sender : "<>");
    render_table_add(table, to);
    add_cell(table, render_text_of(row, "subject"));
    add_cell(table, render_text_of(row, "reason"));
}

static void take_entry(
    const struct trap_ctl *ctl, const struct trap_row *entry, struct render_table *table)
{
    json_t *facts = NULL;
    int rc = ctl->store->calls->find(ctl->store, entry->id, &facts);
    if (rc == -ERR_NOTFOUND) { /* it has gone meanwhile */
        return;
    }
    if (rc != 0) {
        trap_ctl_fail(entry->id, rc);
    } else if (is_selected(ctl->args, facts)) {
        json_t *row = row_of(entry, facts);
        if (args_has(ctl->args, ARG_JSON)) {
            render_json_line(stdout, row);
        } else {
            add_row(table, row);
        }
        json_decref(row);
    }
    json_decref(facts);
}

int trap_ctl_list(const struct trap_ctl *ctl, const char *id)
{
    static const char *const headings[] = {
        "when", "id", "state", "from", "to", "subject", "reason"};
    enum { N_COLUMNS = sizeof(headings) / sizeof(headings[0]) };
    const char *since = args_get(ctl->args, ARG_SINCE);
    int64_t since_ms = INT64_MIN;
    struct trap_rows rows;
    struct render_table table;
    (void)id;
    if (since != NULL && read_since(since, &since_ms) != 0) {
        fprintf(stderr, "posternctl: --since takes a duration such as 90m or 2d, or a day such as "
                        "2026-11-22, with a time such as \"2026-11-22 14:30\"\n");
        return EXIT_CODE_USAGE;
    }
    if (ctl->store->calls->list(ctl->store, &rows) != 0) {
        trap_rows_clear(&rows);
        return trap_ctl_fail("the folder", -ERR_SYSTEM);
    }
    render_table_init(&table, N_COLUMNS);
    for (int i = 0; i < N_COLUMNS; i++) {
        render_table_add(&table, headings[i]);
    }
    for (size_t i = 0; i < rows.n; i++) {
        if (rows.items[i].time_ms >= since_ms) {
            take_entry(ctl, &rows.items[i], &table);
        }
    }
    if (!args_has(ctl->args, ARG_JSON) && table.n_cells > N_COLUMNS) {
        render_table_print(&table, stdout);
    } else if (!args_has(ctl->args, ARG_JSON)) {
        printf("none\n");
    }
    render_table_clear(&table);
    trap_rows_clear(&rows);
    return EXIT_CODE_OK;
}
