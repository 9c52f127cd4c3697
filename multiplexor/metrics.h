/*
 * Everything that is counted, as OpenMetrics text. Names begin with postern_ and tell the unit;
 * postern-multiplexor(8) lists them. Reads, changes nothing.
 */
#ifndef POSTERN_MULTIPLEXOR_METRICS_H
#define POSTERN_MULTIPLEXOR_METRICS_H

#include "common/buf.h"

#define METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
enum { METRICS_MAX = 1 << 20 };

struct mux;

/* out: its limit METRICS_MAX. Ends with "# EOF". 0 or -ERR_TOOBIG. */
int metrics_put(const struct mux *mux, struct buf *out);

#endif
