/*
 * A message of any bytes, and everything that a filter may ask about it: never a crash, and what
 * holds for every message: parts lie within the parts above them, and what one reading shows is
 * shown as well when there are two. The first byte picks small limits or the usual ones.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "tests/unit/mime_fixture.h"
#include "worker/mime_impl.h"

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static struct mime_fixture *fixture(bool is_small)
{
    static const char *const limits[] = {"worker.max_parts=5", "worker.max_depth=2",
        "worker.max_headers=10", "worker.max_header_line=1024", "worker.max_decoded=65536",
        "worker.max_text=1024", NULL};
    static struct mime_fixture fixtures[2];
    struct mime_fixture *f = &fixtures[is_small];
    if (f->arena == NULL)
        mime_fixture_open(f, is_small ? limits : NULL);
    return f;
}

/* Offsets count in the message, or in one decoded region: both parts are in the same one, or none
 * is told. */
static bool are_comparable(const struct mime_part *part)
{
    return !part->is_decoded && !part->parent->is_decoded;
}

/* A part that the first reading sees starts behind the header of the one above and ends with it. */
static void check_place(struct mime_node *node)
{
    const struct mime_part *part = &node->part, *above = part->parent;
    if (above == NULL || node->is_second || node->parent->is_second || !are_comparable(part))
        return;
    /* The line end between an empty content and a boundary is the header's and the boundary's. */
    size_t shared = part->content.len == 0 ? 2 : 0;
    struct slice last = part->content.len > 0 ? part->content : part->header;
    const char *end = last.data + last.len;
    require(part->header.data >= above->content.data, "a part starts within the one above");
    require(end <= above->content.data + above->content.len + shared,
        "a part ends within the one above");
    require(part->header.data + part->header.len <= part->content.data, "content behind header");
}

static void check_places(struct mime_fixture *f)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(f->mime, &n);
    for (uint32_t i = 0; i < n; i++)
        check_place(mime_node_of(f->mime, parts[i]));
}

enum { NAMES_MAX = 64 };

struct names {
    char *items[NAMES_MAX];
    uint32_t n;
};

static void copy_names(struct mime_fixture *f, struct names *names)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(f->mime, &n);
    names->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < parts[i]->n_filenames && names->n < NAMES_MAX; k++)
            names->items[names->n++] = xstrdup(parts[i]->filenames[k]);
    }
}

/* Limits cut the list of readings, and then the two need not agree. */
static bool is_cut(struct mime_fixture *f)
{
    static const char *const kinds[] = {"too-many-parts", "too-many-names", "too-many-parameters",
        "too-many-headers", "too-deep", "header-too-long", "name-too-long", "too-much-decoded"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (mime_fixture_has_defect(f, kinds[i]))
            return true;
    }
    return false;
}

/* A bare CR behind everything makes a second reading necessary and changes nothing else: no name
 * may get lost by it. */
static void check_union(struct mime_fixture *f, const uint8_t *data, size_t len)
{
    if (len == 0 || data[len - 1] != '\n' || is_cut(f))
        return;
    struct names names;
    copy_names(f, &names);
    char *longer = xmalloc(len + 1);
    memcpy(longer, data, len);
    longer[len] = '\r';
    mime_fixture_read(f, longer, len + 1);
    bool has_all = is_cut(f);
    for (uint32_t i = 0; i < names.n; i++) {
        require(has_all || mime_fixture_has_name(f, names.items[i]),
            "a name of one reading is one of two");
        free(names.items[i]);
    }
    free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct mime_fixture *f = fixture((data[0] & 1) != 0);
    mime_fixture_read(f, data + 1, len - 1);
    mime_fixture_check(f);
    check_places(f);
    struct slice text = mime_message_text(f->mime);
    struct slice value =
        mime_encode_header(slice_of(text.data, text.len < 500 ? text.len : 500), 7, f->arena);
    mime_decode_header(value, f->arena);
    check_union(f, data + 1, len - 1);
    return 0;
}
