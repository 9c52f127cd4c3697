/* Entries of the front end's ring as JSON objects and as lines for people. */
#ifndef POSTERN_CTL_TRACE_ENTRY_H
#define POSTERN_CTL_TRACE_ENTRY_H

#include <jansson.h>

#include "common/trace_entry.h"

enum { TRACE_LINE_MAX = 4096 };

/* {"time": "2026-11-22T05:13:12.123456Z", "kind": "stage", …}, and "cut": true when something was
 * cut. NULL when the bytes are no entry, or of a kind that this program does not know. */
json_t *trace_entry_json(struct slice bytes);
json_int_t trace_entry_number(const json_t *entry, const char *member); /* 0 when there is none */

/* "05:13:12.123". out: 16 bytes. */
void trace_entry_clock(const json_t *entry, char *out, size_t out_bytes);
/* "550 5.7.1 no, nobody (502 us)": what there is to say of a stage or a message's end beyond its
 * verdict and place. */
void trace_entry_remark(const json_t *entry, struct buf *out);
/* "add_header X-Spam: yes". */
void trace_entry_change(const json_t *entry, struct buf *out);
/* One line about any entry, without line feed. */
void trace_entry_line(const json_t *entry, struct buf *out);
/* "12 us", "1.2 ms", "3.4 s"; "" for 0. */
void trace_entry_duration(json_int_t us, char *out, size_t out_bytes);

#endif
