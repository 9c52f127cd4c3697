#include "milterd/generation.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/log.h"
#include "common/xalloc.h"

enum { CLIENT_DRAWS = 10000 }; /* a client's draw is one of so many numbers */

struct generation {
    uint32_t number;
    uint32_t n_messages;
    uint32_t n_claims;
    bool has_needs;
    struct hook_needs needs;
};

struct generations {
    pthread_mutex_t mutex;
    int wake_fd;
    bool has_needs;
    struct hook_needs union_needs;
    uint32_t current;         /* 0: none has loaded */
    uint32_t candidate;       /* 0: none is tried */
    uint32_t candidate_share; /* percent of the clients */
    struct generation *items;
    unsigned n;
    struct generation_claim *claims;
};

struct generations *generations_new(void)
{
    struct generations *generations = xcalloc(1, sizeof *generations);

    pthread_mutex_init(&generations->mutex, NULL);
    generations->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (generations->wake_fd < 0)
        log_fatal(EXIT_CODE_SYSTEM, "no eventfd");
    return generations;
}

int generations_wake_fd(const struct generations *generations)
{
    return generations->wake_fd;
}

static void wake(struct generations *generations)
{
    const uint64_t one = 1;

    /* It can only fail when the counter is full, and then it is readable. */
    if (write(generations->wake_fd, &one, sizeof one) < 0)
        return;
}

static struct generation *find(struct generations *generations, uint32_t number)
{
    for (unsigned i = 0; i < generations->n; i++)
        if (generations->items[i].number == number)
            return &generations->items[i];
    return NULL;
}

static struct generation *find_or_add(struct generations *generations, uint32_t number)
{
    struct generation *found = find(generations, number);

    if (found != NULL)
        return found;
    generations->items =
        xreallocarray(generations->items, generations->n + 1, sizeof *generations->items);
    found = &generations->items[generations->n++];
    *found = (struct generation){.number = number};
    return found;
}

/* Whether new messages may go to it, so that it is not to be released. */
static bool is_used(const struct generations *generations, uint32_t number)
{
    return number == generations->current || number == generations->candidate;
}

/* Points a claim at a generation; 0 for none. */
static void point_claim(
    struct generations *generations, struct generation_claim *claim, uint32_t number)
{
    struct generation *before = claim->number != 0 ? find(generations, claim->number) : NULL;

    if (before != NULL) {
        LOG_INVARIANT(before->n_claims > 0);
        before->n_claims--;
    }
    claim->number = number;
    if (number != 0)
        find_or_add(generations, number)->n_claims++;
}

/* The bits of a hash spread over all of it (the end of MurmurHash3), so that any of them will do.
 */
