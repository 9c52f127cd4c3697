/*
 * Parts in the content of a part that is no container: attachments in TNEF (winmail.dat),
 * uuencoded and yEnc blocks in texts, which mail readers show as attachments, messages attached
 * under another type, and what an S/MIME object has signed. The carrier keeps its content and stays
 * a leaf; what it carries are its children.
 */
#include "worker/mime_impl.h"

#include <string.h>

struct mime_node *mime_inside_add(
    struct mime_inside *inside, const char *type, const char *encoding, struct slice content)
{
    struct mime *mime = inside->mime;
    struct mime_node *carrier = inside->carrier;
    if (inside->found->n >= (uint32_t)mime->conf->worker.max_parts) {
        mime_defect_add(mime, NULL, MIME_DEFECT_TOO_MANY_PARTS, NULL);
        return NULL;
    }
    struct mime_node *node = arena_calloc(mime->arena, 1, sizeof(*node));
    node->part = (struct mime_part){.mime = mime,
        .depth = carrier->part.depth + 1,
        .is_decoded = true,
        .type = type,
        .charset = "",
        .encoding = encoding,
        .disposition = "attachment",
        .content_id = "",
        .header = slice_of(NULL, 0), /* none */
        .content = content};
    node->is_carried = node->is_unread = true;
    node->is_message = strcmp(type, "message/rfc822") == 0;
    mime_child_append(carrier, node);
    mime_found_append(inside->found, node);
    return node;
}

void mime_inside_name(struct mime *mime, struct mime_node *node, struct slice utf8)
{
    struct mime_names names = {.mime = mime, .node = node};
    for (uint32_t i = 0; i < node->part.n_filenames; i++)
        mime_names_add(&names, slice_text(node->part.filenames[i]));
    mime_names_add(&names, utf8);
    node->part.filenames = names.items;
    node->part.n_filenames = names.n;
    if (node->part.filename == NULL && names.n > 0)
        node->part.filename = names.items[0];
}

static bool is_tnef(const struct mime_node *node, struct slice head)
{
    return strcmp(node->part.type, "application/ms-tnef") == 0 ||
           strcmp(node->part.type, "application/vnd.ms-tnef") == 0 || mime_tnef_is_at(head);
}

static bool is_encoded(const struct mime_node *node)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    return encoding != MIME_ENCODING_IDENTITY && encoding != MIME_ENCODING_UNKNOWN;
}

/* A text that is shown; in one that is attached, readers look no further, and it may be long. */
static bool may_have_blocks(const struct mime_node *node)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    if (strncmp(node->part.type, "text/", 5) != 0 || encoding == MIME_ENCODING_UU ||
        encoding == MIME_ENCODING_YENC)
        return false;
    return !is_encoded(node) || (strcmp(node->part.type, "text/plain") == 0 &&
                                    strcmp(node->part.disposition, "attachment") != 0);
}

/* ---- texts that are encoded: looked through, and decoded only when there is something in them
 * ----
 */

enum { PIECE_BYTES = 16384, CARRY_BYTES = 8 };

/* Where the next piece of encoded text ends: not within a code. */
static size_t piece_end(struct slice content, size_t from, enum mime_encoding encoding)
{
    size_t end = from + PIECE_BYTES;
    if (end >= content.len)
        return content.len;
    if (encoding != MIME_ENCODING_QUOTED)
        return end;
    const char *lf = memrchr(content.data + from, '\n', PIECE_BYTES);
    if (lf != NULL)
        return (size_t)(lf - content.data) + 1;
    for (int i = 0; i < 2 && (content.data[end - 1] == '=' || content.data[end - 2] == '='); i++)
        end--;
    return end;
}

/* "begin" at a line's start, or "=ybegin" anywhere. */
static bool has_begin(const char *text, size_t n, bool is_start)
{
    for (const char *at = text;; at++) {
        at = memmem(at, n - (size_t)(at - text), "begin", 5);
        if (at == NULL)
            return false;
        if (at == text ? is_start : at[-1] == '\n' || at[-1] == 'y')
            return true;
    }
}

static bool may_begin_block(const struct mime_node *node)
{
    enum mime_encoding encoding = mime_encoding_of(&node->part);
    struct slice content = node->part.content;
    struct mime_base64 base64;
    char text[CARRY_BYTES + PIECE_BYTES + 4];
    size_t carried = 0;
    mime_base64_init(&base64, mime_base64_best());
    for (size_t from = 0, end; from < content.len; from = end) {
        end = piece_end(content, from, encoding);
        uint8_t *out = (uint8_t *)text + carried;
        size_t n = encoding == MIME_ENCODING_BASE64
                       ? mime_base64_step(&base64, content.data + from, end - from, out)
                       : mime_quoted_decode(content.data + from, end - from, out, NULL);
        n += carried;
        if (has_begin(text, n, carried == 0))
            return true;
        carried = n < CARRY_BYTES ? n : CARRY_BYTES;
        memmove(text, text + n - carried, carried);
    }
    return false;
}

/* What is in a part. */
enum carried { CARRIED_NOTHING = 0, CARRIED_TNEF, CARRIED_SMIME, CARRIED_LETTER, CARRIED_BLOCKS };

static enum carried look_for(struct mime_node *carrier)
{
    uint8_t bytes[MIME_PEEK_BYTES];
    const struct slice head = slice_of(bytes, mime_content_peek(carrier, bytes));
    if (is_tnef(carrier, head))
        return CARRIED_TNEF;
    if (mime_smime_is_at(carrier, head))
        return CARRIED_SMIME;
    if (mime_is_letter(carrier))
        return CARRIED_LETTER;
    const bool may = may_have_blocks(carrier) && (!is_encoded(carrier) || may_begin_block(carrier));
    return may ? CARRIED_BLOCKS : CARRIED_NOTHING;
}

static void add_letter(struct mime_inside *inside, struct slice content)
{
    if (!is_encoded(inside->carrier))
        content = mime_bytes_again(inside->mime, inside->carrier, content);
    (void)mime_inside_add(inside, "message/rfc822", "", content);
}

struct slice mime_inside_read(
    struct mime *mime, struct mime_found *found, struct mime_node *carrier)
{
    struct mime_inside inside = {.mime = mime, .found = found, .carrier = carrier};
    const struct slice none = slice_of(NULL, 0);
    if (carrier->part.is_container || carrier->part.content.len == 0)
        return none;
    const enum carried what = look_for(carrier);
    if (what == CARRIED_NOTHING)
        return none;
    struct slice content = mime_node_content(mime, carrier);
    if (carrier->part.depth >= (uint32_t)mime->conf->worker.max_depth) {
        if (what != CARRIED_BLOCKS || mime_blocks_are_in(content))
            mime_defect_add(mime, carrier, MIME_DEFECT_TOO_DEEP, NULL);
        return none;
    }
    if (what == CARRIED_SMIME)
        return mime_smime_read(&inside, content);
    if (what == CARRIED_TNEF)
        mime_tnef_read(&inside, content);
    else if (what == CARRIED_LETTER)
        add_letter(&inside, content);
    else
        mime_blocks_read(&inside, content);
    return none;
}
