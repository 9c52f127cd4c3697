#include "ctl/top_screen.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xalloc.h"
#include "ctl/render.h"
#include "ctl/top_head.h"

enum { LINE_MAX_BYTES = 8192, CELL_BYTES = 160, WIDE_COLUMNS = 100, FLEXIBLE_MIN = 8 };

/* A worker, as shown and as sorted by. */
struct row {
    int64_t pid, generation, state_ms, age_s, requests, heap_kb, rss_kb, pss_kb, rank;
    const char *state, *hook, *message; /* borrowed from the data */
};

enum cell { CELL_NUMBER = 0, CELL_DURATION, CELL_MEMORY, CELL_TEXT };

static const struct column {
    const char *heading;
    enum cell cell;
    int width;          /* 0: what the others leave */
    bool is_wide_only;  /* not in a narrow window */
    bool is_descending; /* the greatest first, unless reversed */
    size_t number; /* offset of the int64_t in struct row to sort by; of a text, of its rank or 0 */
    size_t text;   /* CELL_TEXT: offset of the text */
} columns[] = {
    {"STATE", CELL_TEXT, 8, false, false, offsetof(struct row, rank), offsetof(struct row, state)},
    {"PID", CELL_NUMBER, 7, false, false, offsetof(struct row, pid), 0},
    {"FOR", CELL_DURATION, 7, false, true, offsetof(struct row, state_ms), 0},
    {"HOOK", CELL_TEXT, 9, false, false, SIZE_MAX, offsetof(struct row, hook)},
    {"MESSAGE", CELL_TEXT, 0, false, false, SIZE_MAX, offsetof(struct row, message)},
    {"REQUESTS", CELL_NUMBER, 8, false, true, offsetof(struct row, requests), 0},
    {"RSS", CELL_MEMORY, 6, false, true, offsetof(struct row, rss_kb), 0},
    {"PSS", CELL_MEMORY, 6, false, true, offsetof(struct row, pss_kb), 0},
    {"LUA", CELL_MEMORY, 6, true, true, offsetof(struct row, heap_kb), 0},
    {"AGE", CELL_DURATION, 7, true, true, offsetof(struct row, age_s), 0},
    {"GEN", CELL_NUMBER, 4, false, true, offsetof(struct row, generation), 0},
};

enum { N_COLUMNS = sizeof(columns) / sizeof(columns[0]) };

static bool is_shown(const struct top_view *view, const struct column *column)
{
    return !column->is_wide_only || view->columns >= WIDE_COLUMNS;
}

int top_screen_n_columns(const struct top_view *view)
{
    int n = 0;
    for (int i = 0; i < N_COLUMNS; i++) {
        n += is_shown(view, &columns[i]);
    }
    return n;
}

/* The n-th of those shown. */
static const struct column *column_at(const struct top_view *view, int n)
{
    for (int i = 0; i < N_COLUMNS; i++) {
        if (is_shown(view, &columns[i]) && n-- == 0) {
            return &columns[i];
        }
    }
    return &columns[0];
}

/* One line of the frame: cut at the window's edge, never a control character of the data's. */
static void put_line(const struct top_view *view, struct buf *frame, enum render_colour colour,
    bool is_inverse, const char *text)
{
    char shown[LINE_MAX_BYTES];
    text_escape_controls(shown, sizeof(shown), slice_text(text));
    size_t bytes = 0;
    int width = 0;
    for (; shown[bytes] != 0; bytes++) {
        bool is_start = ((unsigned char)shown[bytes] & 0xc0) != 0x80;
        if (is_start && width++ == view->columns) {
            break;
        }
    }
    (void)buf_printf(frame, "%s%s%.*s\033[0m\033[K", is_inverse ? "\033[7m" : "",
        render_begin(colour, view->has_colour), (int)bytes, shown);
}

static void end_line(struct buf *frame)
{
    (void)buf_printf(frame, "\r\n");
}

