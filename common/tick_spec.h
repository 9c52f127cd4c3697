/*
 * The timers of multiplexor.ticks as text: "expire=60s, report=1h".
 */
#ifndef POSTERN_TICK_SPEC_H
#define POSTERN_TICK_SPEC_H

#include <stddef.h>
#include <stdint.h>

enum { TICKS_MAX = 32, TICK_NAME_MAX = 24, TICK_INTERVAL_MIN_MS = 1000 };
#define TICK_INTERVAL_MAX_MS (INT64_C(30) * 86400 * 1000)

struct tick_spec {
    char name[TICK_NAME_MAX + 1]; /* letters, digits, _ . and -; unique */
    int64_t interval_ms;
};

/*
 * Reads NAME=INTERVAL, separated by commas or blanks; a text without any is fine.
 *
 * out    TICKS_MAX places.
 * why    on failure what is wrong, printable.
 * Returns 0, or -ERR_BAD (not of this form), -ERR_RANGE (an interval), -ERR_TOOBIG (too many, a name too long), -ERR_IN_USE (a name twice).
 */
int tick_specs_read(const char *text, struct tick_spec *out, unsigned *n_out, char *why, size_t why_bytes);

#endif