static uint64_t spread(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

/* FNV-1a: it must be the same in every process. */
static uint64_t hash_of(struct slice key)
{
    const uint8_t *bytes = (const void *)key.data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Whether the claim's client is of the candidate's share. The candidate's number is part of the
 * draw, so that it is not always the same clients on whom filters are tried. */
static bool is_drawn(const struct generations *generations, const struct generation_claim *claim)
{
    uint64_t draw = spread(claim->client ^ spread(generations->candidate)) % CLIENT_DRAWS;

    return generations->candidate != 0 && claim->has_client &&
           draw < (uint64_t)generations->candidate_share * (CLIENT_DRAWS / 100);
}

static bool is_covered(
    struct generations *generations, const struct generation_claim *claim, uint32_t number)
{
    const struct generation *found = number != 0 ? find(generations, number) : NULL;

    return found != NULL && found->has_needs && hook_needs_are_covered(found->needs, claim->have);
}

/* Moves a claim to where it belongs now; it stays where it is when what was negotiated covers
 * neither. */
static void settle_claim(struct generations *generations, struct generation_claim *claim)
{
    if (is_drawn(generations, claim) && is_covered(generations, claim, generations->candidate))
        point_claim(generations, claim, generations->candidate);
    else if (is_covered(generations, claim, generations->current))
        point_claim(generations, claim, generations->current);
}

static void learn_one(struct generations *generations, uint32_t number, struct hook_needs needs)
{
    struct generation *found;

    if (number == 0)
        return;
    found = find_or_add(generations, number);
    found->has_needs = true;
    found->needs = needs;
}

void generations_learn(struct generations *generations, const struct wire_needs *needs)
{
    pthread_mutex_lock(&generations->mutex);
    generations->union_needs =
        (struct hook_needs){.sees = needs->union_sees, .answers = needs->union_answers};
    generations->has_needs = needs->generation != 0;
    generations->current = needs->generation;
    generations->candidate = needs->candidate;
    generations->candidate_share = needs->candidate_share < 100 ? needs->candidate_share : 100;
    learn_one(generations, needs->generation,
        (struct hook_needs){.sees = needs->current_sees, .answers = needs->current_answers});
    learn_one(generations, needs->candidate,
        (struct hook_needs){.sees = needs->candidate_sees, .answers = needs->candidate_answers});
    for (struct generation_claim *claim = generations->claims; claim != NULL; claim = claim->next)
        settle_claim(generations, claim);
    pthread_mutex_unlock(&generations->mutex);
    wake(generations);
}

void generations_claim(
    struct generations *generations, struct generation_claim *claim, struct hook_needs have)
{
    generations_unclaim(generations, claim);
    pthread_mutex_lock(&generations->mutex);
    *claim = (struct generation_claim){.have = have, .next = generations->claims, .is_held = true};
    if (claim->next != NULL)
        claim->next->prev = claim;
    generations->claims = claim;
    point_claim(generations, claim, generations->current);
    pthread_mutex_unlock(&generations->mutex);
}

void generations_set_client(
    struct generations *generations, struct generation_claim *claim, struct slice key)
{
    pthread_mutex_lock(&generations->mutex);
    claim->client = hash_of(key);
    claim->has_client = true;
    if (claim->is_held && generations->candidate != 0)
        settle_claim(generations, claim);
    pthread_mutex_unlock(&generations->mutex);
}

void generations_unclaim(struct generations *generations, struct generation_claim *claim)
{
    if (!claim->is_held)
        return;
    pthread_mutex_lock(&generations->mutex);
    if (!is_used(generations, claim->number))
        wake(generations);
    point_claim(generations, claim, 0);
    if (claim->prev != NULL)
        claim->prev->next = claim->next;
    else
        generations->claims = claim->next;
    if (claim->next != NULL)
        claim->next->prev = claim->prev;
    claim->is_held = false;
    pthread_mutex_unlock(&generations->mutex);
}

bool generations_union(struct generations *generations, struct hook_needs *out)
{
    bool has_needs;

    pthread_mutex_lock(&generations->mutex);
    has_needs = generations->has_needs;
    *out = generations->union_needs;
    pthread_mutex_unlock(&generations->mutex);
    return has_needs;
}

bool generations_answers(struct generations *generations, uint32_t number, uint32_t *answers_out)
{
    struct generation *found;
    bool is_known;

    pthread_mutex_lock(&generations->mutex);
    found = find(generations, number != 0 ? number : generations->current);
    is_known = found != NULL && found->has_needs;
    if (is_known)
        *answers_out = found->needs.answers;
    pthread_mutex_unlock(&generations->mutex);
    return is_known;
}

uint32_t generations_claimed(struct generations *generations, const struct generation_claim *claim)
{
    uint32_t number;

    pthread_mutex_lock(&generations->mutex);
    number = claim->number;
    pthread_mutex_unlock(&generations->mutex);
    return number;
}

uint32_t generations_stamp(struct generations *generations, const struct generation_claim *claim)
{
    uint32_t number;

    pthread_mutex_lock(&generations->mutex);
    number = claim->number;
    if (number != 0)
        find_or_add(generations, number)->n_messages++;
    pthread_mutex_unlock(&generations->mutex);
    return number;
}

static void drop_locked(struct generations *generations, uint32_t held)
{
    struct generation *found = held != 0 ? find(generations, held) : NULL;

    if (found == NULL)
        return;
    LOG_INVARIANT(found->n_messages > 0);
    if (--found->n_messages == 0 && !is_used(generations, found->number))
        wake(generations);
}

void generations_move(struct generations *generations, uint32_t *held, uint32_t to)
{
    if (to == 0 || to == *held)
        return;
    pthread_mutex_lock(&generations->mutex);
    find_or_add(generations, to)->n_messages++;
    drop_locked(generations, *held);
    pthread_mutex_unlock(&generations->mutex);
    *held = to;
}

void generations_drop(struct generations *generations, uint32_t held)
{
    pthread_mutex_lock(&generations->mutex);
    drop_locked(generations, held);
    pthread_mutex_unlock(&generations->mutex);
}

uint32_t generations_take_idle(struct generations *generations)
{
    uint32_t number = 0;

    pthread_mutex_lock(&generations->mutex);
    for (unsigned i = 0; i < generations->n && number == 0; i++) {
        struct generation *item = &generations->items[i];

        if (item->n_messages > 0 || item->n_claims > 0 || is_used(generations, item->number))
            continue;
        number = item->number;
        *item = generations->items[--generations->n];
    }
    pthread_mutex_unlock(&generations->mutex);
    return number;
}
