/*
 * The tree of parts: one pass over the lines of a region with a stack of open parts, no recursion,
 * offsets only. Where something can be read in two ways (several boundaries, a bare CR, a line that
 * only begins with a boundary) a second, generous pass follows, and parts that only it finds are
 * added. Containers whose content is encoded, against the rules, are decoded and read as regions of
 * their own.
 */
#include "worker/mime_impl.h"

/* An open multipart's boundary, compared by its first 8 bytes first. */
struct delimiter {
    struct slice text;
    uint64_t key, mask;
    struct mime_node *node;
    uint32_t open_at; /* of node in the stack */
    bool is_closed;   /* its end was seen */
};

struct scan {
    struct mime *mime;
    struct slice bytes;
    size_t pos;
    size_t n_passed;         /* of the message's dashes, those before pos */
    bool is_second;          /* the generous reading */
    bool is_full;            /* too many parts: stop */
    struct mime_node *above; /* the container whose content the region is; NULL for the message */
    struct mime_node **open;
    uint32_t n_open;
    struct delimiter *delimiters;
    uint32_t n_delimiters, cap_delimiters;
    struct mime_found found;
};

struct match {
    uint32_t index; /* of the delimiter */
    bool is_end;
};

static uint32_t max_depth(const struct mime *mime)
{
    return (uint32_t)mime->conf->worker.max_depth;
}

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

static enum tail tail_of(const struct delimiter *delimiter, struct slice line, uint64_t key)
{
    if ((key & delimiter->mask) != delimiter->key || line.len < delimiter->text.len ||
        memcmp(line.data, delimiter->text.data, delimiter->text.len) != 0)
        return TAIL_NONE;
    struct slice rest = slice_of(line.data + delimiter->text.len, line.len - delimiter->text.len);
    if (mime_is_blank(rest))
        return TAIL_BLANK;
    if (rest.len < 2 || memcmp(rest.data, "--", 2) != 0) {
        rest = mime_trim(rest);
        return rest.len == 2 && memcmp(rest.data, "--", 2) == 0 ? TAIL_OTHER_END : TAIL_OTHER;
    }
    return mime_is_blank(slice_of(rest.data + 2, rest.len - 2)) ? TAIL_END : TAIL_OTHER_END;
}

/* Innermost open one first; one that was closed already only when no other fits; a mere beginning
 * only in the second reading. */
