/*
 * The header scan: one pass that never fails, so that a filter and the MIME parser are never the
 * first to look at a stranger's header. What is odd is reported, not repaired.
 */
#include "common/header.h"

#include <string.h>

#include "common/text.h"

/* A walk over the lines of a block. A line ends with CR LF, LF, or a CR alone. */
struct lines {
    struct slice block;
    size_t at;       /* where the present line begins */
    size_t text_end; /* where its line end begins */
    size_t end;      /* where the next line begins */
    size_t lf; /* the first LF at or after `end`, or the block's length: looked for once, however
                  many CRs are before it */
};

static size_t find_lf(struct slice block, size_t from)
{
    const char *lf = from < block.len ? memchr(block.data + from, '\n', block.len - from) : NULL;

    return lf != NULL ? (size_t)(lf - block.data) : block.len;
}

static struct lines lines_begin(struct slice block)
{
    return (struct lines){.block = block, .lf = find_lf(block, 0)};
}

static bool lines_next(struct lines *lines)
{
    const char *data = lines->block.data;
    const char *cr;

    if (lines->end == lines->block.len)
        return false;
    lines->at = lines->end;
    cr = memchr(data + lines->at, '\r', lines->lf - lines->at);
    lines->text_end = cr != NULL ? (size_t)(cr - data) : lines->lf;
    lines->end = lines->text_end + (lines->text_end < lines->block.len);
    if (cr != NULL && lines->lf < lines->block.len && lines->lf == lines->end)
        lines->end++;
    if (lines->end > lines->lf)
        lines->lf = find_lf(lines->block, lines->end);
    return true;
}

/*
 * The length of a field name at the start of a line (RFC 5322 section 2.2: printable ASCII without
 * colon), and where the colon is. Blanks before the colon are tolerated (section 4.5.3 allows them
 * to be read). 0 when the line is no field.
 */
static size_t name_length(struct slice line, size_t *colon_out)
{
    size_t n = 0, colon;

    while (n < line.len && line.data[n] > 32 && line.data[n] < 127 && line.data[n] != ':')
        n++;
    colon = n;
    while (colon < line.len && text_is_blank(line.data[colon]))
        colon++;
    if (colon == line.len || line.data[colon] != ':')
        return 0;
    *colon_out = colon;
    return n;
}

/* What is odd, and how many fields there can be at most (lines that do not start with a blank). */
static size_t block_inspect(struct slice block, struct header_list *out)
{
    struct lines lines = lines_begin(block);
    size_t n_starts = 0;

    while (lines_next(&lines)) {
        n_starts += lines.at == 0 || !text_is_blank(block.data[lines.at]);
        if (lines.end - lines.text_end == 1) {
            out->has_bare_cr |= block.data[lines.text_end] == '\r';
            out->has_bare_lf |= block.data[lines.text_end] == '\n';
        }
    }
    out->has_nul = block.len > 0 && memchr(block.data, '\0', block.len) != NULL;
    out->has_8bit = !text_is_ascii(block);
    return n_starts;
}

static void field_extend(
    struct header_field *field, struct slice block, size_t text_end, size_t end)
{
    field->value.len = (size_t)(block.data + text_end - field->value.data);
    field->raw.len = (size_t)(block.data + end - field->raw.data);
}

static void field_start(
    struct header_field *field, struct slice line, size_t name_bytes, size_t colon)
{
    size_t value_at = name_bytes > 0 ? colon + 1 : 0;

    field->name = slice_of(line.data, name_bytes);
    field->value = slice_of(line.data + value_at, line.len - value_at);
    field->raw = line;
}

void header_list_scan(
    struct slice block, uint32_t max_fields, struct arena *arena, struct header_list *out)
{
    struct lines lines = lines_begin(block);
    size_t n_most;

    memset(out, 0, sizeof(*out));
    n_most = block_inspect(block, out);
    if (n_most > max_fields)
        n_most = max_fields;
    out->items = arena_calloc(arena, n_most > 0 ? n_most : 1, sizeof(*out->items));

    while (lines_next(&lines)) {
        size_t colon = 0, name_bytes;
        struct slice line = slice_of(block.data + lines.at, lines.text_end - lines.at);

        name_bytes = name_length(line, &colon);
        if (name_bytes == 0 && (out->n == 0 || line.len == 0 || !text_is_blank(line.data[0])))
            out->has_bad_line = true;
        if (name_bytes > 0 || out->n == 0) {
            if (out->n == n_most) {
                out->is_cut = true;
                return;
            }
            field_start(&out->items[out->n++], line, name_bytes, colon);
        }
        field_extend(&out->items[out->n - 1], block, lines.text_end, lines.end);
    }
}

size_t header_block_length(struct slice message, size_t *body_offset_out)
{
    size_t at = 0, colon;

    while (at < message.len) {
        const char *start = message.data + at;
        const char *lf = memchr(start, '\n', message.len - at);
        size_t line_bytes = lf != NULL ? (size_t)(lf - start) : message.len - at;
        size_t text_bytes =
            line_bytes > 0 && start[line_bytes - 1] == '\r' ? line_bytes - 1 : line_bytes;

        if (text_bytes == 0 && lf != NULL) {
            *body_offset_out = at + line_bytes + 1;
            return at;
        }
        if (at == 0 && name_length(slice_of(start, text_bytes), &colon) == 0) {
            *body_offset_out = 0;
            return 0;
        }
        at += lf != NULL ? line_bytes + 1 : line_bytes;
    }
    *body_offset_out = message.len;
    return message.len;
}

const struct header_field *header_find(
    const struct header_list *list, struct slice name, uint32_t nth)
{
    for (uint32_t i = 0; i < list->n && nth > 0; i++)
        if (slice_equal_nocase(list->items[i].name, name) && --nth == 0)
            return &list->items[i];
    return NULL;
}

uint32_t header_count(const struct header_list *list, struct slice name)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < list->n; i++)
        n += slice_equal_nocase(list->items[i].name, name);
    return n;
}
