/* A recipient by its address: among those of the envelope, and those that changes add and delete.
 */
#include "worker/job_find.h"

#include <string.h>
#include <sys/random.h>

#include "common/address.h"
#include "common/clock.h"
#include "worker/job.h"

enum { ENTRIES_MIN = 16 };

struct entry {
    uint64_t hash;
    uint32_t number; /* of the recipient, or of the change */
    uint32_t next;   /* entry before it in its bucket, plus 1; 0: none */
};

/* What was put last is found first. */
struct names {
    struct entry *entries;
    uint32_t *buckets; /* as many as there is room for entries, a power of two: entry plus 1 */
    uint32_t n, cap;
};

struct job_finder {
    uint64_t seed;
    struct names received; /* put from last to first */
    struct names changes;  /* those about recipients, in call order */
    uint32_t n_changes;    /* looked at so far, all kinds */
    bool has_received;
};

/* ---- names ---- */

static uint64_t hash_of(const struct job_finder *finder, struct slice address)
{
    uint64_t hash = finder->seed;
    for (size_t i = 0; i < address.len; i++) {
        const unsigned char c = (unsigned char)address.data[i];
        hash = (hash ^ (c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c)) * (finder->seed | 1);
        hash ^= hash >> 32;
    }
    return hash;
}

static uint32_t *bucket_of(const struct names *names, uint64_t hash)
{
    return &names->buckets[hash & (names->cap - 1)];
}

static void enter_bucket(struct names *names, uint32_t index)
{
    uint32_t *bucket = bucket_of(names, names->entries[index].hash);
    names->entries[index].next = *bucket;
    *bucket = index + 1;
}

static void grow(struct names *names, struct arena *arena)
{
    struct entry *old = names->entries;
    names->cap = names->cap == 0 ? ENTRIES_MIN : names->cap * 2;
    names->entries = arena_calloc(arena, names->cap, sizeof(*names->entries));
    names->buckets = arena_calloc(arena, names->cap, sizeof(*names->buckets));
    if (names->n > 0)
        memcpy(names->entries, old, names->n * sizeof(*old));
    for (uint32_t i = 0; i < names->n; i++)
        enter_bucket(names, i);
}

static void names_put(struct names *names, struct arena *arena, uint64_t hash, uint32_t number)
{
    if (names->n == names->cap)
        grow(names, arena);
    names->entries[names->n] = (struct entry){.hash = hash, .number = number};
    enter_bucket(names, names->n++);
}

/* Each is the newest of its bucket when its turn comes. */
static void names_drop(struct names *names, uint32_t first_number)
{
    while (names->n > 0 && names->entries[names->n - 1].number >= first_number) {
        const struct entry *last = &names->entries[--names->n];
        *bucket_of(names, last->hash) = last->next;
    }
}

/* The entry behind this one (NULL: the newest) with the same hash; NULL: no more. */
static const struct entry *names_next(
    const struct names *names, uint64_t hash, const struct entry *entry)
{
    if (names->cap == 0)
        return NULL;
    uint32_t next = entry != NULL ? entry->next : *bucket_of(names, hash);
    while (next != 0 && names->entries[next - 1].hash != hash)
        next = names->entries[next - 1].next;
    return next != 0 ? &names->entries[next - 1] : NULL;
}

/* ---- what is known ---- */

static struct job_finder *finder_of(struct job *job)
{
    if (job->finder == NULL) {
        job->finder = arena_calloc(job->arena, 1, sizeof(*job->finder));
        if (getrandom(&job->finder->seed, sizeof(job->finder->seed), GRND_NONBLOCK) < 0)
            job->finder->seed = (uint64_t)clock_now_us();
    }
    return job->finder;
}

static const struct action *change_at(const struct job *job, uint32_t number)
{
    return number < job->earlier.n ? &job->earlier.items[number]
                                   : &job->added[number - job->earlier.n];
}

static void read_changes(struct job *job, struct job_finder *finder)
{
    for (; finder->n_changes < job->earlier.n + job->n_added; finder->n_changes++) {
        const struct action *action = change_at(job, finder->n_changes);
        if (action->kind == ACTION_ADD_RECIPIENT || action->kind == ACTION_DELETE_RECIPIENT)
            names_put(
                &finder->changes, job->arena, hash_of(finder, action->address), finder->n_changes);
    }
}

void job_find_forget(struct job *job, uint32_t first)
{
    if (job->finder == NULL || job->finder->n_changes <= first)
        return;
    names_drop(&job->finder->changes, first);
    job->finder->n_changes = first;
}

static void read_received(struct job *job, struct job_finder *finder)
{
    if (finder->has_received || job_need_recipients(job) != 0)
        return;
    for (uint32_t i = job->envelope.n_recipients; i > 0; i--) {
        const struct envelope_recipient *received = &job->envelope.recipients[i - 1];
        if (!received->is_refused)
            names_put(&finder->received, job->arena,
                hash_of(finder, address_strip(received->address)), i - 1);
    }
    finder->has_received = true;
}

/* ---- one of them ---- */

typedef bool (*same_address)(struct slice a, struct slice b);

static bool find_received(
    struct job *job, same_address is_same, struct slice address, struct slice *spelling_out)
{
    struct job_finder *finder = finder_of(job);
    const uint64_t hash = hash_of(finder, address);
    struct job_recipient judged;
    if (job->request.hook == HOOK_RECIPIENT &&
        job_recipient_at(job, job->request.recipient_number, &judged) &&
        is_same(judged.address, address)) {
        *spelling_out = judged.address;
        return true;
    }
    read_received(job, finder);
    for (const struct entry *entry = NULL;
         (entry = names_next(&finder->received, hash, entry)) != NULL;) {
        const struct slice known = address_strip(job->envelope.recipients[entry->number].address);
        if (is_same(known, address)) {
            *spelling_out = known;
            return true;
        }
    }
    return false;
}

/* The last change that is about this address; NULL. */
static const struct action *last_word(struct job *job, same_address is_same, struct slice address)
{
    struct job_finder *finder = finder_of(job);
    const uint64_t hash = hash_of(finder, address);
    read_changes(job, finder);
    for (const struct entry *entry = NULL;
         (entry = names_next(&finder->changes, hash, entry)) != NULL;) {
        const struct action *action = change_at(job, entry->number);
        if (is_same(action->address, address))
            return action;
    }
    return NULL;
}

static bool find(
    struct job *job, same_address is_same, struct slice address, struct slice *spelling_out)
{
    if (find_received(job, is_same, address, spelling_out)) {
        const struct action *last = last_word(job, address_is_same, *spelling_out);
        return last == NULL || last->kind == ACTION_ADD_RECIPIENT;
    }
    const struct action *last = last_word(job, is_same, address);
    if (last == NULL || last->kind != ACTION_ADD_RECIPIENT)
        return false;
    *spelling_out = last->address;
    return true;
}

bool job_find_recipient(struct job *job, struct slice address, struct slice *spelling_out)
{
    return find(job, address_is_same, address, spelling_out) ||
           find(job, slice_equal_nocase, address, spelling_out);
}
