/* One option's value: from text and to text, by the type in its row. For what reads and prints
 * whole configurations. */
#ifndef POSTERN_CONF_VALUE_H
#define POSTERN_CONF_VALUE_H

#include <stddef.h>

#include "common/conf.h"

enum { CONF_WHY_MAX = 320 };

/*
 * Sets the value, freeing the one before. text: NUL-terminated.
 * why: CONF_WHY_MAX bytes; on failure says what is wrong and what was expected ("is not a duration,
 * like 250ms, 8s, 5m"). Returns 0 or -ERR_BAD, and then the value is as it was.
 */
int conf_value_set(
    struct conf *conf, const struct conf_option *option, const char *text, char *why);
/* Frees what the value owns. */
void conf_value_clear(struct conf *conf, const struct conf_option *option);
/* What is allowed, for help: "1 to 1000", "100ms to 10m", "tempfail, reject or accept". out: 128
 * bytes. */
void conf_value_range(const struct conf_option *option, char *out, size_t out_bytes);

#endif
