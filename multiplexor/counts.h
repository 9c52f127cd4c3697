/*
 * What filters count by postern.metrics, summed over all workers, past and present. Bounded by
 * metrics.user_series; what has no place is dropped, and counted (stats.def: counts_dropped).
 * Workers are not trusted: what they tell is checked (common/count.h).
 */
#ifndef POSTERN_MULTIPLEXOR_COUNTS_H
#define POSTERN_MULTIPLEXOR_COUNTS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

struct sum {
    uint64_t value;
    char *help;   /* "": none was told */
    char *labels; /* as OpenMetrics writes them; behind name */
    char name[];
};

struct counts {
    struct sum **sums; /* in the order of name, then labels */
    size_t n, cap;
};

/*
 * Adds the counts of a record's field, of which max are kept in all.
 *
 * n_dropped_out  how many had no place.
 * Returns 0, or what is wrong with them: those before it have been added.
 */
int counts_add(struct counts *counts, struct slice field, size_t max, uint64_t *n_dropped_out);
void counts_clear(struct counts *counts);

/* {"name": number, "name{kind=\"a\"}": number …}, in order. */
json_t *counts_json(const struct counts *counts);
/* As OpenMetrics text: postern_user_NAME_total. */
void counts_put(const struct counts *counts, struct buf *out);

#endif
