/*
 * Everything that is counted, as OpenMetrics text. Names begin with postern_ and tell the unit;
 * postern-multiplexor(8) lists them; those of filters (counts.h) begin with postern_user_, which is
 * no other's. Reads, changes nothing. With as many counts of filters as metrics.user_series may be,
 * each as long as it may be, it has half of METRICS_MAX.
 */
#ifndef POSTERN_MULTIPLEXOR_METRICS_H
#define POSTERN_MULTIPLEXOR_METRICS_H

#include "common/buf.h"

#define METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
enum { METRICS_MAX = 4 << 20 };

struct mux;

/* out: its limit METRICS_MAX. Ends with "# EOF". 0 or -ERR_TOOBIG. */
int metrics_put(const struct mux *mux, struct buf *out);

#endif
