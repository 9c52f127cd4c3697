/*
 * A message as GMime reads it, flat, to compare with: the reference for structure and charsets.
 * GMime itself has no limits; the caller keeps away from it what it cannot bear.
 */
#ifndef POSTERN_TESTS_GMIME_VIEW_H
#define POSTERN_TESTS_GMIME_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"

struct gmime_field {
    const char *name;
    const char *value; /* decoded; NULL: GMime has none */
};

struct gmime_part {
    const char *type; /* lower case */
    uint32_t depth;
    bool is_container;    /* multipart or message */
    size_t start, end;    /* of a leaf's encoded content in the message */
    struct slice content; /* decoded; data NULL: none */
    const char *text;     /* of a text part, in UTF-8; NULL: none */
    const char *filename; /* NULL: none */
    struct gmime_field *fields;
    uint32_t n_fields;
};

struct gmime_view {
    bool is_message; /* false: GMime found no message in it */
    struct gmime_part *parts;
    uint32_t n, cap;
};

/* Everything is copied into the arena. Parts deeper than max_depth are left out. */
void gmime_view_read(
    struct gmime_view *view, struct slice message, uint32_t max_depth, struct arena *arena);

#endif
