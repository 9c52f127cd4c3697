/* What a worker tells: that it is ready, replies, counts, samples. It is not trusted: a record that
 * is not as it should be ends it. */
#include <stdio.h>

#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/proc.h"
#include "common/text.h"
#include "multiplexor/child_internal.h"
#include "multiplexor/generation.h"
#include "multiplexor/mux.h"
#include "multiplexor/request_answer.h"

enum {
    MEMORY_CHECK_REQUESTS = 16,    /* the resident size is looked at this often … */
    MEMORY_CHECK_GROWTH_KB = 1024, /* … and when the heap grew by so much */
};

static void on_ready(struct child *child, const struct link_record *record)
{
    struct wire_ready ready;
    if (wire_get_ready(slice_of(record->bytes, record->len), slice_of(NULL, 0), &ready) != 0 ||
        child->is_ready || child->state > CHILD_STARTING) {
        log_warn("%s: bad or unexpected READY", child->link.name);
        child_lose(child, NULL);
        return;
    }
    if (!ready.is_ok) {
        char text[1024];
        text_escape(text, sizeof(text), ready.error, 0);
        child_put_down(child);
        child_start_failed(child, text);
        return;
    }
    child->is_ready = true;
    child->heap_kb = ready.heap_kb;
    if (child->state == CHILD_STARTING)
        child_enter_service(child);
}

/* Checks what an untrusted worker replied. 0 or why not; out's slices are not to be used
 * afterwards. */
static int decode_reply(
    struct child *child, const struct link_record *record, struct wire_reply *out)
{
    if (child->state != CHILD_BUSY || record->header.id != child->hop_id)
        return -ERR_DENIED;
    struct slice annex = {0};
    int index = wire_fd_index(&record->header, WIRE_ANNEX);
    if (index >= 0) {
        int err = annex_open(record->received->fds[index], WIRE_ANNEX_MAX, &annex);
        if (err != 0)
            return err;
    }
    int err = wire_get_reply(slice_of(record->bytes, record->len), annex, out);
    annex_close(annex);
    if (err == 0 && (out->outcome >= OUTCOME_OVERLOAD || out->verdict >= VERDICT_COUNT))
        err = -ERR_RANGE;
    return err;
}

/* Looks at the resident size now and then, and marks the worker when one of its limits is reached.
 */
static void check_limits(struct child *child)
{
    const struct conf *conf = child->mux->conf;
    if (conf->multiplexor.recycle_requests > 0 &&
        child->n_requests >= (uint64_t)scale_spread(conf->multiplexor.recycle_requests,
                                 (unsigned)conf->multiplexor.recycle_spread, child->number))
        pool_mark(child, RECYCLE_REQUESTS);
    /* The worker has collected before it told a heap above this. */
    if (conf->multiplexor.recycle_heap > 0 &&
        child->heap_kb > (uint64_t)conf->multiplexor.recycle_heap / 1024)
        pool_mark(child, RECYCLE_HEAP);
    if (child->n_requests % MEMORY_CHECK_REQUESTS != 1 &&
        child->heap_kb < child->checked_heap_kb + MEMORY_CHECK_GROWTH_KB)
        return;
    child->checked_heap_kb = child->heap_kb;
    child->resident_bytes = proc_resident_bytes(child->pid);
    if (conf->multiplexor.recycle_memory > 0 &&
        child->resident_bytes > (uint64_t)conf->multiplexor.recycle_memory)
        pool_mark(child, RECYCLE_MEMORY);
}

static void on_reply(struct child *child, const struct link_record *record)
{
    struct wire_reply reply;
    int err = decode_reply(child, record, &reply);
    if (err != 0) {
        char how[96];
        log_error("worker %d (generation %u) sent a bad reply while %s: %s: killed",
            (int)child->pid, child->generation->number, child->doing, err_text(err));
        snprintf(how, sizeof(how), "killed for a bad reply (%s)", err_text(err));
        child_lose(child, how);
        return;
    }
    struct request *request = child->request;
    int index = wire_fd_index(&record->header, WIRE_ANNEX);
    child->request = NULL;
    child->doing[0] = '\0';
    if (child->n_requests++ == 0)
        pool_on_first_answer(child->generation);
    child->heap_kb = reply.heap_kb;
    child_set_state(child, CHILD_IDLE);
    check_limits(child);
    request_answer(request, record->bytes, record->len, &reply,
        index >= 0 ? record->received->fds[index] : -1);
}

/* One line tells that counts are lost; how many, status does. */
static void drop_counts(struct mux *mux, uint64_t n)
{
    mux->stats.counts_dropped += n;
    if (n > 0 && !mux->has_told_of_dropped_counts) {
        mux->has_told_of_dropped_counts = true;
        log_warn("the filter has more counters and labels than metrics.user_series (%lld): counts "
                 "of the others are dropped",
            (long long)mux->conf->metrics.user_series);
    }
}

/* What it told besides its replies is not as it should be. */
static void lose_for_bad(struct child *child, const char *what, int err)
{
    char how[96];
    log_error("worker %d (generation %u) sent bad %s: %s: killed", (int)child->pid,
        child->generation->number, what, err_text(err));
    snprintf(how, sizeof(how), "killed for bad %s (%s)", what, err_text(err));
    child_lose(child, how);
}

/* What its filter has counted, in whatever state it is. */
static void on_counts(struct child *child, const struct link_record *record)
{
    struct mux *mux = child->mux;
    struct wire_counts told;
    uint64_t n_dropped = 0;
    int err = wire_get_counts(slice_of(record->bytes, record->len), slice_of(NULL, 0), &told);
    if (err == 0 && child->generation->is_shadow)
        return; /* it must not mix with what the filter in service counts */
    if (err == 0)
        err = counts_add(
            &mux->counts, told.counts, (size_t)mux->conf->metrics.user_series, &n_dropped);
    if (err == 0)
        drop_counts(mux, n_dropped + told.dropped);
    else
        lose_for_bad(child, "counts", err);
}

static void on_samples(struct child *child, const struct link_record *record)
{
    struct wire_samples samples;
    int err = wire_get_samples(slice_of(record->bytes, record->len), slice_of(NULL, 0), &samples);
    err = err != 0 ? err : profile_on_samples(child->mux, &samples);
    if (err != 0)
        lose_for_bad(child, "samples", err);
}

void child_on_record(const struct link_record *record, void *context)
{
    struct child *child = context;
    if (record->header.type == WIRE_COUNTS)
        on_counts(child, record);
    else if (record->header.type == WIRE_SAMPLES)
        on_samples(child, record);
    else if (record->header.type == WIRE_READY)
        on_ready(child, record);
    else if (record->header.type == WIRE_REPLY)
        on_reply(child, record);
}
