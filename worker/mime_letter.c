/*
 * Whether an attachment that is not declared as a message is one: mail readers open a file named
 * .eml as a message, whatever its type, and some look at the content.
 */
#include "worker/mime_impl.h"

#include <string.h>

/* A message as it was kept or sent begins with one of these; libmagic knows the same. */
static const char *const first_fields[] = {
    "return-path:", "received:", "delivered-to:", "from:", "date:", "relay-version:"};

bool mime_begins_as_message(struct slice content)
{
    for (size_t i = 0; i < sizeof(first_fields) / sizeof(first_fields[0]); i++) {
        if (mime_begins_with(content, first_fields[i]))
            return true;
    }
    return false;
}

static bool has_message_name(const struct mime_part *part)
{
    for (uint32_t i = 0; i < part->n_filenames; i++) {
        if (slice_equal_nocase(
                mime_name_extension(slice_text(part->filenames[i])), slice_text("eml")))
            return true;
    }
    return false;
}

/* A text may begin so too, a list of dates or a log of a chat: each line that is there, but for the
 * last, which may be cut, must be a field, and there must be two. */
static bool has_fields_only(struct slice head)
{
    struct mime_field field;
    uint32_t n = 0;
    for (size_t pos = 0; mime_field_next(head, &pos, false, &field) && pos < head.len; n++) {
        if (mime_is_blank(field.raw))
            break;
        if (!field.has_colon || field.has_odd_name)
            return false;
    }
    return n >= 2;
}

bool mime_is_letter(const struct mime_node *node)
{
    const struct mime_part *part = &node->part;
    uint8_t bytes[MIME_PEEK_BYTES];
    if (node->is_message)
        return false;
    if (has_message_name(part))
        return true;
    if (part->filename == NULL && strcmp(part->disposition, "attachment") != 0)
        return false;
    const struct slice head = slice_of(bytes, mime_content_peek(node, bytes));
    return mime_begins_as_message(head) &&
           (strncmp(part->type, "text/", 5) != 0 || has_fields_only(head));
}
