#include "ctl/render.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/text.h"
#include "common/xalloc.h"
#include "worker/json_text.h"

enum { ESCAPED_MAX = 8192, CELL_MAX = 1024 };

bool render_can_colour(FILE *out)
{
    const char *term = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    return isatty(fileno(out)) && (no_colour == NULL || no_colour[0] == 0) && term != NULL &&
           strcmp(term, "dumb") != 0;
}

const char *render_begin(enum render_colour colour, bool on)
{
    static const char *const sequences[] = {
        [RENDER_PLAIN] = "",
        [RENDER_BOLD] = "\033[1m",
        [RENDER_DIM] = "\033[2m",
        [RENDER_RED] = "\033[31m",
        [RENDER_YELLOW] = "\033[33m",
        [RENDER_GREEN] = "\033[32m",
        [RENDER_CYAN] = "\033[36m",
    };
    return on ? sequences[colour] : "";
}

const char *render_end(bool on)
{
    return on ? "\033[0m" : "";
}

/* Jansson leaves U+007F to U+009F as they are, and terminals act on them. In JSON they can only
 * stand in strings. */
static void put_json_text(FILE *out, const char *text)
{
    for (const char *at = text; *at != 0; at++) {
        unsigned char c = (unsigned char)at[0], next = (unsigned char)at[1];
        if (c == 0x7f) {
            fputs("\\u007f", out);
        } else if (c == 0xc2 && next >= 0x80 && next <= 0x9f) {
            fprintf(out, "\\u%04x", next);
            at++;
        } else {
            putc(c, out);
        }
    }
    putc('\n', out);
}

void render_json_line(FILE *out, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text != NULL) {
        put_json_text(out, text);
    }
    free(text);
    fflush(out);
}

void render_escaped(FILE *out, struct slice text)
{
    char shown[ESCAPED_MAX];
    text_escape(shown, sizeof(shown), text, 0);
    fputs(shown, out);
}

void render_log_line(FILE *out, struct slice line)
{
    char shown[ESCAPED_MAX];
    text_escape_controls(shown, sizeof(shown), line);
    fputs(shown, out);
}

static char *join_values(const json_t *list)
{
    struct buf joined;
    buf_init(&joined, CELL_MAX);
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        char *text = render_value(item);
        int rc = buf_printf(&joined, "%s%s", i > 0 ? " " : "", text);
        free(text);
        if (rc < 0) {
            break;
        }
    }
    char *out = xmemdup0(joined.len > 0 ? (const char *)joined.data : "", joined.len);
    buf_clear(&joined);
    return out;
}

char *render_value(const json_t *value)
{
    if (value == NULL || json_is_null(value)) {
        return xstrdup("-");
    }
    if (json_is_string(value)) {
        return xstrdup(json_string_value(value));
    }
    if (json_is_array(value)) {
        return join_values(value);
    }
    if (json_is_real(value)) {
        return xasprintf("%.3g", json_real_value(value));
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return text != NULL ? text : xstrdup("?");
}

json_t *render_json_text(struct slice text)
{
    return json_text(text);
}

const char *render_text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

int64_t render_number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

void render_time(char *out, size_t out_bytes, int64_t seconds)
{
    time_t at = (time_t)seconds;
    struct tm local;
    if (localtime_r(&at, &local) == NULL ||
        strftime(out, out_bytes, "%Y-%m-%d %H:%M:%S", &local) == 0) {
        snprintf(out, out_bytes, "-");
    }
}

void render_duration(char *out, size_t out_bytes, int64_t seconds)
{
    long long s = seconds > 0 ? seconds : 0;
    if (s < 60) {
        snprintf(out, out_bytes, "%llds", s);
    } else if (s < 3600) {
        snprintf(out, out_bytes, "%lldm %02llds", s / 60, s % 60);
    } else if (s < 86400) {
        snprintf(out, out_bytes, "%lldh %02lldm", s / 3600, s / 60 % 60);
    } else {
        snprintf(out, out_bytes, "%lldd %02lldh", s / 86400, s / 3600 % 24);
    }
}

void render_table_init(struct render_table *table, int n_columns)
{
    *table = (struct render_table){.n_columns = n_columns};
}

void render_table_add(struct render_table *table, const char *text)
{
    if (table->n_cells == table->cap_cells) {
        table->cap_cells = table->cap_cells > 0 ? 2 * table->cap_cells : 64;
        table->cells = xreallocarray(table->cells, (size_t)table->cap_cells, sizeof(char *));
    }
    char shown[CELL_MAX];
    text_escape(shown, sizeof(shown), slice_text(text), 0);
    table->cells[table->n_cells++] = xstrdup(shown);
}

/* Characters on the screen: UTF-8 continuation bytes take no room. */
static int shown_width(const char *text)
{
    int width = 0;
    for (; *text != 0; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

void render_table_print(const struct render_table *table, FILE *out)
{
    int *widths = xcalloc((size_t)table->n_columns, sizeof(int));
    for (int i = 0; i < table->n_cells; i++) {
        int width = shown_width(table->cells[i]);
        int *column = &widths[i % table->n_columns];
        *column = width > *column ? width : *column;
    }
    bool colour = render_can_colour(out);
    for (int i = 0; i < table->n_cells; i++) {
        int column = i % table->n_columns;
        bool is_last = column == table->n_columns - 1;
        bool is_heading = i < table->n_columns;
        fprintf(out, "%s%s%s%*s", render_begin(RENDER_BOLD, colour && is_heading), table->cells[i],
            render_end(colour && is_heading),
            is_last ? 0 : widths[column] - shown_width(table->cells[i]) + 2, "");
        if (is_last) {
            fputc('\n', out);
        }
    }
    free(widths);
}

void render_table_clear(struct render_table *table)
{
    for (int i = 0; i < table->n_cells; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    *table = (struct render_table){0};
}
