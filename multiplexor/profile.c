/* Telling the workers, and the sums. */
#include "multiplexor/profile.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "multiplexor/mux.h"

enum {
    STACKS_MAX = 4000,
    TEXT_MAX = 1 << 20, /* of all stacks */
    STACK_MAX = 4000,   /* of one, as in records.def */
    CAP_MIN = 64,
};

struct stack_sum {
    uint64_t us, n;
    size_t len;
    char text[];
};

/* ---- workers ---- */

/* A shadow's workers are left alone: it takes no mail's time. A worker whose connection fails is
 * lost by its own events. */
static void tell(struct child *child, uint32_t number)
{
    if (child->generation->is_shadow)
        return;
    struct buf *encoded = &child->mux->encoded;
    struct wire_profile profile = {.profile = number};
    int err = wire_put_profile(encoded, NULL, 0, 0, &profile);
    LOG_INVARIANT(err == 0);
    (void)link_send(&child->link, buf_slice(encoded), NULL, 0);
}

static void tell_all(struct mux *mux, uint32_t number)
{
    struct generation *generation;
    struct child *child;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        TAILQ_FOREACH(child, &generation->pool.children, entry)
        {
            if (child->state == CHILD_IDLE || child->state == CHILD_BUSY)
                tell(child, number);
        }
    }
}

void profile_on_worker(struct child *child)
{
    if (child->mux->profile.waiter != NULL)
        tell(child, child->mux->profile.number);
}

/* ---- sums ---- */

static int compare(const struct stack_sum *sum, struct slice text)
{
    int order = memcmp(sum->text, text.data, sum->len < text.len ? sum->len : text.len);
    return order != 0 ? order : (sum->len > text.len) - (sum->len < text.len);
}