/* Those that work first, those that end last. */
static int64_t rank_of(const char *state)
{
    static const char *const order[] = {"busy", "starting", "forking", "idle", "quitting"};
    int64_t rank = 0;
    while (rank < (int64_t)(sizeof(order) / sizeof(order[0])) && strcmp(order[rank], state) != 0) {
        rank++;
    }
    return rank;
}

static void fill_row(const json_t *worker, struct row *row)
{
    static const char prefix[] = "filter_";
    const char *hook = render_text_of(worker, "hook"),
               *queue_id = render_text_of(worker, "queue_id");
    *row = (struct row){
        .pid = render_number_of(worker, "pid"),
        .generation = render_number_of(worker, "generation"),
        .state_ms = render_number_of(worker, "state_ms"),
        .age_s = render_number_of(worker, "age_s"),
        .requests = render_number_of(worker, "requests"),
        .heap_kb = render_number_of(worker, "heap_kb"),
        .rss_kb = render_number_of(worker, "rss_kb"),
        .pss_kb = render_number_of(worker, "pss_kb"),
        .state = render_text_of(worker, "state"),
        .hook = strncmp(hook, prefix, strlen(prefix)) == 0 ? hook + strlen(prefix) : hook,
        .message = queue_id[0] != 0 ? queue_id : render_text_of(worker, "uid"),
    };
    row->rank = rank_of(row->state);
    if (row->rss_kb < 0) {
        row->rss_kb = render_number_of(worker, "resident_kb"); /* as the server last saw it */
    }
}

static int64_t number_in(const struct row *row, size_t offset)
{
    int64_t value;
    memcpy(&value, (const char *)row + offset, sizeof(value));
    return value;
}

static const char *text_in(const struct row *row, size_t offset)
{
    const char *text;
    memcpy(&text, (const char *)row + offset, sizeof(text));
    return text;
}

static int compare(const void *left, const void *right, void *context)
{
    const struct row *a = left, *b = right;
    const struct top_view *view = context;
    const struct column *column = column_at(view, view->sort);
    int order;
    if (column->number == SIZE_MAX) {
        order = strcmp(text_in(a, column->text), text_in(b, column->text));
    } else {
        int64_t x = number_in(a, column->number), y = number_in(b, column->number);
        order = (x > y) - (x < y);
    }
    if (column->is_descending != view->is_reversed) {
        order = -order;
    }
    if (order == 0) {
        order = (a->state_ms < b->state_ms) - (a->state_ms > b->state_ms);
    }
    return order != 0 ? order : (a->pid > b->pid) - (a->pid < b->pid);
}

static void memory_text(char *out, size_t out_bytes, int64_t kb)
{
    if (kb < 0) {
        snprintf(out, out_bytes, "-");
    } else if (kb < 1000) {
        snprintf(out, out_bytes, "%" PRId64 "K", kb);
    } else if (kb < 1024000) {
        snprintf(out, out_bytes, "%.1fM", (double)kb / 1024);
    } else {
        snprintf(out, out_bytes, "%.1fG", (double)kb / 1048576);
    }
}

static void duration_text(char *out, size_t out_bytes, int64_t ms)
{
    if (ms < 10000) {
        snprintf(out, out_bytes, "%.1fs", (double)(ms > 0 ? ms : 0) / 1000);
    } else {
        render_duration(out, out_bytes, ms / 1000);
    }
}

static void cell_text(const struct column *column, const struct row *row, char *out, size_t bytes)
{
    switch (column->cell) {
    case CELL_NUMBER:
        snprintf(out, bytes, "%" PRId64, number_in(row, column->number));
        break;
    case CELL_DURATION:
        duration_text(out, bytes,
            number_in(row, column->number) *
                (column->number == offsetof(struct row, age_s) ? 1000 : 1));
        break;
    case CELL_MEMORY:
        memory_text(out, bytes, number_in(row, column->number));
        break;
    case CELL_TEXT:
        text_escape(out, bytes, slice_text(text_in(row, column->text)), 0);
        break;
    }
}

