/* Bytes of a mail as a JSON string. */
#ifndef POSTERN_WORKER_JSON_TEXT_H
#define POSTERN_WORKER_JSON_TEXT_H

#include <jansson.h>

#include "common/buf.h"

/* What is no UTF-8 becomes U+FFFD; NULs stay. Without memory: "". */
json_t *json_text(struct slice text);

#endif
