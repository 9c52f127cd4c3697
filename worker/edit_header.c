/* Header blocks of parts as bytes: fields replaced, kept and left out; what is kept keeps its
 * bytes. */
#include "worker/edit_impl.h"

#include "common/text.h"

/* Blocks are at most as long as what goes into them: room is made once. */
struct block {
    char *data;
    size_t len;
};

static void put(struct block *out, struct slice s)
{
    if (s.len > 0)
        memcpy(out->data + out->len, s.data, s.len);
    out->len += s.len;
}

static struct slice slice_of_block(const struct block *block)
{
    return slice_of(block->data, block->len);
}

struct slice edit_join(struct slice a, struct slice b, struct arena *arena)
{
    if (a.len == 0 || b.len == 0)
        return a.len == 0 ? b : a;
    struct block out = {.data = arena_alloc(arena, a.len + b.len)};
    put(&out, a);
    put(&out, b);
    return slice_of_block(&out);
}

struct slice edit_field_line(
    struct slice name, struct slice value, const char *line_end, struct arena *arena)
{
    const struct slice end = slice_text(line_end);
    size_t n_folds = 0;
    for (size_t i = 0; i < value.len; i++)
        n_folds += value.data[i] == '\n';
    struct block out = {
        .data = arena_alloc(arena, name.len + value.len + (n_folds + 1) * end.len + 2)};
    put(&out, name);
    put(&out, slice_of(": ", 2));
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == '\n')
            put(&out, end);
        else
            out.data[out.len++] = value.data[i];
    }
    put(&out, end);
    return slice_of_block(&out);
}

bool edit_header_has(struct slice block, const char *name)
{
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(block, &pos, false, &field);) {
        if (mime_name_is(field.name, name))
            return true;
    }
    return false;
}

struct slice edit_header_pick(struct slice block, bool is_content, struct arena *arena)
{
    struct block out = {.data = arena_alloc(arena, block.len + 1)};
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(block, &pos, false, &field);) {
        if (mime_begins_with(field.name, "content-") == is_content && field.has_colon)
            put(&out, field.raw);
    }
    return slice_of_block(&out);
}

/* ---- defanging ---- */

/* A bare CR or a NUL in a field, behind which some reader sees another. */
static bool hides_something(struct slice raw)
{
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.data[i] == '\0' ||
            (raw.data[i] == '\r' && (i + 1 == raw.len || raw.data[i + 1] != '\n')))
            return true;
    }
    return false;
}

/* Of the content fields, those that decide about bytes only. A field of any other kind may be kept
 * unless it is none, or hides one. */
static bool is_harmless(const struct mime_field *field)
{
    static const char *const kept[] = {
        "content-transfer-encoding", "content-id", "content-md5", "content-language"};
    if (!field->has_colon || hides_something(field->raw))
        return false;
    if (!mime_begins_with(field->name, "content-"))
        return true;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        if (mime_name_is(field->name, kept[i]))
            return true;
    }
    return false;
}

static struct slice keep_harmless(struct slice block, struct arena *arena)
{
    struct block out = {.data = arena_alloc(arena, block.len + 1)};
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(block, &pos, false, &field);) {
        if (is_harmless(&field))
            put(&out, field.raw);
    }
    return slice_of_block(&out);
}

/* ---- one field ---- */

static bool ends_line(struct slice s)
{
    return s.len == 0 || s.data[s.len - 1] == '\n' || s.data[s.len - 1] == '\r';
}

/* The first field of that name becomes `line`, the others go; without one it stands at the end. */
static struct slice change_field(
    struct slice block, const struct edit_field *change, const char *line_end, struct arena *arena)
{
    struct slice line = slice_of("", 0);
    if (change->value.data != NULL)
        line = edit_field_line(change->name, change->value, line_end, arena);
    struct block out = {.data = arena_alloc(arena, block.len + line.len + strlen(line_end))};
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(block, &pos, false, &field);) {
        if (!field.has_colon || !slice_equal_nocase(field.name, change->name)) {
            put(&out, field.raw);
            continue;
        }
        put(&out, line);
        line.len = 0;
    }
    if (line.len > 0 && !ends_line(slice_of_block(&out)))
        put(&out, slice_text(line_end));
    put(&out, line);
    return slice_of_block(&out);
}

struct slice edit_header_apply(
    struct slice block, const struct edit_asked *asked, const char *line_end, struct arena *arena)
{
    if (asked == NULL)
        return block;
    if (asked->is_new)
        block = slice_of("", 0);
    if (asked->is_defanged)
        block = keep_harmless(block, arena);
    for (const struct edit_field *field = asked->first; field != NULL; field = field->next)
        block = change_field(block, field, line_end, arena);
    return block;
}