static bool match_delimiter(struct scan *scan, struct slice line, struct match *out)
{
    uint64_t key, mask;
    struct slice text = slice_of(line.data + 2, line.len - 2);
    load_key(text, &key, &mask);
    int64_t closed = -1, begun = -1;
    bool closed_is_end = false, begun_is_end = false;
    for (uint32_t i = scan->n_delimiters; i-- > 0;) {
        struct delimiter *d = &scan->delimiters[i];
        enum tail tail = tail_of(d, text, key);
        if (tail == TAIL_NONE)
            continue;
        bool is_end = tail == TAIL_END || tail == TAIL_OTHER_END;
        if ((tail == TAIL_BLANK || tail == TAIL_END) && !d->is_closed) {
            *out = (struct match){i, is_end};
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
        *out = (struct match){(uint32_t)closed, closed_is_end};
        return true;
    }
    if (begun < 0)
        return false;
    scan->mime->needs_second = true;
    mime_defect_add(scan->mime, scan->delimiters[begun].node, MIME_DEFECT_BOUNDARY_PREFIX, NULL);
    *out = (struct match){(uint32_t)begun, begun_is_end};
    return scan->is_second;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice without_indent(struct slice line)
{
    while (line.len > 0 && is_blank(line.data[0])) {
        line.data++;
        line.len--;
    }
    return line;
}

static bool is_delimiter_line(struct scan *scan, struct slice line, struct match *out)
{
    if (scan->is_second)
        line = without_indent(line);
    return scan->n_delimiters > 0 && line.len >= 2 && line.data[0] == '-' && line.data[1] == '-' &&
           match_delimiter(scan, line, out);
}

static void add_delimiter(struct scan *scan, struct mime_node *node, struct slice boundary)
{
    if (scan->n_delimiters == scan->cap_delimiters) {
        uint32_t cap = scan->cap_delimiters == 0 ? 8 : scan->cap_delimiters * 2;
        struct delimiter *items = arena_calloc(scan->mime->arena, cap, sizeof(*items));
        if (scan->n_delimiters > 0)
            memcpy(items, scan->delimiters, scan->n_delimiters * sizeof(*items));
        scan->delimiters = items;
        scan->cap_delimiters = cap;
    }
    struct delimiter *d = &scan->delimiters[scan->n_delimiters++];
    *d = (struct delimiter){.text = boundary, .node = node, .open_at = scan->n_open - 1};
    load_key(boundary, &d->key, &d->mask);
}

/* Dashes at at with blanks before them: whether they are a boundary that only some programs see. */
static void check_indented(struct scan *scan, size_t at)
{
    const char *data = scan->bytes.data;
    size_t start = at, pos = at;
    while (start > 0 && is_blank(data[start - 1]))
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

static void check_repeated(struct scan *scan, struct mime_node *node, struct slice boundary)
{
    for (uint32_t i = 0; i < scan->n_delimiters; i++) {
        if (scan->delimiters[i].node != node && begins_alike(scan->delimiters[i].text, boundary))
            mime_defect_add(scan->mime, node, MIME_DEFECT_REPEATED_BOUNDARY, NULL);
    }
}

enum { GUESS_BYTES = 65536 };

/* For a multipart without boundary: the first line that looks like one and is none of an outer
 * part. */
static struct slice guess_boundary(struct scan *scan)
{
    size_t end =
        scan->bytes.len - scan->pos > GUESS_BYTES ? scan->pos + GUESS_BYTES : scan->bytes.len;
    struct slice window = slice_of(scan->bytes.data, end);
    for (size_t pos = scan->pos; pos < window.len;) {
        struct slice line = mime_line_next(window, &pos, scan->is_second);
        struct match match;
        if (line.len < 3 || line.data[0] != '-' || line.data[1] != '-')
            continue;
        if (is_delimiter_line(scan, line, &match))
            break;
        struct slice text = mime_trim(slice_of(line.data + 2, line.len - 2));
        return slice_of(text.data, text.len < MIME_BOUNDARY_BYTES ? text.len : 0);
    }
    return slice_of(NULL, 0);
}

/* ---- what stands outside the parts of a multipart ---- */

static bool begins_part(struct slice line)
{
    return mime_begins_with(line, "content-") && memchr(line.data, ':', line.len) != NULL;
}

/* Whether a field of a part stands between gap and end. */
static void check_gap(struct scan *scan, struct mime_node *node, size_t end)
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

static void open_gap(struct scan *scan, struct mime_node *node)
{
    node->gap = scan->bytes.data + scan->pos;
}

static void open_multipart(struct scan *scan, struct mime_node *node)
{
    open_gap(scan, node);
    uint32_t n = scan->is_second ? node->n_boundaries : node->n_boundaries > 0;
    for (uint32_t i = 0; i < n; i++) {
        check_repeated(scan, node, node->boundaries[i]);
        add_delimiter(scan, node, node->boundaries[i]);
    }
    if (n > 0)
        return;
    mime_defect_add(scan->mime, node, MIME_DEFECT_MISSING_BOUNDARY, NULL);
    struct slice guess = guess_boundary(scan);
    if (guess.len > 0)
        add_delimiter(scan, node, guess);
}

/* Finds the end of the header that starts at scan->pos, and moves scan->pos to the content. */
static struct slice seek_header_end(struct scan *scan, bool *is_ended_out)
{
    size_t start = scan->pos;
    *is_ended_out = false;
    while (scan->pos < scan->bytes.len) {
        size_t line_start = scan->pos;
        struct match match;
        struct slice line = mime_line_next(scan->bytes, &scan->pos, scan->is_second);
        if (line.len == 0) {
            *is_ended_out = true;
            return slice_of(scan->bytes.data + start, line_start - start);
        }
        if (is_delimiter_line(scan, line, &match)) {
            scan->pos = line_start;
            return slice_of(scan->bytes.data + start, line_start - start);
        }
    }
    return slice_of(scan->bytes.data + start, scan->pos - start);
}

static bool has_field(const struct scan *scan, struct slice block)
{
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(block, &pos, scan->is_second, &field);) {
        if (field.has_colon || mime_is_odd_field(field.value))
            return true;
    }
    return false;
}

/* A block in which no line is a field is content of a part without header; in the second reading a
 * header of which nothing can be used. */
static void take_header(struct scan *scan, struct mime_node *node)
{
    bool is_ended;
    size_t start = scan->pos;
    struct slice header = seek_header_end(scan, &is_ended);
    if (header.len > 0 && !has_field(scan, header)) {
        mime_defect_add(scan->mime, node, MIME_DEFECT_HEADER_WITHOUT_COLON, NULL);
        scan->mime->needs_second = true;
        if (!scan->is_second) {
            scan->pos = start;
            header.len = 0;
        }
    } else if (!is_ended && scan->n_open > 0) {
        mime_defect_add(scan->mime, node, MIME_DEFECT_UNENDED_HEADER, NULL);
    }
    node->part.header = header;
    node->part.content = slice_of(scan->bytes.data + scan->pos, 0);
}

static struct mime_node *new_node(struct scan *scan)
{
    struct mime *mime = scan->mime;
    struct mime_node *parent = scan->n_open > 0 ? scan->open[scan->n_open - 1] : scan->above;
    if (scan->found.n + mime->n_parts >= (uint32_t)mime->conf->worker.max_parts && parent != NULL) {
        mime_defect_add(mime, NULL, MIME_DEFECT_TOO_MANY_PARTS, NULL);
        scan->is_full = true;
        return NULL;
    }
    struct mime_node *node = arena_calloc(mime->arena, 1, sizeof(*node));
    node->part.mime = mime;
    node->part.depth = parent != NULL ? parent->part.depth + 1 : 0;
    node->part.is_decoded = scan->above != NULL;
    mime_child_append(parent, node);
    mime_found_append(&scan->found, node);
    return node;
}

/* Whether bytes begin like a message: with a field. */
static bool looks_like_header(struct slice bytes)
{
    size_t pos = 0;
    struct mime_field field;
    struct slice front = slice_of(bytes.data, bytes.len < 1000 ? bytes.len : 1000);
    return mime_field_next(front, &pos, false, &field) && field.has_colon;
}

static bool is_encoded(const struct mime_node *node)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    return encoding == MIME_ENCODING_BASE64 || encoding == MIME_ENCODING_QUOTED ||
           encoding == MIME_ENCODING_UU;
}

static bool is_entered_as_message(struct scan *scan, struct mime_node *node)
{
    if (!node->is_message || node->is_multipart)
        return false;
    struct slice content = slice_of(scan->bytes.data + scan->pos, scan->bytes.len - scan->pos);
    return (!is_encoded(node) && !node->is_indirect) || looks_like_header(content);
}

static bool may_enter(struct scan *scan, struct mime_node *node)
{
    if (!node->is_multipart && !node->is_message)
        return false;
    if (is_encoded(node))
        mime_defect_add(scan->mime, node, MIME_DEFECT_MULTIPART_WITH_ENCODING, node->part.encoding);
    if (node->part.depth < max_depth(scan->mime))
        return true;
    mime_defect_add(scan->mime, node, MIME_DEFECT_TOO_DEEP, NULL);
    return false;
}

/* The second reading ends a header at the part's own boundary. */
static void rewind_to_boundary(struct scan *scan, struct mime_node *node)
{
    struct slice block = node->part.header;
    for (size_t pos = 0; pos < block.len;) {
        size_t start = pos;
        struct slice line = mime_line_next(block, &pos, true);
        for (uint32_t i = 0; i < node->n_boundaries && line.len > 2; i++) {
            struct slice text = mime_trim(slice_of(line.data + 2, line.len - 2));
            if (line.data[0] != '-' || line.data[1] != '-' || node->boundaries[i].len == 0 ||
                !slice_equal(text, node->boundaries[i]))
                continue;
            scan->pos = (size_t)(block.data + start - scan->bytes.data);
            node->part.header.len = start;
            node->part.content = slice_of(scan->bytes.data + scan->pos, 0);
            return;
        }
    }
}

/* Opens the part whose header starts at scan->pos; of a message, the part inside as well, and so
 * on. */
static void open_part(struct scan *scan)
{
    for (;;) {
        struct mime_node *node = new_node(scan);
        if (node == NULL)
            return;
        take_header(scan, node);
        bool in_digest = node->parent != NULL && node->parent->is_digest;
        mime_entity_read(scan->mime, node, scan->is_second, in_digest);
        scan->open[scan->n_open++] = node;
        if (!may_enter(scan, node))
            return;
        if (node->is_multipart) {
            node->part.is_container = true;
            if (scan->is_second)
                rewind_to_boundary(scan, node);
            open_multipart(scan, node);
            return;
        }
        if (!is_entered_as_message(scan, node))
            return;
        node->part.is_container = true;
    }
}

/* Closes the parts above open[keep - 1]; their content ends at end. */
static void close_parts(struct scan *scan, uint32_t keep, size_t end)
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
static size_t content_end(const struct scan *scan, size_t line_start)
{
    const char *data = scan->bytes.data;
    if (line_start > 0 && data[line_start - 1] == '\n')
        line_start--;
    if (line_start > 0 && data[line_start - 1] == '\r')
        line_start--;
    return line_start;
}

static void on_delimiter(struct scan *scan, struct match match, size_t line_start)
{
    struct delimiter *d = &scan->delimiters[match.index];
    close_parts(scan, d->open_at + 1, content_end(scan, line_start));
    d = &scan->delimiters[match.index];
    check_gap(scan, d->node, line_start);
    if (match.is_end) {
        d->is_closed = true;
        d->node->has_end = true;
        open_gap(scan, d->node);
        return;
    }
    if (d->is_closed) {
        d->is_closed = false;
        mime_defect_add(scan->mime, d->node, MIME_DEFECT_PARTS_AFTER_END, NULL);
    }
    open_part(scan);
}

/* The next dashes at or after scan->pos. Those of the message were found by the pass over all its
 * bytes, the first of them at least. */
static size_t next_dashes(struct scan *scan)
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
static bool seek_dashes(struct scan *scan)
{
    while (scan->pos < scan->bytes.len) {
        size_t at = next_dashes(scan);
        scan->pos = at;
        if (at == 0 || (at < scan->bytes.len && scan->bytes.data[at - 1] == '\n'))
            return true;
        if (at < scan->bytes.len)
            check_indented(scan, at);
        scan->pos += at < scan->bytes.len;
    }
    return false;
}

/* In the second reading: a part that starts outside of all parts, behind a line of dashes, which is
 * then a boundary too, or with nothing before it. */
static void on_stray(struct scan *scan, struct slice line, size_t line_start)
{
    struct mime_node *node = scan->n_open > 0 ? scan->open[scan->n_open - 1] : NULL;
    if (!scan->is_second || node == NULL || !node->is_multipart || !node->part.is_container ||
        node->n_strays == MIME_BOUNDARIES_MAX)
        return;
    size_t pos = scan->pos;
    bool has_dashes = line.len > 2 && line.data[0] == '-' && line.data[1] == '-';
    if (has_dashes && pos < scan->bytes.len) {
        struct slice text = mime_trim(slice_of(line.data + 2, line.len - 2));
        if (text.len == 0 || text.len > MIME_BOUNDARY_BYTES ||
            !begins_part(mime_line_next(scan->bytes, &pos, true)))
            return;
        add_delimiter(scan, node, text);
    } else if (begins_part(line)) {
        scan->pos = line_start;
    } else {
        return;
    }
    node->n_strays++;
    open_part(scan);
}

static void scan_region(struct scan *scan)
{
    scan->open = arena_calloc(scan->mime->arena, max_depth(scan->mime) + 3, sizeof(*scan->open));
    open_part(scan);
    while (scan->pos < scan->bytes.len && !scan->is_full &&
           (scan->n_delimiters > 0 || scan->is_second)) {
        if (!scan->is_second && !seek_dashes(scan))
            break;
        size_t line_start = scan->pos;
        struct match match;
        struct slice line = mime_line_next(scan->bytes, &scan->pos, scan->is_second);
        if (is_delimiter_line(scan, line, &match))
            on_delimiter(scan, match, line_start);
        else
            on_stray(scan, line, line_start);
    }
    close_parts(scan, 0, scan->bytes.len);
}

/* ---- regions ---- */

static bool has_bare_cr(struct slice bytes)
{
    for (size_t i = 0; i < bytes.len;) {
        const char *cr = memchr(bytes.data + i, '\r', bytes.len - i);
        if (cr == NULL)
            return false;
        i = (size_t)(cr - bytes.data) + 1;
        if (i >= bytes.len || bytes.data[i] != '\n')
            return true;
    }
    return false;
}

/* Reads a region in one or both ways; *scan_out lists what was found. */
static void read_region(
    struct mime *mime, struct slice bytes, struct mime_node *above, struct scan *out)
{
    *out = (struct scan){.mime = mime, .bytes = bytes, .above = above};
    scan_region(out);
    if (!mime->needs_second)
        return;
    struct mime_node *kept_first = above != NULL ? above->first_child : NULL;
    struct mime_node *kept_last = above != NULL ? above->last_child : NULL;
    struct scan second = {.mime = mime, .bytes = bytes, .above = above, .is_second = true};
    mime->is_muted = true;
    scan_region(&second);
    mime->is_muted = false;
    if (above != NULL) {
        above->first_child = kept_first;
        above->last_child = kept_last;
        if (kept_last != NULL)
            kept_last->next = NULL;
        above->same = above;
    }
    mime_readings_merge(mime, &out->found, &second.found);
}

/* ---- containers that are encoded, and what is left to say ---- */

static bool needs_decoding(struct mime *mime, const struct mime_node *node)
{
    /* Quoted-printable may look like what it is not, undecoded. */
    bool is_open =
        node->first_child == NULL || mime_encoding_of(&node->part) == MIME_ENCODING_QUOTED;
    return (node->is_multipart || node->is_message) && is_open &&
           (is_encoded(node) || node->is_carried) && node->part.depth < max_depth(mime) &&
           node->part.content.len > 0;
}

/* Where the editor finds the bytes that its children are in. */
static void keep_region(struct mime_node *node, struct slice bytes)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if ((encoding != MIME_ENCODING_BASE64 && encoding != MIME_ENCODING_QUOTED) || node->is_carried)
        return; /* nobody encodes it again */
    node->region = bytes;
    node->region_front = node->is_multipart ? node->part.header.len + 2 : 0;
}

