/* Parts made anew: their content fields, their encoding, boundaries for them. */
#include "worker/edit_impl.h"

#include <stdio.h>

#include "common/hash.h"
#include "common/text.h"

enum {
    LINE_MAX_BYTES = 998,
    TYPE_MAX = 127,
    CHARSET_MAX = 40,
    FILENAME_MAX_BYTES = 255,
    BOUNDARY_TRIES = 100
};

/* ---- checks ---- */

/* RFC 2045 section 5.1: a token. */
static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.data[i];
        if (c <= ' ' || c >= 127 || strchr("()<>@,;:\\\"/[]?=", c) != NULL)
            return false;
    }
    return s.len > 0;
}

static bool is_type(struct slice type)
{
    const char *slash = type.len <= TYPE_MAX ? memchr(type.data, '/', type.len) : NULL;
    if (slash == NULL)
        return false;
    const size_t front = (size_t)(slash - type.data);
    return is_token(slice_of(type.data, front)) &&
           is_token(slice_of(slash + 1, type.len - front - 1));
}

static bool is_text(struct slice type)
{
    return mime_begins_with(type, "text/");
}

/* RFC 2046 section 5.2.1: a message must not be encoded, so that all its lines must do as they are.
 */
static const char *check_message(struct slice eml)
{
    struct mime_field field;
    size_t pos = 0, longest = 0;
    if (!mime_field_next(eml, &pos, false, &field) || !field.has_colon)
        return "a message/rfc822 begins with its header";
    for (pos = 0; pos < eml.len;) {
        const size_t len = mime_line_next(eml, &pos, true).len;
        longest = len > longest ? len : longest;
    }
    if (longest > LINE_MAX_BYTES || memchr(eml.data, '\0', eml.len) != NULL)
        return "a message/rfc822 cannot be encoded, and this one has a NUL or a line of more than "
               "998 bytes: add it as application/octet-stream";
    return NULL;
}

static bool is_message(struct slice type)
{
    return slice_equal_nocase(type, slice_text("message/rfc822"));
}

const char *edit_entity_check(const struct edit_entity *entity, bool may_be_message)
{
    if (entity->type.len == 0 || !is_type(entity->type))
        return "type is no media type such as text/plain";
    if (may_be_message && is_message(entity->type)) {
        const char *wrong = check_message(entity->body);
        if (wrong != NULL)
            return wrong;
    } else if (mime_begins_with(entity->type, "multipart/") ||
               mime_begins_with(entity->type, "message/")) {
        return "a new part is neither a multipart nor a message";
    }
    if (entity->charset.len > CHARSET_MAX ||
        (entity->charset.len > 0 && !is_token(entity->charset)))
        return "charset is no name of a charset";
    if (entity->filename.len > FILENAME_MAX_BYTES || !text_is_utf8(entity->filename))
        return "filename is UTF-8 of at most 255 bytes";
    if (is_text(entity->type) && entity->charset.len == 0 && !text_is_utf8(entity->body))
        return "the body is no UTF-8, and no charset says what it is";
    return NULL;
}

/* ---- file names ---- */

static bool is_plain_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        const unsigned char c = (unsigned char)name.data[i];
        if (c < ' ' || c >= 127)
            return false;
    }
    return true;
}

/* What makes programs disagree about a name, or is no part of one: "_". */
static struct slice clean_name(struct slice name, struct arena *arena)
{
    char *out = arena_memdup0(arena, name.data, name.len);
    for (size_t i = 0; i < name.len; i++) {
        const unsigned char c = (unsigned char)out[i];
        if (c < ' ' || c == 127 || strchr("\"\\/:", c) != NULL)
            out[i] = '_';
    }
    return slice_of(out, name.len);
}

/* RFC 2231 section 4. */
static const char *extended_name(struct slice name, struct arena *arena)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = arena_alloc(arena, name.len * 3 + 1), *at = out;
    for (size_t i = 0; i < name.len; i++) {
        const unsigned char c = (unsigned char)name.data[i];
        const bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                              (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_';
        if (is_plain) {
            *at++ = (char)c;
            continue;
        }
        *at++ = '%';
        *at++ = hex[c >> 4];
        *at++ = hex[c & 15];
    }
    *at = '\0';
    return out;
}

struct slice edit_disposition(bool is_inline, struct slice filename, struct arena *arena)
{
    const char *word = is_inline ? "inline" : "attachment";
    const struct slice name = clean_name(filename, arena);
    if (name.len == 0)
        return slice_text(word);
    if (is_plain_name(name))
        return slice_text(arena_printf(arena, "%s;\n filename=\"%s\"", word, name.data));
    return slice_text(
        arena_printf(arena, "%s;\n filename*=utf-8''%s", word, extended_name(name, arena)));
}

/* ---- whole parts ---- */

