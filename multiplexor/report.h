/* What the control socket tells about the multiplexor, as JSON. Reads, changes nothing. */
#ifndef POSTERN_MULTIPLEXOR_REPORT_H
#define POSTERN_MULTIPLEXOR_REPORT_H

#include <jansson.h>
#include <time.h>

#include "common/conf.h"

struct mux;

json_t *report_status(struct mux *mux);        /* the data of `status` */
json_t *report_workers(const struct mux *mux); /* {"workers": [a row for each that has a pid]} */
json_t *report_histogram(const struct mux *mux);
json_t *report_metrics(const struct mux *mux);  /* {"text"}; NULL: too much */
json_t *report_config(const struct conf *conf); /* {"path", "options": {"section.name": text}} */
/* A JSON string of any bytes: what is not UTF-8 is escaped. NULL gives null. */
json_t *report_text(const char *text);
/* UTC, "2026-01-31T12:00:00Z"; null for 0. */
json_t *report_time(time_t when);

#endif
