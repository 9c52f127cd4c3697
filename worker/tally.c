/* A hash table of counts, and the list of those that have something to tell. */
#include "worker/tally.h"

#include <stdlib.h>

#include "common/hash.h"
#include "common/xalloc.h"

enum { SLOTS_MIN = 64, RECORD_BYTES = 60000 /* as in records.def */ };

struct entry {
    struct entry *next; /* with the same hash */
    struct entry *next_news;
    uint32_t hash;
    bool is_told; /* the multiplexor knows it, and what it is about */
    bool has_news;
    uint64_t add;
    struct slice help;
    size_t head_bytes;
    char head[]; /* name and labels as count_put_head has it; behind it the help */
};

struct tally {
    size_t n, max;
    size_t n_slots; /* a power of two */
    struct entry **slots;
    struct entry *news;
    uint32_t n_dropped; /* since they were last told */
    struct buf head, out;
};

struct tally *tally_new(size_t max)
{
    struct tally *tally = xcalloc(1, sizeof *tally);
    tally->max = max;
    buf_init(&tally->head, COUNT_KEY_MAX);
    buf_init(&tally->out, RECORD_BYTES);
    return tally;
}

void tally_free(struct tally *tally)
{
    if (tally == NULL) {
        return;
    }
    for (size_t i = 0; i < tally->n_slots; i++) {
        for (struct entry *entry = tally->slots[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            free(entry);
        }
    }
    free(tally->slots);
    buf_clear(&tally->head);
    buf_clear(&tally->out);
    free(tally);
}

static void grow(struct tally *tally)
{
    size_t n_slots = tally->n_slots > 0 ? tally->n_slots * 2 : SLOTS_MIN;
    struct entry **slots = xcalloc(n_slots, sizeof(*slots));
    for (size_t i = 0; i < tally->n_slots; i++) {
        for (struct entry *entry = tally->slots[i], *next; entry != NULL; entry = next) {
            struct entry **slot = &slots[entry->hash & (n_slots - 1)];
            next = entry->next;
            entry->next = *slot;
            *slot = entry;
        }
    }
    free(tally->slots);
    tally->slots = slots;
    tally->n_slots = n_slots;
}

static struct entry *entry_new(struct tally *tally, uint32_t hash, struct slice help)
{
    struct slice head = buf_slice(&tally->head);
    if (tally->n >= tally->n_slots) {
        grow(tally);
    }
    struct entry *entry = xcalloc(1, sizeof *entry + head.len + help.len);
    struct entry **slot = &tally->slots[hash & (tally->n_slots - 1)];
    memcpy(entry->head, head.data, head.len);
    if (help.len > 0) {
        memcpy(entry->head + head.len, help.data, help.len);
    }
    entry->head_bytes = head.len;
    entry->help = slice_of(entry->head + head.len, help.len);
    entry->hash = hash;
    entry->next = *slot;
    *slot = entry;
    tally->n++;
    return entry;
}

static struct entry *find(const struct tally *tally, uint32_t hash)
{
    struct slice head = buf_slice(&tally->head);
    struct entry *entry = tally->n_slots > 0 ? tally->slots[hash & (tally->n_slots - 1)] : NULL;
    while (entry != NULL && (entry->hash != hash || entry->head_bytes != head.len ||
                                memcmp(entry->head, head.data, head.len) != 0)) {
        entry = entry->next;
    }
    return entry;
}

void tally_add(struct tally *tally, const struct count *count)
{
    buf_reset(&tally->head);
    if (count_put_head(&tally->head, count) != 0) {
        tally->n_dropped++;
        return;
    }
    uint32_t hash = hash_bytes(buf_slice(&tally->head));
    struct entry *entry = find(tally, hash);
    if (entry == NULL && tally->n >= tally->max) {
        tally->n_dropped++;
        return;
    }
    entry = entry != NULL ? entry : entry_new(tally, hash, count->help);
    entry->add = entry->add + count->add >= entry->add ? entry->add + count->add : UINT64_MAX;
    if (!entry->has_news) {
        entry->has_news = true;
        entry->next_news = tally->news;
        tally->news = entry;
    }
}

bool tally_has_news(const struct tally *tally)
{
    return tally->news != NULL || tally->n_dropped > 0;
}

void tally_take(struct tally *tally, struct wire_counts *out)
{
    struct entry *entry;
    buf_reset(&tally->out);
    while ((entry = tally->news) != NULL &&
           count_put(&tally->out, slice_of(entry->head, entry->head_bytes),
               entry->is_told ? slice_of(NULL, 0) : entry->help, entry->add) == 0) {
        tally->news = entry->next_news;
        entry->has_news = false;
        entry->is_told = true;
        entry->add = 0;
    }
    *out = (struct wire_counts){.dropped = tally->n_dropped, .counts = buf_slice(&tally->out)};
    tally->n_dropped = 0;
}
