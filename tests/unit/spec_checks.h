/* For tests of an option that holds a list (multiplexor.limits, multiplexor.ticks): what is refused
 * and why, alone and in a configuration. */
#ifndef POSTERN_TESTS_SPEC_CHECKS_H
#define POSTERN_TESTS_SPEC_CHECKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/conf.h"
#include "common/err.h"

/* Reads a list; *why_out: the reason when it is refused. */
typedef int (*spec_read)(const char *text, const char **why_out);

struct spec_refusal {
    const char *text;
    int err;
    const char *why; /* part of the reason */
};

static inline void check_refusals(spec_read read, const struct spec_refusal *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *why = "";
        assert_int_equal(read(rows[i].text, &why), rows[i].err);
        assert_non_null(strstr(why, rows[i].why));
    }
}

/* good, bad: "section.key=value". Returns the configuration with the good one. */
static inline struct conf *check_option(const char *good, const char *bad, const char *why)
{
    struct conf *conf = NULL, *none = NULL;
    char *error = NULL;
    assert_int_equal(conf_load(NULL, &good, 1, &conf, &error), 0);
    assert_int_equal(conf_load(NULL, &bad, 1, &none, &error), -ERR_BAD);
    assert_non_null(strstr(error, why));
    free(error);
    return conf;
}

#endif
