/*
 * Tests of a filter: Lua files beside it, whose functions test_… play messages through it and look
 * at what came of them.
 */
#ifndef POSTERN_CTL_TEST_H
#define POSTERN_CTL_TEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/conf.h"

/* One file of tests. Borrowed. */
struct test_file {
    const struct conf *conf; /* the filter is its worker.filter */
    const char *path;
};

/*
 * The tests of a file, in the order of their lines: {"tests": [{"name", "line"}, …]}, or {"error":
 * text} when it does not load. A new reference.
 */
json_t *test_list(const struct test_file *file);
/*
 * Runs one in a process of its own: {"error": null or text, "log": [lines]}. A new reference.
 * Whatever the filter does there ends in a text.
 */
json_t *test_run(const struct test_file *file, const char *name);

/* How many ended so. */
struct test_sum {
    int passed, failed;
};
/* A test that ended, {"file", "test", "line", "ok", "error", "log"}; and the end of all. */
void test_print(FILE *out, const json_t *result, bool is_json);
void test_print_sum(FILE *out, const struct test_sum *sum, bool is_json);

#endif
