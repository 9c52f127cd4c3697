/* The listing as it grows: its entries, and what may still be spent on it. */
#include <string.h>

#include "common/clock.h"
#include "worker/archive_impl.h"

void archive_fail(struct lister *lister, const char *text)
{
    if (lister->error == NULL)
        lister->error = text;
}

void archive_stop(struct lister *lister, const char *text)
{
    archive_fail(lister, text);
    lister->is_stopped = true;
}

bool archive_has_time(struct lister *lister)
{
    if (clock_now_ms() >= lister->deadline_ms)
        archive_stop(lister, "listing it takes longer than worker.max_archive_time");
    return !lister->is_stopped;
}

bool archive_take_bytes(struct lister *lister, size_t n)
{
    if ((int64_t)n > lister->budget->bytes_left) {
        lister->budget->bytes_left = 0;
        archive_stop(lister, "more than worker.max_archive_bytes had to be unpacked");
        return false;
    }
    lister->budget->bytes_left -= (int64_t)n;
    return archive_has_time(lister);
}

static void grow(struct lister *lister)
{
    uint32_t cap = lister->cap == 0 ? 16 : lister->cap * 2;
    struct archive_item *items = arena_calloc(lister->arena, cap, sizeof(*items));
    if (lister->n > 0)
        memcpy(items, lister->items, lister->n * sizeof(*items));
    lister->items = items;
    lister->cap = cap;
}

struct archive_item *archive_item_add(struct lister *lister, const struct archive_place *place)
{
    if (lister->is_stopped || !archive_has_time(lister))
        return NULL;
    if (lister->budget->entries_left <= 0) {
        archive_stop(lister, "it has more entries than worker.max_archive_entries");
        return NULL;
    }
    lister->budget->entries_left--;
    if (lister->n == lister->cap)
        grow(lister);
    struct archive_item *item = &lister->items[lister->n++];
    *item = (struct archive_item){
        .name = "", .within = place->within, .depth = place->depth, .size = -1};
    return item;
}

void archive_item_ratio(
    const struct lister *lister, struct archive_item *item, int64_t packed, int64_t unpacked)
{
    if (packed < 0 || unpacked < ARCHIVE_RATIO_BYTES)
        return;
    int64_t most = packed == 0 ? 0 : packed * (int64_t)lister->budget->ratio;
    item->is_over_ratio = item->is_over_ratio || unpacked > most;
}
