/* The list of defects of a message: each kind once for each part, bounded, so that a hostile mail
 * cannot make it long. */
#include "worker/mime_impl.h"

#include <assert.h>

enum { HARMLESS = false, AMBIGUOUS = true };

static const struct {
    const char *kind;
    bool is_ambiguous;
} kinds[] = {
#define DEFECT(id, kind, is_ambiguous, help) [MIME_DEFECT_##id] = {kind, is_ambiguous},
#include "worker/defects.def"
#undef DEFECT
};

static_assert(MIME_DEFECT_COUNT <= 64, "kinds are kept as bits");

/* Those after which nobody knows all names of the part. One that is too long has kept its end. */
static bool hides_names(enum mime_defect_kind kind)
{
    return kind == MIME_DEFECT_TOO_MANY_NAMES || kind == MIME_DEFECT_TOO_MANY_PARAMETERS ||
           kind == MIME_DEFECT_TOO_MANY_HEADERS || kind == MIME_DEFECT_HEADER_TOO_LONG;
}

static bool is_reported(const struct mime *mime, const struct mime_node *node, uint64_t bit)
{
    if (node != NULL)
        return (node->defects & bit) != 0 ||
               (mime->n_defects >= MIME_DEFECTS_MAX && (mime->kinds_seen & bit) != 0);
    for (uint32_t i = 0; i < mime->n_defects; i++) {
        if (mime->defects[i].part == NULL &&
            mime->defects[i].kind == kinds[__builtin_ctzll(bit)].kind)
            return true;
    }
    return false;
}

static void grow(struct mime *mime)
{
    uint32_t cap = mime->cap_defects == 0 ? 8 : mime->cap_defects * 2;
    struct mime_defect *items = arena_calloc(mime->arena, cap, sizeof(*items));
    if (mime->n_defects > 0)
        memcpy(items, mime->defects, mime->n_defects * sizeof(*items));
    mime->defects = items;
    mime->cap_defects = cap;
}

void mime_defect_add(
    struct mime *mime, struct mime_node *node, enum mime_defect_kind kind, const char *detail)
{
    uint64_t bit = UINT64_C(1) << kind;
    if (node != NULL && hides_names(kind))
        node->part.lacks_names = true;
    if (mime->is_muted || is_reported(mime, node, bit))
        return;
    if (node != NULL)
        node->defects |= bit;
    mime->kinds_seen |= bit;
    if (mime->n_defects == mime->cap_defects)
        grow(mime);
    mime->defects[mime->n_defects++] = (struct mime_defect){
        .kind = kinds[kind].kind,
        .part = node != NULL ? &node->part : NULL,
        .detail = detail,
        .is_ambiguous = kinds[kind].is_ambiguous,
    };
}
