/*
 * The limits of multiplexor.limits as text: "filter_message=20, filter_recipient@domain=5:refuse,
 * any@network=10".
 */
#ifndef POSTERN_LIMIT_SPEC_H
#define POSTERN_LIMIT_SPEC_H

#include <stdbool.h>
#include <stddef.h>

#include "common/hook.h"

enum { LIMITS_MAX = 16, LIMIT_NAME_MAX = 47, LIMIT_MOST_MAX = 100000 };

/* What requests are told apart by. */
enum limit_by { LIMIT_BY_NOTHING = 0, LIMIT_BY_DOMAIN, LIMIT_BY_NETWORK };

struct limit_spec {
    char name[LIMIT_NAME_MAX + 1]; /* what stands before "=", unique */
    enum hook hook;                /* HOOK_NONE: any that judges something */
    enum limit_by by;
    unsigned most; /* requests running at once */
    bool refuses;  /* one over it gets on_overload at once; else it waits */
};

/*
 * Reads HOOK[@domain|@network]=NUMBER[:wait|:refuse], separated by commas or blanks; a text without
 * any is fine.
 *
 * out    LIMITS_MAX places.
 * why    on failure what is wrong, printable.
 * Returns 0, or -ERR_BAD (not of this form), -ERR_NOTFOUND (no such hook), -ERR_RANGE (the number),
 * -ERR_TOOBIG (too many), -ERR_IN_USE (one twice).
 */
int limit_specs_read(
    const char *text, struct limit_spec *out, unsigned *n_out, char *why, size_t why_bytes);
/* Whether the limit counts a hook's requests. */
bool limit_spec_has(const struct limit_spec *spec, const struct hook_info *hook);

#endif
