/* How posternctl prints: JSON lines, tables, durations; colours only on a terminal; never a raw
 * control character. */
#ifndef POSTERN_CTL_RENDER_H
#define POSTERN_CTL_RENDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/buf.h"

enum render_colour {
    RENDER_PLAIN = 0,
    RENDER_BOLD,
    RENDER_DIM,
    RENDER_RED,
    RENDER_YELLOW,
    RENDER_GREEN,
    RENDER_CYAN
};

/* Whether out is a terminal that wants colours (NO_COLOR unset, TERM not "dumb"). */
bool render_can_colour(FILE *out);
/* Escape sequence that begins a colour; "" when on is false. */
const char *render_begin(enum render_colour colour, bool on);
const char *render_end(bool on);

/* One object on one line. */
void render_json_line(FILE *out, const json_t *value);
/* Bytes with control characters escaped, at most 8 KiB of them. */
void render_escaped(FILE *out, struct slice text);
/* The same for a line of the log, which has escaped its texts already. */
void render_log_line(FILE *out, struct slice line);
/* A JSON value as a cell: strings bare, null as "-", lists joined by blanks, objects as JSON.
 * Malloc'd. */
char *render_value(const json_t *value);
/* Bytes as a JSON string: text that is no UTF-8 is mended with U+FFFD. */
json_t *render_json_text(struct slice text);

/* A member of an object: its text, or ""; its whole number, or -1. What has no such member has the
 * one or the other. */
const char *render_text_of(const json_t *object, const char *name);
int64_t render_number_of(const json_t *object, const char *name);

/* "2026-11-22 09:50:00", local time, of seconds since 1970; "-" when there is no such time. */
void render_time(char *out, size_t out_bytes, int64_t seconds);
/* "45s", "12m 05s", "3h 07m", "4d 02h". */
void render_duration(char *out, size_t out_bytes, int64_t seconds);

/* A table, printed with columns as wide as their widest cell. */
struct render_table {
    int n_columns;
    char **cells; /* owned; rows one after another, the heading first */
    int n_cells, cap_cells;
};
void render_table_init(struct render_table *table, int n_columns);
void render_table_add(struct render_table *table, const char *text); /* copied, escaped */
void render_table_print(const struct render_table *table, FILE *out);
void render_table_clear(struct render_table *table);

#endif