static size_t place_of(const struct profile *profile, struct slice text, bool *is_there_out)
{
    size_t low = 0, high = profile->n;
    *is_there_out = false;
    while (low < high && !*is_there_out) {
        size_t middle = low + (high - low) / 2;
        int order = compare(profile->sums[middle], text);
        *is_there_out = order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return *is_there_out ? high : low;
}

static struct stack_sum *insert(struct profile *profile, size_t at, struct slice text)
{
    struct stack_sum *sum = xcalloc(1, sizeof(*sum) + text.len);
    memcpy(sum->text, text.data, text.len);
    sum->len = text.len;
    if (profile->n == profile->cap) {
        profile->cap = profile->cap > 0 ? profile->cap * 2 : CAP_MIN;
        profile->sums = xreallocarray(profile->sums, profile->cap, sizeof(struct stack_sum *));
    }
    memmove(
        &profile->sums[at + 1], &profile->sums[at], (profile->n - at) * sizeof(struct stack_sum *));
    profile->sums[at] = sum;
    profile->n++;
    profile->text_bytes += text.len;
    return sum;
}

/* Sums end below what a JSON number holds. */
static void add_to(uint64_t *sum, uint64_t add)
{
    *sum += add <= INT64_MAX - *sum ? add : INT64_MAX - *sum;
}

static void add(struct profile *profile, struct slice text, uint64_t us, uint32_t n)
{
    bool is_there;
    size_t at = place_of(profile, text, &is_there);
    add_to(&profile->us, us);
    add_to(&profile->n_samples, n);
    if (!is_there &&
        (profile->n >= STACKS_MAX || profile->text_bytes + text.len > (size_t)TEXT_MAX)) {
        add_to(&profile->other_us, us);
        return;
    }
    struct stack_sum *sum = is_there ? profile->sums[at] : insert(profile, at, text);
    add_to(&sum->us, us);
    add_to(&sum->n, n);
}

static bool is_clean(struct slice text)
{
    char clean[STACK_MAX];
    struct text_bounds bounds = {sizeof(clean), sizeof(clean), 1};
    return text.len > 0 && text_clean(clean, text, &bounds) == text.len &&
           memcmp(clean, text.data, text.len) == 0;
}

int profile_on_samples(struct mux *mux, const struct wire_samples *samples)
{
    struct profile *profile = &mux->profile;
    struct buf in;
    int err = 0;
    bool is_wanted = profile->waiter != NULL && samples->profile == profile->number;
    if (is_wanted) {
        add_to(&profile->us, samples->other_us);
        add_to(&profile->other_us, samples->other_us);
    }
    buf_view(&in, samples->samples.data, samples->samples.len);
    while (buf_left(&in) > 0 && err == 0) {
        struct slice text;
        uint64_t us;
        uint32_t n;
        err = buf_get_bytes(&in, STACK_MAX, &text);
        err = err != 0 ? err : buf_get_u64(&in, &us);
        err = err != 0 ? err : buf_get_u32(&in, &n);
        err = err == 0 && !is_clean(text) ? -ERR_BAD : err;
        if (err == 0 && is_wanted)
            add(profile, text, us, n);
    }
    return err;
}

/* {"seconds", "samples", "us", "other_us", "stacks": [[stack, us, samples], …]} */
static json_t *found(const struct profile *profile)
{
    json_t *stacks = json_array();
    for (size_t i = 0; i < profile->n; i++) {
        const struct stack_sum *sum = profile->sums[i];
        json_array_append_new(stacks, json_pack("[s#, I, I]", sum->text, (int)sum->len,
                                          (json_int_t)sum->us, (json_int_t)sum->n));
    }
    return json_pack("{s:f, s:I, s:I, s:I, s:o}", "seconds",
        (double)(clock_now_ms() - profile->started_ms) / 1000, "samples",
        (json_int_t)profile->n_samples, "us", (json_int_t)profile->us, "other_us",
        (json_int_t)profile->other_us, "stacks", stacks);
}

static void forget_sums(struct profile *profile)
{
    for (size_t i = 0; i < profile->n; i++)
        free(profile->sums[i]);
    free(profile->sums);
    profile->sums = NULL;
    profile->n = profile->cap = profile->text_bytes = 0;
    profile->us = profile->n_samples = profile->other_us = 0;
}

/* ---- a profile ---- */

/* Its end, whatever the cause. */
static void end(struct mux *mux)
{
    event_del(&mux->profile.timer);
    mux->profile.waiter = NULL;
    tell_all(mux, 0);
    forget_sums(&mux->profile);
}

void profile_finish(struct mux *mux)
{
    struct profile_waiter *waiter = mux->profile.waiter;
    if (waiter == NULL)
        return;
    json_t *data = found(&mux->profile);
    log_info("profile: %llu samples", (unsigned long long)mux->profile.n_samples);
    end(mux);
    waiter->done(waiter, data);
}

void profile_forget(struct mux *mux, const struct profile_waiter *waiter)
{
    if (!profile_is_awaited(mux, waiter))
        return;
    log_info("profile: whoever asked for it is gone");
    end(mux);
}

bool profile_is_awaited(const struct mux *mux, const struct profile_waiter *waiter)
{
    return mux->profile.waiter == waiter;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    profile_finish(context);
}

bool profile_start(struct mux *mux, unsigned seconds, struct profile_waiter *waiter)
{
    struct profile *profile = &mux->profile;
    struct timeval tv = {.tv_sec = seconds};
    if (profile->waiter != NULL)
        return false;
    profile->waiter = waiter;
    profile->number = profile->number + 1 != 0 ? profile->number + 1 : 1;
    profile->started_ms = clock_now_ms();
    event_add(&profile->timer, &tv);
    log_info("profile: workers sample for %u s", seconds);
    tell_all(mux, profile->number);
    return true;
}

void profile_init(struct mux *mux)
{
    evtimer_assign(&mux->profile.timer, mux->base, on_timer, mux);
}

void profile_clear(struct mux *mux)
{
    event_del(&mux->profile.timer);
    mux->profile.waiter = NULL;
    forget_sums(&mux->profile);
}
