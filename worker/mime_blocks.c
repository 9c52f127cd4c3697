/*
 * Encoded files in the middle of a text: uuencode ("begin 644 name" … "end"; POSIX), its base64
 * form ("begin-base64"), and yEnc ("=ybegin … name=…" … "=yend"). The lines are looked for first,
 * in one pass; what is decoded is decoded when it is asked for, as for any part.
 */
#include "worker/mime_impl.h"

#include <string.h>

#include "common/text.h"

enum kind { KIND_NONE = 0, KIND_UU, KIND_BASE64, KIND_YENC };

struct block {
    enum kind kind;
    struct slice name;
    size_t start;    /* of the first line */
    size_t data;     /* behind it */
    size_t data_end; /* behind what the decoder gets */
    size_t end;      /* behind the last line */
    bool is_ended;
};

static const char *const encodings[] = {
    [KIND_UU] = "x-uuencode", [KIND_BASE64] = "base64", [KIND_YENC] = "x-yenc"};

static bool starts(struct slice s, const char *text)
{
    size_t len = strlen(text);
    return s.len >= len && memcmp(s.data, text, len) == 0;
}

/* "644 name" behind "begin ": blanks may be more, and some readers do without the mode. */
static struct slice uu_name(struct slice line, size_t at)
{
    size_t i = at;
    while (i < line.len && text_is_blank(line.data[i]))
        i++;
    size_t digits = i;
    while (i < line.len && line.data[i] >= '0' && line.data[i] <= '7')
        i++;
    if (i == digits || i == line.len || !text_is_blank(line.data[i]))
        return slice_of(NULL, 0);
    return text_trim(slice_of(line.data + i, line.len - i));
}

static struct slice yenc_name(struct slice line)
{
    const char *name = memmem(line.data, line.len, " name=", 6);
    if (name == NULL)
        return slice_of("", 0);
    return text_trim(slice_of(name + 6, (size_t)(line.data + line.len - name - 6)));
}

/* What a line begins. */
static enum kind kind_of(struct slice line, struct slice *name_out)
{
    if (starts(line, "=ybegin ")) {
        *name_out = yenc_name(line);
        return KIND_YENC;
    }
    bool is_base64 = starts(line, "begin-base64 ");
    if (!is_base64 && !starts(line, "begin "))
        return KIND_NONE;
    *name_out = uu_name(line, is_base64 ? 13 : 6);
    return name_out->len == 0 ? KIND_NONE : is_base64 ? KIND_BASE64 : KIND_UU;
}

/* Whether a line may be data: its first character says how many bytes it holds. Blanks at its end
 * get lost on the way, and some put a checksum there. */
static bool is_uu_data(struct slice line)
{
    if (line.len == 0 || line.data[0] < ' ' || line.data[0] > '`')
        return false;
    size_t bytes = (size_t)(line.data[0] - ' ') & 63;
    for (size_t i = 1; i < line.len; i++) {
        if (line.data[i] < ' ' || line.data[i] > '`')
            return false;
    }
    return line.len <= 1 + (bytes + 2) / 3 * 4 + 2;
}

static bool is_data(enum kind kind, struct slice line)
{
    switch (kind) {
    case KIND_UU:
        return is_uu_data(line) || (line.len > 0 && starts(line, "end"));
    case KIND_BASE64:
        return line.len > 0 && memchr(line.data, ' ', line.len) == NULL;
    case KIND_YENC:
        return true;
    case KIND_NONE:
        break;
    }
    return false;
}

static bool is_last(enum kind kind, struct slice line)
{
    return (kind == KIND_UU &&
               mime_is_blank(slice_of(
                   line.data + (line.len < 3 ? line.len : 3), line.len < 3 ? 0 : line.len - 3)) &&
               starts(line, "end")) ||
           (kind == KIND_BASE64 && starts(line, "====")) ||
           (kind == KIND_YENC && starts(line, "=yend"));
}

/* Finds where a block ends: at its last line, or, when that is missing, at the next block, at the
 * end of what looks like data, or of the text. */
static void find_end(struct slice text, struct block *block)
{
    size_t data_end = block->data;
    bool is_broken = false;
    for (size_t pos = block->data; pos < text.len;) {
        size_t start = pos;
        struct slice line = mime_line_next(text, &pos, false), name;
        if (is_last(block->kind, line)) {
            block->end = pos;
            block->data_end = block->kind == KIND_BASE64 ? start : pos;
            block->is_ended = true;
            return;
        }
        if (kind_of(line, &name) != KIND_NONE) {
            data_end = is_broken ? data_end : start;
            break;
        }
        is_broken = is_broken || !is_data(block->kind, line);
        if (!is_broken)
            data_end = pos;
    }
    block->end = block->data_end = data_end;
}

/* The next place at or after from where a line may begin a block: all have one word. Looked for by
 * its first letter: sanitizers check all that memmem() may read, at each call. */
static size_t next_candidate(struct slice text, size_t from)
{
    for (size_t at = from; at < text.len;) {
        const char *found = memchr(text.data + at, 'b', text.len - at);
        if (found == NULL)
            break;
        size_t place = (size_t)(found - text.data);
        at = place + 1;
        if (text.len - place < 5 || memcmp(found, "begin", 5) != 0)
            continue;
        if (place >= 2 && memcmp(found - 2, "=y", 2) == 0)
            place -= 2;
        if (place >= from && (place == 0 || text.data[place - 1] == '\n'))
            return place;
    }
    return text.len;
}

/* A "begin" in prose has no data behind it. */
static bool has_data(struct slice text, const struct block *block)
{
    size_t pos = block->data;
    struct slice line = mime_line_next(text, &pos, false);
    return is_last(block->kind, line) || is_data(block->kind, line);
}

static bool next_block(struct slice text, size_t *from, struct block *out)
{
    for (size_t at = next_candidate(text, *from); at < text.len; at = next_candidate(text, *from)) {
        size_t pos = at;
        struct slice line = mime_line_next(text, &pos, false);
        *out = (struct block){.start = at, .data = pos, .end = pos};
        out->kind = kind_of(line, &out->name);
        *from = pos;
        if (out->kind == KIND_NONE || !has_data(text, out))
            continue;
        find_end(text, out);
        *from = out->end;
        return true;
    }
    return false;
}

bool mime_blocks_are_in(struct slice text)
{
    struct block block;
    size_t from = 0;
    return next_block(text, &from, &block);
}

void mime_blocks_read(struct mime_inside *inside, struct slice text)
{
    struct block block;
    for (size_t from = 0; next_block(text, &from, &block);) {
        size_t start = block.kind == KIND_BASE64 ? block.data : block.start;
        struct mime_node *node = mime_inside_add(inside, "application/octet-stream",
            encodings[block.kind], slice_of(text.data + start, block.data_end - start));
        if (node == NULL)
            return;
        mime_inside_name(inside->mime, node, mime_guess_utf8(block.name, inside->mime->arena));
        if (!block.is_ended)
            mime_defect_add(inside->mime, inside->carrier, MIME_DEFECT_UNENDED_BLOCK, NULL);
    }
}
