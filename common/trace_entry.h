/*
 * One entry of the ring: a kind, when it happened, and fields of trace.def. Written into memory of
 * the caller's, read back from bytes that nobody has vouched for.
 *
 *   u8 kind, u8 flags (bit 0: something was cut), u16 bytes of the fields, u32 0, i64 microseconds
 *   since 1970; then for each field u8 number, u16 length, bytes (a number: as few as it needs, the
 *   lowest first)
 */
#ifndef POSTERN_TRACE_ENTRY_H
#define POSTERN_TRACE_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ring.h"

enum trace_kind {
#define TRACE_KIND(id, number, name) TRACE_##id = (number),
#define TRACE_FIELD(id, number, member, type)
#include "common/trace.def"
#undef TRACE_KIND
#undef TRACE_FIELD
};

enum trace_field {
#define TRACE_KIND(id, number, name)
#define TRACE_FIELD(id, number, member, type) TRACE_FIELD_##id = (number),
#include "common/trace.def"
#undef TRACE_KIND
#undef TRACE_FIELD
    TRACE_FIELD_COUNT,
};

enum trace_type { TRACE_TYPE_TEXT = 0, TRACE_TYPE_NUMBER, TRACE_TYPE_PAIR };

struct trace_field_info {
    const char *member; /* NULL: no field has this number */
    enum trace_type type;
};
const struct trace_field_info *trace_field_info(unsigned field); /* NULL when there is none */
const char *trace_kind_name(unsigned kind);                      /* NULL when there is none */

/* Under construction. */
struct trace_entry {
    uint8_t bytes[RING_ENTRY_MAX];
    size_t len;
};

void trace_entry_init(struct trace_entry *entry, enum trace_kind kind);
/* Adds a field; nothing for an empty text, and for the number 0. At most max_bytes of a text are
 * kept, and what the entry has room for: the cut is marked, and shown as "...". */
void trace_entry_put_text(
    struct trace_entry *entry, enum trace_field field, struct slice text, size_t max_bytes);
void trace_entry_put_number(struct trace_entry *entry, enum trace_field field, uint64_t number);
/* For the ring. */
struct slice trace_entry_bytes(struct trace_entry *entry);

/* As read. Slices point into the bytes it was read from. */
struct trace_view {
    unsigned kind;
    bool is_cut;
    int64_t time_us;
    struct slice fields;
};
struct trace_value {
    unsigned field; /* maybe one that this program does not know */
    struct slice text;
    uint64_t number;
};

/* 0, or -ERR_SHORT, -ERR_BAD. */
int trace_view_read(struct slice bytes, struct trace_view *out);
/* Takes the next field off fields. 0, -ERR_NOTFOUND at the end, -ERR_SHORT. */
int trace_view_next(struct slice *fields, struct trace_value *out);
/* The first of that number; the empty slice when there is none. */
struct slice trace_view_text(const struct trace_view *view, enum trace_field field);

#endif