static void add_field(struct edit_piece *piece, const char *name, struct slice value,
    const char *line_end, struct arena *arena)
{
    const struct slice line = edit_field_line(slice_text(name), value, line_end, arena);
    piece->header = edit_join(piece->header, line, arena);
}

static struct slice type_value(const struct edit_entity *entity, bool is_ascii, struct arena *arena)
{
    const char *charset = is_ascii ? "us-ascii" : "utf-8";
    if (!is_text(entity->type))
        return entity->type;
    if (entity->charset.len > 0)
        charset = arena_memdup0(arena, entity->charset.data, entity->charset.len);
    return slice_text(
        arena_printf(arena, "%.*s; charset=%s", (int)entity->type.len, entity->type.data, charset));
}

static const char *lower_copy(struct slice s, struct arena *arena)
{
    char *text = arena_memdup0(arena, s.data != NULL ? s.data : "", s.len);
    text_lower(text);
    return text;
}

/* The body in the encoding that suits it; lines says whether it has such. Lines that begin with a
 * dash could be taken for a boundary. */
static const char *encode_body(
    struct slice body, bool has_lines, const char *line_end, struct arena *arena, struct slice *out)
{
    const bool has_dashes = body.len > 1 && (memcmp(body.data, "--", 2) == 0 ||
                                                memmem(body.data, body.len, "\n--", 3) != NULL);
    *out = body;
    if (!has_lines)
        *out = edit_base64(body, line_end, arena);
    else if (has_dashes || !edit_is_plain(body, false, line_end))
        *out = edit_quoted(body, true, line_end, arena);
    else
        return "7bit";
    return has_lines ? "quoted-printable" : "base64";
}

void edit_entity_make(const struct edit_entity *entity, const char *line_end, struct arena *arena,
    struct edit_piece *out)
{
    const bool is_a_text = is_text(entity->type), is_a_message = is_message(entity->type);
    const bool has_lines = is_a_message || edit_has_lines(lower_copy(entity->type, arena),
                                               lower_copy(entity->charset, arena), entity->body);
    const struct slice body = has_lines ? edit_lines(entity->body, line_end, arena) : entity->body;
    const bool is_ascii = edit_is_plain(body, false, line_end);
    *out = (struct edit_piece){.header = slice_of("", 0),
        .content = body,
        .position = entity->position,
        .is_message = is_a_message,
        .is_8bit = is_a_message && !is_ascii};
    const char *encoding = is_a_message
                               ? out->is_8bit ? "8bit" : "7bit"
                               : encode_body(body, has_lines, line_end, arena, &out->content);
    add_field(out, "Content-Type", type_value(entity, is_ascii, arena), line_end, arena);
    add_field(out, "Content-Transfer-Encoding", slice_text(encoding), line_end, arena);
    if (entity->filename.len > 0 || !is_a_text || entity->is_inline)
        add_field(out, "Content-Disposition",
            edit_disposition(entity->is_inline, entity->filename, arena), line_end, arena);
}

struct edit_piece edit_text_piece(struct slice text, const char *line_end, struct arena *arena)
{
    const bool needs_end = text.len > 0 && text.data[text.len - 1] != '\n';
    const struct edit_entity entity = {.type = slice_text("text/plain"),
        .body = needs_end ? edit_join(text, slice_of("\n", 1), arena) : text,
        .is_inline = false};
    struct edit_piece piece;
    edit_entity_make(&entity, line_end, arena, &piece);
    return piece;
}

/* ---- boundaries ---- */

static bool is_in(struct slice haystack, const char *needle)
{
    return haystack.len > 0 && memmem(haystack.data, haystack.len, needle, strlen(needle)) != NULL;
}

static bool is_used(const struct edit *edit, const char *text)
{
    if (is_in(edit->mime->message, text))
        return true;
    for (uint32_t i = 0; i < edit->mime->n_parts; i++) {
        const struct edit_asked *asked = edit->asked[i];
        if (asked != NULL && (is_in(asked->content, text) || is_in(asked->warning, text)))
            return true;
    }
    for (const struct edit_piece *piece = edit->first_added; piece != NULL; piece = piece->next) {
        if (is_in(piece->content, text))
            return true;
    }
    return false;
}

/* "=_" is in no quoted-printable and no base64. The rest is the message's name, so that a retry
 * makes the same mail. */
const char *edit_boundary_make(const struct edit *edit, struct arena *arena)
{
    uint32_t hash = hash_bytes(edit->job->request.uid);
    for (uint32_t i = 0; i < BOUNDARY_TRIES; i++) {
        hash = hash_more(hash, slice_of(&i, sizeof(i)));
        const uint32_t other = hash_more(hash, edit->job->request.uid);
        const char *text = arena_printf(arena, "=_postern_%08x%08x", hash, other);
        if (!is_used(edit, text))
            return text;
    }
    return NULL;
}
