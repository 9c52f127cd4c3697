/* The parts that end the text which a person reads. */
#include <string.h>

#include "common/text.h"
#include "worker/append.h"
#include "worker/edit.h"
#include "worker/mime_impl.h"

enum { FOUND_MAX = 64 };

struct search {
    struct job *job;
    bool is_forced;
    bool with_names; /* text that has a file name counts too */
    struct arena *arena;
    struct append_parts *found;
    const char *refusal; /* NULL, or "signed", "encrypted" */
};

static bool is_type(const struct mime_node *node, const char *type)
{
    return strcmp(node->part.type, type) == 0;
}

bool append_is_html(const char *type)
{
    return strcmp(type, "text/html") == 0 || strcmp(type, "application/xhtml+xml") == 0;
}

static bool is_attachment(const struct edit_now *now)
{
    return strcmp(now->header->disposition, "attachment") == 0;
}

static bool is_readable(const struct search *search, const struct mime_node *node)
{
    const struct mime_part *part = &node->part;
    struct edit_now now;
    edit_part_now(search->job, part, &now);
    if (part->is_container || part->is_decoded || now.is_gone || is_attachment(&now))
        return false;
    if (now.header->filename != NULL && !search->with_names && part->parent != NULL)
        return false;
    return append_is_html(now.type) || strcmp(now.type, "text/plain") == 0;
}

/* Whether another part that was found has the same bytes: one read in two ways. */
static bool is_found(const struct search *search, const struct mime_node *node)
{
    for (uint32_t i = 0; i < search->found->n; i++) {
        const struct slice other = search->found->items[i]->content, own = node->part.content;
        if (own.data < other.data + other.len && other.data < own.data + own.len)
            return true;
    }
    return false;
}

static struct slice text_now(const struct search *search, const struct mime_node *node)
{
    const struct mime_part *now = edit_reading_now(search->job, &node->part);
    return now != NULL ? mime_text(now->mime, now) : slice_of("", 0);
}

/* Inline PGP: what it covers must stay as it is, and what follows it is suspicious. */
static const char *armour_of(struct search *search, const struct mime_node *node)
{
    const struct slice text = text_trim(text_now(search, node));
    if (mime_begins_with(text, "-----begin pgp signed message-----"))
        return "signed";
    return mime_begins_with(text, "-----begin pgp message-----") ? "encrypted" : NULL;
}

static void add(struct search *search, const struct mime_node *node)
{
    const char *refusal = node->part.is_encrypted ? "encrypted"
                          : node->part.is_signed  ? "signed"
                                                  : armour_of(search, node);
    if (refusal != NULL && !search->is_forced)
        search->refusal = refusal;
    if (search->found->n < FOUND_MAX && !is_found(search, node))
        search->found->items[search->found->n++] = &node->part;
}

static bool collect(struct search *search, const struct mime_node *node);

static bool collect_each(struct search *search, const struct mime_node *node)
{
    bool has_any = false;
    for (const struct mime_node *child = node->first_child; child != NULL; child = child->next)
        has_any = collect(search, child) || has_any;
    return has_any;
}

/* RFC 2387: the one that `start` names, failing that the first. */
static bool collect_root(struct search *search, const struct mime_node *node)
{
    const char *start = mime_param_find(node->part.params, node->part.n_params, "start");
    const size_t len = start != NULL ? strlen(start) : 0;
    const bool has_brackets = len > 2 && start[0] == '<' && start[len - 1] == '>';
    for (const struct mime_node *child = node->first_child; has_brackets && child != NULL;
         child = child->next) {
        const char *id = child->part.content_id;
        if (strlen(id) == len - 2 && memcmp(id, start + 1, len - 2) == 0)
            return collect(search, child);
    }
    return node->first_child != NULL && collect(search, node->first_child);
}

static bool is_blank(struct search *search, const struct mime_node *node)
{
    return is_readable(search, node) && mime_is_blank(text_now(search, node));
}

/* The last that has text; of those without any words, which programs put behind attachments, the
 * last one only when nothing else is there. */
static bool collect_last(struct search *search, const struct mime_node *node)
{
    uint32_t n = 0;
    for (const struct mime_node *child = node->first_child; child != NULL; child = child->next)
        n++;
    const struct mime_node **children = arena_calloc(search->arena, n + 1, sizeof(*children));
    const struct mime_node *blank = NULL;
    n = 0;
    for (const struct mime_node *child = node->first_child; child != NULL; child = child->next)
        children[n++] = child;
    while (n-- > 0) {
        if (!is_blank(search, children[n])) {
            if (collect(search, children[n]))
                return true;
        } else if (blank == NULL) {
            blank = children[n];
        }
    }
    return blank != NULL && collect(search, blank);
}

static bool collect_sealed(struct search *search, const struct mime_node *node)
{
    if (!search->is_forced) {
        search->refusal = node->part.is_encrypted ? "encrypted" : "signed";
        return true;
    }
    return node->first_child != NULL && collect(search, node->first_child);
}

static const struct {
    const char *type;
    bool (*collect)(struct search *search, const struct mime_node *node);
} containers[] = {
    {"multipart/alternative", collect_each},
    {"multipart/related", collect_root},
    {"multipart/report", collect_root},
    {"multipart/signed", collect_sealed},
    {"multipart/encrypted", collect_sealed},
};

/* Whether there is readable text in it, which was then noted. */
static bool collect(struct search *search, const struct mime_node *node)
{
    const struct mime_part *part = &node->part;
    struct edit_now now;
    edit_part_now(search->job, part, &now);
    if (is_attachment(&now) || part->is_decoded)
        return false;
    if (is_readable(search, node)) {
        add(search, node);
        return true;
    }
    for (size_t i = 0; i < sizeof(containers) / sizeof(containers[0]); i++) {
        if (is_type(node, containers[i].type))
            return containers[i].collect(search, node);
    }
    if (!mime_begins_with(slice_text(part->type), "multipart/") ||
        is_type(node, "multipart/digest"))
        return false;
    return collect_last(search, node);
}

/* S/MIME in one part: what it holds cannot be changed. */
static bool is_opaque(const struct mime_part *part)
{
    return !part->is_container && (part->is_encrypted || part->is_signed);
}

const char *append_find_parts(
    struct job *job, bool is_forced, struct arena *arena, struct append_parts *out)
{
    struct search search = {.job = job, .is_forced = is_forced, .arena = arena, .found = out};
    const struct mime_node *root = job->mime->root;
    out->items = arena_calloc(arena, FOUND_MAX, sizeof(*out->items));
    out->n = 0;
    if (is_opaque(&root->part) && !is_forced)
        return root->part.is_encrypted ? "encrypted" : "signed";
    if (!collect(&search, root)) {
        search.with_names = true;
        collect(&search, root);
    }
    if (search.refusal != NULL)
        return search.refusal;
    return out->n > 0 ? NULL : "no text part";
}
