/*
 * Entries of the store as JSON, one object each: what posternctl store prints, exports and imports.
 *
 *   key       text; or key_hex, when it is no UTF-8 or has a NUL
 *   value     integer, real, boolean, text, or of a table an object or (keys 1, 2, 3 …) an array
 *   packed    only where value does not tell all (tables, text that is no UTF-8, infinite numbers):
 *             the kind and the bytes, in hexadecimal; an import takes it in place of value
 *   expires   seconds since 1970; null: never
 */
#ifndef POSTERN_CTL_STORE_ENTRY_H
#define POSTERN_CTL_STORE_ENTRY_H

#include <jansson.h>

#include "common/arena.h"
#include "worker/store.h"

/* A new reference. Never NULL. */
json_t *store_entry_to_json(const struct store_entry *entry);
/* What it points to lives in the arena or the JSON value. NULL, or what is wrong (borrowed). */
const char *store_entry_from_json(
    const json_t *object, struct arena *arena, struct store_entry *out);

#endif
