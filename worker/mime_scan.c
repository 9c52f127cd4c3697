/* Lines and header fields of a message, and what is wrong with its bytes. No copies, no recursion,
 * linear. */
#include "worker/mime_impl.h"

#include <strings.h>

#include "common/text.h"

enum { LINE_MAX_BYTES = 998 }; /* RFC 5322 section 2.1.1 */

bool mime_is_blank(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!text_is_space(s.data[i]))
            return false;
    }
    return true;
}

bool mime_name_is(struct slice name, const char *lower)
{
    size_t len = strlen(lower);
    return name.len == len && strncasecmp(name.data, lower, len) == 0;
}

bool mime_begins_with(struct slice s, const char *lower)
{
    size_t len = strlen(lower);
    return s.len >= len && strncasecmp(s.data, lower, len) == 0;
}

enum { CR_RUN_MAX = 4 };

/* Bytes of CR CR LF, CR LF or LF at the front of s; 0 when a CR stands there alone. Some gateways
 * make CR CR LF of CR LF. */
static size_t line_end_at(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && n < CR_RUN_MAX && s[n] == '\r')
        n++;
    return n < len && s[n] == '\n' ? n + 1 : 0;
}

/* The first CR or LF; len when there is none. In windows that grow, so that neither is looked for
 * again and again in all that follows. */
static size_t find_either(const char *s, size_t len)
{
    size_t from = 0;
    for (size_t window = 256; from < len; window *= 4) {
        size_t n = len - from < window ? len - from : window;
        const char *lf = memchr(s + from, '\n', n);
        size_t before = lf != NULL ? (size_t)(lf - s) - from : n;
        const char *cr = memchr(s + from, '\r', before);
        if (cr != NULL || lf != NULL)
            return (size_t)((cr != NULL ? cr : lf) - s);
        from += n;
    }
    return len;
}

static bool has_cr_alone(const char *s, size_t len)
{
    return len > 0 && s[0] == '\r' && line_end_at(s, len) == 0;
}

/* A line that may end with a bare CR. */
static struct slice cr_line_next(const char *start, size_t left, size_t *pos)
{
    size_t len = find_either(start, left);
    size_t end = len < left ? line_end_at(start + len, left - len) : 0;
    if (end == 1 && has_cr_alone(start + len + 1, left - len - 1))
        end = 2; /* LF CR */
    *pos += len < left ? len + (end > 0 ? end : 1) : len;
    return slice_of(start, len);
}

struct slice mime_line_next(struct slice bytes, size_t *pos, bool cr_ends)
{
    const char *start = bytes.data + *pos;
    size_t left = bytes.len - *pos;
    if (cr_ends)
        return cr_line_next(start, left, pos);
    const char *lf = memchr(start, '\n', left);
    size_t len = lf != NULL ? (size_t)(lf - start) : left;
    *pos += lf != NULL ? len + 1 : len;
    while (len > 0 && start[len - 1] == '\r')
        len--;
    return slice_of(start, len);
}

/* Moves *pos behind the continuation lines that follow. */
static void skip_continuations(
    struct slice block, size_t *pos, bool cr_ends, struct mime_field *out)
{
    while (*pos < block.len && text_is_blank(block.data[*pos])) {
        struct slice line = mime_line_next(block, pos, cr_ends);
        if (mime_is_blank(line))
            out->has_blank_line = true;
    }
}

static struct slice without_end(struct slice s)
{
    if (s.len > 0 && s.data[s.len - 1] == '\n')
        s.len--;
    while (s.len > 0 && s.data[s.len - 1] == '\r')
        s.len--;
    return s;
}

/* RFC 5322 section 2.2: printable ASCII. */
static bool is_field_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] >= 127)
            return false;
    }
    return name.len > 0;
}

bool mime_field_next(struct slice block, size_t *pos, bool cr_ends, struct mime_field *out)
{
    while (cr_ends && *pos < block.len && (*pos == 0 || text_is_blank(block.data[*pos - 1])) &&
           text_is_blank(block.data[*pos]))
        (*pos)++; /* the second reading takes a block that starts with a blank for a field */
    if (*pos >= block.len)
        return false;
    size_t start = *pos;
    *out = (struct mime_field){0};
    struct slice line = mime_line_next(block, pos, cr_ends);
    skip_continuations(block, pos, cr_ends, out);
    out->raw = slice_of(block.data + start, *pos - start);
    const char *colon = memchr(line.data, ':', line.len);
    if (colon != NULL &&
        !text_is_space(line.data[0])) /* behind a CR, it is a field for some only */
        out->name = text_trim(slice_of(line.data, (size_t)(colon - line.data)));
    out->has_odd_name = colon != NULL && out->name.len != (size_t)(colon - line.data);
    out->has_colon = is_field_name(out->name);
    if (!out->has_colon) {
        out->name = slice_of(NULL, 0);
        out->value = without_end(out->raw);
        return true;
    }
    const char *value = colon + 1;
    out->value = without_end(slice_of(value, (size_t)(out->raw.data + out->raw.len - value)));
    return true;
}

void mime_scan_bytes(struct mime *mime)
{
    struct mime_bytes counts = {
        .dashes = arena_alloc(mime->arena, MIME_DASHES_MAX * sizeof(size_t)),
        .max_dashes = MIME_DASHES_MAX};
    mime_bytes_scan(mime_bytes_best(), mime->message.data, mime->message.len, &counts);
    mime->bytes = counts;
    if (counts.nul > 0)
        mime_defect_add(mime, NULL, MIME_DEFECT_NUL_BYTES,
            arena_printf(mime->arena, "%llu of them", (unsigned long long)counts.nul));
    if (counts.cr > counts.pairs) {
        mime->has_bare_cr = true;
        mime->needs_second = true;
        mime_defect_add(mime, NULL, MIME_DEFECT_BARE_CR,
            arena_printf(
                mime->arena, "%llu of them", (unsigned long long)(counts.cr - counts.pairs)));
    }
    if (counts.pairs > 0 && counts.lf > counts.pairs)
        mime_defect_add(mime, NULL, MIME_DEFECT_BARE_LF,
            arena_printf(
                mime->arena, "%llu of them", (unsigned long long)(counts.lf - counts.pairs)));
}

void mime_scan_lines(struct mime *mime)
{
    if (mime->has_lines_checked)
        return;
    mime->has_lines_checked = true;
    size_t longest = mime_bytes_longest_line(mime->message.data, mime->message.len, LINE_MAX_BYTES);
    if (longest > LINE_MAX_BYTES)
        mime_defect_add(
            mime, NULL, MIME_DEFECT_LONG_LINE, arena_printf(mime->arena, "%zu bytes", longest));
}
