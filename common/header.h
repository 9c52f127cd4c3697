/*
 * A header block as bytes ("Name: value CRLF", folded lines, no empty line at its end) and the list of its fields, found by one bounded
 * scan of our own. Lines may end with CRLF, LF or CR; a line that is no field and no continuation belongs to the field before it (or is
 * a field with an empty name at the top) and is reported.
 */
#ifndef POSTERN_HEADER_H
#define POSTERN_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"

struct header_field {
    struct slice name;  /* as received, without blanks before the colon */
    struct slice value; /* after the colon as received, leading blank and folding included, without the last line end */
    struct slice raw;   /* the whole field with its line end */
};

struct header_list {
    struct header_field *items; /* in the arena */
    uint32_t n;
    bool is_cut;        /* more than max_fields: the rest is not listed */
    bool has_nul;
    bool has_bare_cr;
    bool has_bare_lf;
    bool has_bad_line;  /* neither field nor continuation */
    bool has_8bit;
};

/* Scans a block. max_fields bounds the list. Never fails. */
void header_list_scan(struct slice block, uint32_t max_fields, struct arena *arena, struct header_list *out);
/* Length of the header block of a raw message: up to and excluding the empty line; *body_offset_out is the first body byte. A message
 * that starts with a line that cannot be a header line has no header. Accepts CRLF, LF. */
size_t header_block_length(struct slice message, size_t *body_offset_out);
/* The nth (from 1) field of that name, caseless; NULL. */
const struct header_field *header_find(const struct header_list *list, struct slice name, uint32_t nth);
uint32_t header_count(const struct header_list *list, struct slice name);

#endif