/* A line of the table: row NULL is the heading. */
static void table_line(const struct top_view *view, const struct row *row, char *line, size_t bytes)
{
    int fixed = 0;
    size_t at = 0;
    for (int i = 0; i < N_COLUMNS; i++) {
        fixed += is_shown(view, &columns[i]) ? columns[i].width + 1 : 0;
    }
    int flexible = view->columns - fixed > FLEXIBLE_MIN ? view->columns - fixed : FLEXIBLE_MIN;
    line[0] = 0;
    for (int i = 0; i < N_COLUMNS && at < bytes - 1; i++) {
        const struct column *column = &columns[i];
        char cell[CELL_BYTES];
        if (!is_shown(view, column)) {
            continue;
        }
        int width = column->width > 0 ? column->width : flexible;
        bool is_left = column->cell == CELL_TEXT;
        if (row != NULL) {
            cell_text(column, row, cell, sizeof(cell));
        } else {
            snprintf(cell, sizeof(cell), "%s", column->heading);
        }
        int n = snprintf(line + at, bytes - at, "%*.*s ", is_left ? -width : width, width, cell);
        at += n > 0 ? (size_t)n : 0;
    }
}

/* Returns the number of lines drawn. */
static int draw_head(
    const struct top_view *view, const json_t *status, const char *trouble, struct buf *frame)
{
    char *error = xasprintf("not loaded: %s", render_text_of(status, "filter_error"));
    int n = 0;
    for (; n < view->rows - 1; n++) {
        struct buf line;
        buf_init(&line, LINE_MAX_BYTES);
        bool is_there = status != NULL && top_head_put(status, n, &line);
        (void)buf_put_u8(&line, 0);
        if (is_there) {
            put_line(
                view, frame, n == 0 ? RENDER_BOLD : RENDER_PLAIN, false, (const char *)line.data);
            end_line(frame);
        }
        buf_clear(&line);
        if (!is_there) {
            break;
        }
    }
    const char *bad = trouble != NULL                                  ? trouble
                      : render_text_of(status, "filter_error")[0] != 0 ? error
                                                                       : "";
    if (n < view->rows - 1) {
        put_line(view, frame, RENDER_RED, false, bad);
        end_line(frame);
        n++;
    }
    free(error);
    return n;
}

static void draw_rows(
    const struct top_view *view, const json_t *workers, int n_lines, struct buf *frame)
{
    size_t n = json_array_size(workers);
    struct row *rows = xcalloc(n > 0 ? n : 1, sizeof(*rows));
    char line[LINE_MAX_BYTES];
    for (size_t i = 0; i < n; i++) {
        fill_row(json_array_get(workers, i), &rows[i]);
    }
    struct top_view order = *view;
    qsort_r(rows, n, sizeof(*rows), compare, &order);
    for (int i = 0; i < n_lines; i++) {
        bool is_row = (size_t)i < n;
        if (is_row) {
            table_line(view, &rows[i], line, sizeof(line));
        }
        put_line(view, frame, is_row && rows[i].rank > 0 ? RENDER_DIM : RENDER_PLAIN, false,
            is_row ? line : "");
        end_line(frame);
    }
    free(rows);
}

void top_screen_draw(const struct top_view *view, const json_t *status, const json_t *workers,
    const char *trouble, struct buf *frame)
{
    char line[LINE_MAX_BYTES];
    (void)buf_printf(frame, "\033[H");
    int used = draw_head(view, status, trouble, frame);
    if (used < view->rows - 1) {
        table_line(view, NULL, line, sizeof(line));
        put_line(view, frame, RENDER_PLAIN, true, line);
        end_line(frame);
        used++;
    }
    draw_rows(view, workers, view->rows - 1 - used, frame);
    snprintf(line, sizeof(line), "q quit   s sort by the next column (now %s)   r reverse",
        column_at(view, view->sort)->heading);
    put_line(view, frame, RENDER_DIM, false, line);
    (void)buf_printf(frame, "\033[J");
}
