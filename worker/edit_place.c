/* Where the bytes of a part are: in the message, in decoded content of another, or nowhere of their
 * own. */
#include "worker/edit_impl.h"

bool edit_is_alias(const struct mime_node *node)
{
    const struct mime_node *parent = node->parent;
    return parent != NULL && node->part.header.data == parent->part.header.data &&
           node->part.content.data == parent->part.content.data;
}

/* The node that stands for it where bytes are concerned: a part listed under two readings with the
 * same bytes is one. */
static struct mime_node *edit_canonical(struct mime_node *node)
{
    while (edit_is_alias(node))
        node = node->parent;
    return node;
}

static bool is_within(struct slice outer, struct slice s)
{
    return outer.data != NULL && s.data != NULL && s.data >= outer.data &&
           s.data + s.len <= outer.data + outer.len;
}

struct mime_node *edit_carrier(const struct mime_node *node)
{
    for (struct mime_node *above = node->parent; above != NULL; above = above->parent) {
        if (is_within(above->region, node->part.header))
            return above;
        if (is_within(above->part.content, node->part.header) &&
            is_within(above->part.content, node->part.content))
            return NULL;
    }
    return NULL;
}

bool edit_is_in_digest(const struct mime_node *node)
{
    return node->parent != NULL && node->parent->is_digest;
}

bool edit_is_carried(const struct mime_node *node)
{
    while (node != NULL && !node->is_carried)
        node = node->parent;
    return node != NULL;
}

/* Whether its bytes stand within those of the part around it, or of its decoded content when that
 * can be encoded again. */
static bool stands_within(const struct mime_node *node)
{
    const struct mime_node *above = node->parent;
    return edit_is_alias(node) || is_within(above->part.content, node->part.header) ||
           is_within(above->region, node->part.header);
}

/* The same for all parts around it, up to the message: then its bytes can be changed. */
bool edit_has_place(const struct mime_node *node)
{
    if (edit_is_carried(node))
        return false;
    for (; node->parent != NULL; node = node->parent) {
        if (!stands_within(node))
            return false;
    }
    return true;
}

struct mime_node *edit_with_place(struct mime_node *node)
{
    while (!edit_has_place(node))
        node = node->parent;
    return edit_canonical(node);
}

const char *edit_line_end(const struct mime_part *part)
{
    const struct mime_node *node = edit_canonical(mime_node_of(part->mime, part));
    const struct slice message = part->mime->message;
    const char *at = node->part.header.data;
    const bool is_in_message = is_within(message, node->part.header) && at > message.data;
    if (is_in_message && at[-1] == '\n')
        return at - message.data > 1 && at[-2] == '\r' ? "\r\n" : "\n";
    const struct slice content = node->part.content;
    const char *lf = content.len > 0 ? memchr(content.data, '\n', content.len) : NULL;
    return lf == NULL || (lf > content.data && lf[-1] == '\r') ? "\r\n" : "\n";
}
