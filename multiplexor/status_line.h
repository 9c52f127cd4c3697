/* One line in the log at log.status_interval: workers, queue, and what has been answered since the
 * line before. Observes; decides nothing. */
#ifndef POSTERN_MULTIPLEXOR_STATUS_LINE_H
#define POSTERN_MULTIPLEXOR_STATUS_LINE_H

#include <stdint.h>

#include "common/verdict.h"
#include "common/wire.h"
#include "multiplexor/stats.h"

struct mux;

struct status_line {
    int64_t since_ms; /* monotonic; when the last one was written */
    /* as they were then */
    uint64_t requests, retries;
    uint64_t verdicts[VERDICT_COUNT], outcomes[OUTCOME_COUNT], recycles[RECYCLE_COUNT];
};

void status_line_init(struct mux *mux, int64_t now_ms);
/* Writes it when it is due; called now and then. */
void status_line_check(struct mux *mux, int64_t now_ms);

#endif
