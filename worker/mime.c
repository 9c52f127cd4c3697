/* Life cycle of a read message: limits, tree, numbering, what parts inherit; and the plain
 * look-ups. */
#include "worker/mime.h"

#include <gmime/gmime.h>

#include "worker/mime_impl.h"

void mime_start(void)
{
    g_mime_init();
}

static struct mime_node *next_in_walk(struct mime_node *node)
{
    if (node->first_child != NULL)
        return node->first_child;
    while (node != NULL && node->next == NULL)
        node = node->parent;
    return node != NULL ? node->next : NULL;
}

static void inherit(struct mime_node *node)
{
    struct mime_part *part = &node->part;
    part->parent = node->parent != NULL ? &node->parent->part : NULL;
    part->is_signed = (part->parent != NULL && part->parent->is_signed) ||
                      mime_smime_is_signed(node) || strcmp(part->type, "multipart/signed") == 0;
    part->is_encrypted = (part->parent != NULL && part->parent->is_encrypted) ||
                         mime_smime_is_encrypted(node) ||
                         strcmp(part->type, "multipart/encrypted") == 0;
}

/* "1" for the root, else the parent's path and the place among its children. */
static void set_path(struct mime *mime, struct mime_node *node)
{
    if (node->parent == NULL) {
        node->part.path = "1";
        return;
    }
    uint32_t place = ++node->parent->n_numbered;
    node->part.path = arena_printf(mime->arena, "%s.%u", node->parent->part.path, (unsigned)place);
}

static void number_parts(struct mime *mime)
{
    mime->parts = arena_calloc(mime->arena, mime->n_parts, sizeof(*mime->parts));
    mime->nodes = arena_calloc(mime->arena, mime->n_parts, sizeof(*mime->nodes));
    uint32_t n = 0;
    for (struct mime_node *node = mime->root; node != NULL; node = next_in_walk(node)) {
        node->part.number = n;
        set_path(mime, node);
        inherit(node);
        mime->nodes[n] = node;
        mime->parts[n++] = &node->part;
    }
    mime->n_parts = n;
}

struct mime *mime_new(struct slice message, const struct header_list *headers,
    const struct conf *conf, struct arena *arena)
{
    struct mime *mime = arena_calloc(arena, 1, sizeof(*mime));
    mime->conf = conf;
    mime->arena = arena;
    mime->message = message.data != NULL ? message : slice_of("", 0);
    mime->headers = headers;
    mime->decoded_left = conf->worker.max_decoded;
    mime_archive_budget(conf, &mime->archive_budget);
    mime_scan_bytes(mime);
    mime->root = mime_tree_read(mime);
    number_parts(mime);
    return mime;
}

void mime_free(struct mime *mime)
{
    (void)mime; /* all of it is in the arena: GMime's objects do not outlive the calls that make
                   them */
}

const struct mime_part *mime_root(const struct mime *mime)
{
    return &mime->root->part;
}

const struct mime_part *const *mime_parts(const struct mime *mime, uint32_t *n_out)
{
    *n_out = mime->n_parts;
    return mime->parts;
}

const struct mime_defect *mime_defects(struct mime *mime, uint32_t *n_out)
{
    mime_scan_lines(mime);
    mime_content_check(mime);
    mime_charsets(mime, n_out);
    *n_out = mime->n_defects;
    return mime->defects;
}

static bool find_in_block(struct slice block, struct slice name, struct slice *value_out)
{
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(block, &pos, false, &field);) {
        if (field.has_colon && slice_equal_nocase(field.name, name)) {
            *value_out = field.value;
            return true;
        }
    }
    return false;
}

struct slice mime_part_header(struct mime *mime, const struct mime_part *part, struct slice name)
{
    struct slice value;
    if (part->parent == NULL && mime->headers != NULL && !mime->headers->is_cut) {
        const struct header_field *field = header_find(mime->headers, name, 1);
        return field != NULL ? mime_decode_header(field->value, mime->arena) : slice_of(NULL, 0);
    }
    if (!find_in_block(part->header, name, &value))
        return slice_of(NULL, 0);
    struct slice decoded = mime_decode_header(value, mime->arena);
    return decoded.data != NULL ? decoded : slice_of("", 0);
}
