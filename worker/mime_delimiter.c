/*
 * The boundaries of the multiparts that are open: which of them a line is, what else could pass for
 * one, and the one that a multipart without any seems to have (RFC 2046 section 5.1.1).
 */
#include "common/text.h"
#include "worker/mime_region.h"

static void load_key(struct slice s, uint64_t *key, uint64_t *mask)
{
    size_t n = s.len < 8 ? s.len : 8;
    uint8_t bytes[8] = {0}, ones[8] = {0};
    if (n > 0)
        memcpy(bytes, s.data, n);
    memset(ones, 0xff, n);
    memcpy(key, bytes, 8);
    memcpy(mask, ones, 8);
}

/* What follows the boundary in a line that begins with it. */
enum tail { TAIL_NONE = 0, TAIL_BLANK, TAIL_END, TAIL_OTHER, TAIL_OTHER_END };

static enum tail tail_of(const struct mime_delimiter *delimiter, struct slice line, uint64_t key)
{
    if ((key & delimiter->mask) != delimiter->key || line.len < delimiter->text.len ||
        memcmp(line.data, delimiter->text.data, delimiter->text.len) != 0)
        return TAIL_NONE;
    struct slice rest = slice_of(line.data + delimiter->text.len, line.len - delimiter->text.len);
    if (mime_is_blank(rest))
        return TAIL_BLANK;
    if (rest.len < 2 || memcmp(rest.data, "--", 2) != 0) {
        rest = text_trim(rest);
        return rest.len == 2 && memcmp(rest.data, "--", 2) == 0 ? TAIL_OTHER_END : TAIL_OTHER;
    }
    return mime_is_blank(slice_of(rest.data + 2, rest.len - 2)) ? TAIL_END : TAIL_OTHER_END;
}

bool mime_delimiter_match(struct mime_region_scan *scan, struct slice line, struct mime_match *out)
{
    uint64_t key, mask;
    struct slice text = slice_of(line.data + 2, line.len - 2);
    load_key(text, &key, &mask);
    int64_t closed = -1, begun = -1;
    bool closed_is_end = false, begun_is_end = false;
    for (uint32_t i = scan->n_delimiters; i-- > 0;) {
        struct mime_delimiter *d = &scan->delimiters[i];
        enum tail tail = tail_of(d, text, key);
        if (tail == TAIL_NONE)
            continue;
        bool is_end = tail == TAIL_END || tail == TAIL_OTHER_END;
        if ((tail == TAIL_BLANK || tail == TAIL_END) && !d->is_closed) {
            *out = (struct mime_match){i, is_end};
            return true;
        }
        if ((tail == TAIL_BLANK || tail == TAIL_END) && closed < 0) {
            closed = i;
            closed_is_end = is_end;
        } else if (begun < 0 && d->text.len > 0) {
            begun = i;
            begun_is_end = is_end;
        }
    }
    if (closed >= 0) {
        *out = (struct mime_match){(uint32_t)closed, closed_is_end};
        return true;
    }
    if (begun < 0)
        return false;
    scan->mime->needs_second = true;
    mime_defect_add(scan->mime, scan->delimiters[begun].node, MIME_DEFECT_BOUNDARY_PREFIX, NULL);
    *out = (struct mime_match){(uint32_t)begun, begun_is_end};
    return scan->is_second;
}

void mime_delimiter_add(
    struct mime_region_scan *scan, struct mime_node *node, struct slice boundary)
{
    if (scan->n_delimiters == scan->cap_delimiters) {
        uint32_t cap = scan->cap_delimiters == 0 ? 8 : scan->cap_delimiters * 2;
        struct mime_delimiter *items = arena_calloc(scan->mime->arena, cap, sizeof(*items));
        if (scan->n_delimiters > 0)
            memcpy(items, scan->delimiters, scan->n_delimiters * sizeof(*items));
        scan->delimiters = items;
        scan->cap_delimiters = cap;
    }
    struct mime_delimiter *d = &scan->delimiters[scan->n_delimiters++];
    *d = (struct mime_delimiter){.text = boundary, .node = node, .open_at = scan->n_open - 1};
    load_key(boundary, &d->key, &d->mask);
}

void mime_delimiter_check_indented(struct mime_region_scan *scan, size_t at)
{
    const char *data = scan->bytes.data;
    size_t start = at, pos = at;
    while (start > 0 && text_is_blank(data[start - 1]))
        start--;
    if (start == at || (start > 0 && data[start - 1] != '\n'))
        return;
    struct slice line = mime_line_next(scan->bytes, &pos, false);
    uint64_t key, mask;
    struct slice text = slice_of(line.data + 2, line.len - 2);
    load_key(text, &key, &mask);
    for (uint32_t i = scan->n_delimiters; i-- > 0;) {
        enum tail tail = tail_of(&scan->delimiters[i], text, key);
        if ((tail == TAIL_BLANK || tail == TAIL_END) && scan->delimiters[i].text.len > 0) {
            mime_defect_add(
                scan->mime, scan->delimiters[i].node, MIME_DEFECT_INDENTED_BOUNDARY, NULL);
            scan->mime->needs_second = true;
            return;
        }
    }
}

static bool begins_alike(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    return n > 0 && memcmp(a.data, b.data, n) == 0;
}

static void check_repeated(
    struct mime_region_scan *scan, struct mime_node *node, struct slice boundary)
{
    for (uint32_t i = 0; i < scan->n_delimiters; i++) {
        if (scan->delimiters[i].node != node && begins_alike(scan->delimiters[i].text, boundary))
            mime_defect_add(scan->mime, node, MIME_DEFECT_REPEATED_BOUNDARY, NULL);
    }
}

enum { GUESS_BYTES = 65536 };

/* For a multipart without boundary: the first line that looks like one and is none of an outer
 * part. */
static struct slice guess_boundary(struct mime_region_scan *scan)
{
    size_t end =
        scan->bytes.len - scan->pos > GUESS_BYTES ? scan->pos + GUESS_BYTES : scan->bytes.len;
    struct slice window = slice_of(scan->bytes.data, end);
    for (size_t pos = scan->pos; pos < window.len;) {
        struct slice line = mime_line_next(window, &pos, scan->is_second);
        struct mime_match match;
        if (line.len < 3 || line.data[0] != '-' || line.data[1] != '-')
            continue;
        if (mime_is_delimiter(scan, line, &match))
            break;
        struct slice text = text_trim(slice_of(line.data + 2, line.len - 2));
        return slice_of(text.data, text.len < MIME_BOUNDARY_BYTES ? text.len : 0);
    }
    return slice_of(NULL, 0);
}

void mime_delimiters_open(struct mime_region_scan *scan, struct mime_node *node)
{
    uint32_t n = scan->is_second ? node->n_boundaries : node->n_boundaries > 0;
    for (uint32_t i = 0; i < n; i++) {
        check_repeated(scan, node, node->boundaries[i]);
        mime_delimiter_add(scan, node, node->boundaries[i]);
    }
    if (n > 0)
        return;
    mime_defect_add(scan->mime, node, MIME_DEFECT_MISSING_BOUNDARY, NULL);
    struct slice guess = guess_boundary(scan);
    if (guess.len > 0)
        mime_delimiter_add(scan, node, guess);
}
