/*
 * Spans of bytes that are replaced, in one region: the message, or the decoded content of a part
 * that holds others against the rules.
 */
#include "worker/edit_impl.h"

#include <stdlib.h>

#include "common/err.h"

/* Of those that edit_region_put_front puts; a mail is not changed in so many places. */
enum { FRONT_MAX = 1 << 24 };

struct edit_region *edit_region_new(const struct edit_work *work, struct slice bytes)
{
    struct edit_region *region = arena_calloc(work->arena, 1, sizeof(*region));
    region->bytes = bytes;
    return region;
}

void edit_region_add(const struct edit_work *work, struct edit_region *region, const char *start,
    const char *end, struct slice first, struct slice second)
{
    if (start == end && first.len + second.len == 0)
        return;
    if (region->n == region->cap) {
        const uint32_t cap = region->cap == 0 ? 8 : region->cap * 2;
        struct edit_splice *grown = arena_calloc(work->arena, cap, sizeof(*grown));
        if (region->n > 0)
            memcpy(grown, region->items, region->n * sizeof(*grown));
        region->items = grown;
        region->cap = cap;
    }
    region->items[region->n] =
        (struct edit_splice){start, end, first, second, FRONT_MAX + region->n};
    region->n++;
}

void edit_region_put_front(const struct edit_work *work, struct edit_region *region, const char *at,
    struct slice first, struct slice second)
{
    const uint32_t n_before = region->n;
    edit_region_add(work, region, at, at, first, second);
    if (region->n > n_before && region->n_front < FRONT_MAX)
        region->items[n_before].order = region->n_front++;
}

void edit_region_cut(
    const struct edit_work *work, struct edit_region *region, const char *start, const char *end)
{
    edit_region_add(work, region, start, end, slice_of("", 0), slice_of("", 0));
}

static int by_start(const void *a, const void *b)
{
    const struct edit_splice *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* In order, and none overlaps another: where two readings of the mail made spans that do, all bytes
 * go that one of them takes out. */
void edit_region_settle(struct edit_region *region)
{
    uint32_t kept = 0;
    if (region->n > 1)
        qsort(region->items, region->n, sizeof(*region->items), by_start);
    for (uint32_t i = 0; i < region->n; i++) {
        struct edit_splice *last = kept > 0 ? &region->items[kept - 1] : NULL;
        const struct edit_splice *item = &region->items[i];
        if (last == NULL || item->start >= last->end)
            region->items[kept++] = *item;
        else if (item->end > last->end)
            last->end = item->end;
    }
    region->n = kept;
}

static int put_slice(struct buf *out, struct slice s)
{
    return s.len > 0 ? buf_put(out, s.data, s.len) : 0;
}

int edit_region_put(const struct edit_region *region, const char *from, struct buf *out)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < region->n; i++) {
        const struct edit_splice *item = &region->items[i];
        if (item->start < from)
            return -ERR_BAD;
        rc = put_slice(out, slice_of(from, (size_t)(item->start - from)));
        rc = rc != 0 ? rc : put_slice(out, item->first);
        rc = rc != 0 ? rc : put_slice(out, item->second);
        from = item->end;
    }
    return rc != 0 ? rc
                   : put_slice(out, slice_of(from, (size_t)(edit_end_of(region->bytes) - from)));
}

bool edit_region_touches(const struct edit_region *region, const char *start, const char *end)
{
    uint32_t low = 0, high = region->n;
    while (low < high) { /* the first that ends behind start */
        const uint32_t middle = (low + high) / 2;
        if (region->items[middle].end > start)
            high = middle;
        else
            low = middle + 1;
    }
    return low < region->n && region->items[low].start < end;
}
