/*
 * One reading of a region: one pass over the lines that may be boundaries, with a stack of the
 * parts that are open. A boundary closes parts and opens the next; what stands outside of all parts
 * is looked at for fields of one.
 */
#include "worker/mime_region.h"

#include "common/text.h"

static bool begins_part(struct slice line)
{
    return mime_begins_with(line, "content-") && memchr(line.data, ':', line.len) != NULL;
}

/* Whether a field of a part stands between gap and end. */
static void check_gap(struct mime_region_scan *scan, struct mime_node *node, size_t end)
{
    if (node->gap == NULL)
        return;
    size_t pos = (size_t)(node->gap - scan->bytes.data);
    struct slice window = slice_of(scan->bytes.data, end);
    node->gap = NULL;
    while (!scan->is_second && pos < end) {
        struct slice line = mime_line_next(window, &pos, false);
        if (!begins_part(line))
            continue;
        mime_defect_add(scan->mime, node, MIME_DEFECT_CONTENT_OUTSIDE_PARTS, NULL);
        scan->mime->needs_second = true;
        return;
    }
}

/* Closes the parts above open[keep - 1]; their content ends at end. */
static void close_parts(struct mime_region_scan *scan, uint32_t keep, size_t end)
{
    while (scan->n_open > keep) {
        struct mime_node *node = scan->open[--scan->n_open];
        const char *stop = scan->bytes.data + end;
        check_gap(scan, node, end);
        node->part.content.len =
            stop > node->part.content.data ? (size_t)(stop - node->part.content.data) : 0;
        if (node->is_multipart && node->first_child != NULL && !node->has_end)
            mime_defect_add(scan->mime, node, MIME_DEFECT_MISSING_END_BOUNDARY, NULL);
    }
    while (
        scan->n_delimiters > 0 && scan->delimiters[scan->n_delimiters - 1].open_at >= scan->n_open)
        scan->n_delimiters--;
}

/* The line end before a boundary belongs to the boundary (RFC 2046 section 5.1.1). */
static size_t content_end(const struct mime_region_scan *scan, size_t line_start)
{
    const char *data = scan->bytes.data;
    if (line_start > 0 && data[line_start - 1] == '\n')
        line_start--;
    if (line_start > 0 && data[line_start - 1] == '\r')
        line_start--;
    return line_start;
}

static void on_delimiter(struct mime_region_scan *scan, struct mime_match match, size_t line_start)
{
    struct mime_delimiter *d = &scan->delimiters[match.index];
    close_parts(scan, d->open_at + 1, content_end(scan, line_start));
    d = &scan->delimiters[match.index];
    check_gap(scan, d->node, line_start);
    if (match.is_end) {
        d->is_closed = true;
        d->node->has_end = true;
        mime_gap_open(scan, d->node);
        return;
    }
    if (d->is_closed) {
        d->is_closed = false;
        mime_defect_add(scan->mime, d->node, MIME_DEFECT_PARTS_AFTER_END, NULL);
    }
    mime_part_open(scan);
}

/* The next dashes at or after scan->pos. Those of the message were found by the pass over all its
 * bytes, the first of them at least. */
static size_t next_dashes(struct mime_region_scan *scan)
{
    const struct mime_bytes *seen = &scan->mime->bytes;
    size_t from = scan->pos;
    if (scan->bytes.data == scan->mime->message.data) {
        while (scan->n_passed < seen->n_dashes && seen->dashes[scan->n_passed] < from)
            scan->n_passed++;
        if (scan->n_passed < seen->n_dashes)
            return seen->dashes[scan->n_passed];
        if (from < seen->dashes_until)
            from = seen->dashes_until;
    }
    return mime_bytes_find_dashes(mime_bytes_best(), scan->bytes.data, scan->bytes.len, from);
}

/* Moves scan->pos to the next line that begins with "--"; false at the end. */
static bool seek_dashes(struct mime_region_scan *scan)
{
    while (scan->pos < scan->bytes.len) {
        size_t at = next_dashes(scan);
        scan->pos = at;
        if (at == 0 || (at < scan->bytes.len && scan->bytes.data[at - 1] == '\n'))
            return true;
        if (at < scan->bytes.len)
            mime_delimiter_check_indented(scan, at);
        scan->pos += at < scan->bytes.len;
    }
    return false;
}

/* In the second reading: a part that starts outside of all parts, behind a line of dashes, which is
 * then a boundary too, or with nothing before it. */
static void on_stray(struct mime_region_scan *scan, struct slice line, size_t line_start)
{
    struct mime_node *node = scan->n_open > 0 ? scan->open[scan->n_open - 1] : NULL;
    if (!scan->is_second || node == NULL || !node->is_multipart || !node->part.is_container ||
        node->n_strays == MIME_BOUNDARIES_MAX)
        return;
    size_t pos = scan->pos;
    bool has_dashes = line.len > 2 && line.data[0] == '-' && line.data[1] == '-';
    if (has_dashes && pos < scan->bytes.len) {
        struct slice text = text_trim(slice_of(line.data + 2, line.len - 2));
        if (text.len == 0 || text.len > MIME_BOUNDARY_BYTES ||
            !begins_part(mime_line_next(scan->bytes, &pos, true)))
            return;
        mime_delimiter_add(scan, node, text);
    } else if (begins_part(line)) {
        scan->pos = line_start;
    } else {
        return;
    }
    node->n_strays++;
    mime_part_open(scan);
}

void mime_region_read(struct mime_region_scan *scan)
{
    scan->open =
        arena_calloc(scan->mime->arena, mime_max_depth(scan->mime) + 3, sizeof(*scan->open));
    mime_part_open(scan);
    while (scan->pos < scan->bytes.len && !scan->is_full &&
           (scan->n_delimiters > 0 || scan->is_second)) {
        if (!scan->is_second && !seek_dashes(scan))
            break;
        size_t line_start = scan->pos;
        struct mime_match match;
        struct slice line = mime_line_next(scan->bytes, &scan->pos, scan->is_second);
        if (mime_is_delimiter(scan, line, &match))
            on_delimiter(scan, match, line_start);
        else
            on_stray(scan, line, line_start);
    }
    close_parts(scan, 0, scan->bytes.len);
}
