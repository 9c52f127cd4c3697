/* The recipients of a plan: what the actions say about each address, and what that means for those
 * that the message has. */
#include "common/plan_recipients.h"

#include <stdlib.h>
#include <string.h>

#include "common/address.h"

struct wish {
    const struct action *action;
    struct slice local, domain;
    uint32_t at; /* number of the action, or of the recipient */
};

static int domain_compare(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n > 0 ? strncasecmp(a.data, b.data, n) : 0;

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The local part as it is, the domain caseless (RFC 5321 section 2.4). */
static int address_compare(const struct wish *a, const struct wish *b)
{
    size_t n = a->local.len < b->local.len ? a->local.len : b->local.len;
    int order = n > 0 ? memcmp(a->local.data, b->local.data, n) : 0;

    if (order == 0 && a->local.len != b->local.len)
        order = a->local.len < b->local.len ? -1 : 1;
    return order != 0 ? order : domain_compare(a->domain, b->domain);
}

static int wish_compare(const void *a, const void *b)
{
    const struct wish *left = a, *right = b;
    int order = address_compare(left, right);

    return order != 0 ? order : (left->at > right->at) - (left->at < right->at);
}

static int wish_compare_at(const void *a, const void *b)
{
    const struct wish *left = a, *right = b;

    return (left->at > right->at) - (left->at < right->at);
}

static struct wish wish_of(struct slice address, const struct action *action, uint32_t at)
{
    return (struct wish){action, address_local(address), address_domain(address), at};
}

static uint32_t collect_wishes(
    const struct action_list *actions, struct arena *arena, struct wish **wishes_out)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < actions->n; i++)
        n += actions->items[i].kind == ACTION_ADD_RECIPIENT ||
             actions->items[i].kind == ACTION_DELETE_RECIPIENT;
    *wishes_out = arena_calloc(arena, (size_t)n + 1, sizeof(**wishes_out));
    n = 0;
    for (uint32_t i = 0; i < actions->n; i++) {
        const struct action *action = &actions->items[i];
        if (action->kind != ACTION_ADD_RECIPIENT && action->kind != ACTION_DELETE_RECIPIENT)
            continue;
        (*wishes_out)[n++] = wish_of(action->address, action, i);
    }
    return n;
}

/* For each address the last word counts, at its place in call order. */
void plan_recipients_make(const struct action_list *actions, struct arena *arena, struct plan *out)
{
    struct wish *wishes;
    uint32_t n = collect_wishes(actions, arena, &wishes), kept = 0;

    if (n == 0)
        return;
    qsort(wishes, n, sizeof(*wishes), wish_compare);
    for (uint32_t i = 0; i < n; i++)
        if (i + 1 == n || address_compare(&wishes[i], &wishes[i + 1]) != 0)
            wishes[kept++] = wishes[i];
    qsort(wishes, kept, sizeof(*wishes), wish_compare_at);

    out->added = arena_calloc(arena, kept, sizeof(*out->added));
    out->deleted = arena_calloc(arena, kept, sizeof(*out->deleted));
    for (uint32_t i = 0; i < kept; i++) {
        const struct action *action = wishes[i].action;
        if (action->kind == ACTION_ADD_RECIPIENT)
            out->added[out->n_added++] = (struct plan_recipient){action->address, action->args};
        else
            out->deleted[out->n_deleted++] = action->address;
    }
}

/* The message's own recipients that were not refused, sorted by address. */
static struct wish *collect_present(
    const struct envelope *envelope, struct arena *arena, uint32_t *n_out)
{
    struct wish *present =
        arena_calloc(arena, (size_t)envelope->n_recipients + 1, sizeof(*present));
    uint32_t n = 0;

    for (uint32_t i = 0; i < envelope->n_recipients; i++)
        if (!envelope->recipients[i].is_refused)
            present[n++] = wish_of(address_strip(envelope->recipients[i].address), NULL, i);
    qsort(present, n, sizeof(*present), wish_compare);
    *n_out = n;
    return present;
}

static uint32_t find_first(const struct wish *present, uint32_t n, const struct wish *key)
{
    uint32_t low = 0, high = n;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (address_compare(&present[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void plan_fit_recipients(struct plan *plan, const struct envelope *envelope, struct arena *arena)
{
    uint32_t n_present, n_added = 0, n_deleted = 0;
    const struct wish *present = collect_present(envelope, arena, &n_present);
    struct slice *deleted = arena_calloc(arena, (size_t)n_present + 1, sizeof(*deleted));

    for (uint32_t i = 0; i < plan->n_added; i++) {
        const struct wish key = wish_of(plan->added[i].address, NULL, 0);
        uint32_t at = find_first(present, n_present, &key);
        if (at == n_present || address_compare(&present[at], &key) != 0)
            plan->added[n_added++] = plan->added[i];
    }
    /* In the order asked for, each in every spelling that the MTA gave; it compares byte by byte.
     */
    for (uint32_t i = 0; i < plan->n_deleted; i++) {
        const struct wish key = wish_of(plan->deleted[i], NULL, 0);
        uint32_t at = find_first(present, n_present, &key);
        for (; at < n_present && address_compare(&present[at], &key) == 0; at++)
            deleted[n_deleted++] = address_strip(envelope->recipients[present[at].at].address);
    }
    plan->n_added = n_added;
    plan->deleted = deleted;
    plan->n_deleted = n_deleted;
}
