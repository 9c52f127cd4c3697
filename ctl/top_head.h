/* The lines of top's frame above the table of workers: what status tells. */
#ifndef POSTERN_CTL_TOP_HEAD_H
#define POSTERN_CTL_TOP_HEAD_H

#include <jansson.h>
#include <stdbool.h>

#include "common/buf.h"

/* Puts line number n, from 0, without its end. False past the last. */
bool top_head_put(const json_t *status, int n, struct buf *line);

#endif
