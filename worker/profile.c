/* A list of stacks: what one hook passes through is short. */
#include "worker/profile.h"

#include <stdlib.h>

#include "common/hash.h"
#include "common/xalloc.h"

/* Text, length, time and number of all stacks fit into the 60000 bytes of the record's field. */
enum { STACKS_MAX = 512, TEXT_MAX = 51200 };

struct stack {
    uint32_t hash;
    uint32_t n;
    size_t at, len; /* of its text */
    uint64_t us;
};

struct profile {
    uint32_t number;
    size_t n_stacks;
    uint64_t other_us;
    struct stack stacks[STACKS_MAX];
    struct buf texts, out;
};

struct profile *profile_new(uint32_t number)
{
    struct profile *profile = xcalloc(1, sizeof *profile);
    profile->number = number;
    buf_init(&profile->texts, TEXT_MAX);
    buf_init(&profile->out, WIRE_RECORD_MAX);
    return profile;
}

void profile_free(struct profile *profile)
{
    if (profile == NULL) {
        return;
    }
    buf_clear(&profile->texts);
    buf_clear(&profile->out);
    free(profile);
}

static struct slice text_of(const struct profile *profile, const struct stack *stack)
{
    return slice_of(profile->texts.data + stack->at, stack->len);
}

/* NULL: there is no room. */
static struct stack *stack_of(struct profile *profile, struct slice text)
{
    uint32_t hash = hash_bytes(text);
    for (size_t i = 0; i < profile->n_stacks; i++) {
        struct stack *stack = &profile->stacks[i];
        if (stack->hash == hash && slice_equal(text_of(profile, stack), text)) {
            return stack;
        }
    }
    size_t at = profile->texts.len;
    if (profile->n_stacks == STACKS_MAX || buf_put(&profile->texts, text.data, text.len) != 0) {
        return NULL;
    }
    struct stack *stack = &profile->stacks[profile->n_stacks++];
    *stack = (struct stack){.hash = hash, .at = at, .len = text.len};
    return stack;
}

void profile_add(struct profile *profile, struct slice text, int64_t us)
{
    struct stack *stack = stack_of(profile, text);
    if (stack == NULL) {
        profile->other_us += (uint64_t)us;
        return;
    }
    stack->us += (uint64_t)us;
    stack->n++;
}

bool profile_has_news(const struct profile *profile)
{
    return profile->n_stacks > 0 || profile->other_us > 0;
}

void profile_take(struct profile *profile, struct wire_samples *out)
{
    buf_reset(&profile->out);
    for (size_t i = 0; i < profile->n_stacks; i++) {
        const struct stack *stack = &profile->stacks[i];
        (void)buf_put_bytes(&profile->out, text_of(profile, stack)); /* there is room for all */
        (void)buf_put_u64(&profile->out, stack->us);
        (void)buf_put_u32(&profile->out, stack->n);
    }
    *out = (struct wire_samples){.profile = profile->number,
        .other_us = profile->other_us,
        .samples = buf_slice(&profile->out)};
    profile->n_stacks = 0;
    profile->other_us = 0;
    buf_reset(&profile->texts);
}