static void read_decoded(struct mime *mime, struct mime_found *all, struct mime_node *node)
{
    struct slice bytes = mime_bytes_decode(mime, node, node->part.content);
    if (node->is_multipart) {
        /* Its own header says the boundary: put it in front, so that the region is an entity like
         * any other. */
        char *copy = arena_alloc(mime->arena, node->part.header.len + 2 + bytes.len);
        size_t header = node->part.header.len;
        memcpy(copy, node->part.header.data, header);
        memcpy(copy + header, "\r\n", 2);
        if (bytes.len > 0)
            memcpy(copy + header + 2, bytes.data, bytes.len);
        bytes = slice_of(copy, header + 2 + bytes.len);
    }
    struct scan scan;
    mime->needs_second = has_bare_cr(bytes);
    mime->n_parts = all->n;
    read_region(mime, bytes, node, &scan);
    if (scan.found.first == NULL)
        return;
    node->part.is_container = true;
    keep_region(node, bytes);
    all->last->all_next = scan.found.first;
    all->last = scan.found.last;
    all->n += scan.found.n;
}

static void finish_node(struct mime *mime, struct mime_node *node)
{
    if (node->first_child == NULL && node->part.is_container && node->is_multipart)
        mime_defect_add(mime, node, MIME_DEFECT_EMPTY_MULTIPART, NULL);
    node->part.is_container = node->first_child != NULL; /* else its content is to be looked at */
    if (mime_encoding_of(&node->part) == MIME_ENCODING_UU && !node->part.is_container)
        mime_names_add_uu(mime, node);
}

/* A container whose content is encoded, under each encoding that its header speaks of. The editor
 * encodes again only what has one reading. */
static void read_encoded(struct mime *mime, struct mime_found *all, struct mime_node *node)
{
    const char *own = node->part.encoding;
    bool has_parts = node->first_child != NULL;
    if (needs_decoding(mime, node))
        read_decoded(mime, all, node);
    if (has_parts)
        node->region = slice_of(NULL, 0);
    for (uint32_t i = 0; node->others != NULL && i < node->others->n_encodings; i++) {
        node->part.encoding = node->others->encodings[i];
        if (!needs_decoding(mime, node))
            continue;
        read_decoded(mime, all, node);
        node->region = slice_of(NULL, 0);
    }
    node->part.encoding = own;
}

struct mime_node *mime_tree_read(struct mime *mime)
{
    struct scan all;
    read_region(mime, mime->message, NULL, &all);
    for (struct mime_node *node = all.found.first; node != NULL; node = node->all_next) {
        read_encoded(mime, &all.found, node);
        finish_node(mime, node);
        mime_others_list(mime, &all.found, node);
        mime_inside_read(mime, &all.found, node);
    }
    mime->n_parts = all.found.n;
    return all.found.first;
}
