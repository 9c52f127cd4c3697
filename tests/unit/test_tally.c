/* postern.metrics in one worker: what is told, how names and labels are checked, and its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/count.h"
#include "tests/unit/script_fixture.h"
#include "worker/tally.h"

#define USES_METRICS "local metrics = require 'postern.metrics' "

/* Everything there is to tell, a line for each count. */
static const char *news(struct worker_fixture *f)
{
    struct tally *tally = script_tally(f->script);
    struct buf text;
    buf_init(&text, 1 << 20);
    while (tally_has_news(tally)) {
        struct wire_counts record;
        struct buf in;
        tally_take(tally, &record);
        assert_true(record.counts.len <= 60000);
        buf_view(&in, record.counts.data, record.counts.len);
        while (buf_left(&in) > 0) {
            struct count count;
            assert_int_equal(count_get(&in, &count), 0);
            buf_printf(&text, "%.*s{", (int)count.name.len, count.name.data);
            assert_int_equal(count_put_labels(&text, &count), 0);
            buf_printf(&text, "} %llu", (unsigned long long)count.add);
            buf_printf(&text, count.help.len > 0 ? " (%.*s)\n" : "%.*s\n", (int)count.help.len,
                count.help.len > 0 ? count.help.data : "");
        }
        if (record.dropped > 0) {
            buf_printf(&text, "dropped %u\n", record.dropped);
        }
    }
    const char *copy = arena_memdup0(f->texts, text.len > 0 ? (char *)text.data : "", text.len);
    buf_clear(&text);
    return copy;
}

static void test_told_once(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, USES_METRICS "local c = metrics.counter('seen', 'what was\\nseen')\n"
                                   "function filter_helo() c:inc() c:inc(41) end\n"
                                   "function filter_relay() end");
    fixture_envelope(f);
    assert_string_equal(news(f), "");
    fixture_run_ok(f, HOOK_RELAY, VERDICT_CONTINUE);
    assert_false(tally_has_news(script_tally(f->script)));
    fixture_run_ok(f, HOOK_HELO, VERDICT_CONTINUE);
    assert_string_equal(news(f), "seen{} 42 (what was seen)\n");
    assert_string_equal(news(f), "");
    fixture_run_ok(f, HOOK_HELO, VERDICT_CONTINUE);
    assert_string_equal(news(f), "seen{} 42\n");
}

static void test_labels_are_sorted_and_cleaned(void **state)
{
    struct worker_fixture *f = *state;
    fixture_envelope(f);
    fixture_lua(f, HOOK_HELO,
        USES_METRICS "metrics.counter('n'):inc(2, { zoo = 1.5, a = 'x\\1\\255\"', mid = false })");
    assert_string_equal(news(f), "n{a=\"x \xef\xbf\xbd\\\"\",mid=\"false\",zoo=\"1.5\"} 2\n");
    fixture_lua(f, HOOK_HELO, USES_METRICS "metrics.counter('n'):inc(0, { a = ('x'):rep(1000) })");
    assert_int_equal(strlen(news(f)), strlen("n{a=\"\"} 0\n") + COUNT_VALUE_MAX);
    fixture_lua(f, HOOK_HELO,
        USES_METRICS "local c = metrics.counter('n')\n"
                     "c:inc(1, { a = 'x', b = 'y' }) c:inc(1, { b = 'y', a = 'x' })\n"
                     "c:inc(1, {}) c:inc()");
    const char *told = news(f);
    assert_non_null(strstr(told, "n{a=\"x\",b=\"y\"} 2\n"));
    assert_non_null(strstr(told, "n{} 2\n"));
}

static void test_misuse(void **state)
{
    static const struct {
        const char *code, *error;
    } rows[] = {
        {"metrics.counter()", "bad argument #1 to 'counter'"},
        {"metrics.counter('')", "a counter's name has letters"},
        {"metrics.counter('a-b')", "a counter's name has letters"},
        {"metrics.counter('a_total')", "a counter's name has letters"},
        {"metrics.counter(('x'):rep(65))", "a counter's name has letters"},
        {"metrics.counter('a', {})", "bad argument #2 to 'counter'"},
        {"metrics.counter('a'):inc(-1)", "a counter only grows"},
        {"metrics.counter('a'):inc(2^60)", "a counter only grows"},
        {"metrics.counter('a'):inc(0.5)", "number has no integer representation"},
        {"metrics.counter('a'):inc('x')", "number expected"},
        {"metrics.counter('a'):inc(1, 'x')", "table expected"},
        {"metrics.counter('a'):inc(1, { 'x' })", "a label's name has letters"},
        {"metrics.counter('a'):inc(1, { ['a b'] = 'x' })", "a label's name has letters"},
        {"metrics.counter('a'):inc(1, { __a = 'x' })", "a label's name has letters"},
        {"metrics.counter('a'):inc(1, { a = {} })", "label a: a string, number or boolean"},
        {"metrics.counter('a'):inc(1, { a = 1, b = 1, c = 1, d = 1, e = 1 })", "at most 4 labels"},
        {"metrics.counter('a').inc()", "postern.counter expected"},
        {"metrics.counter('a').inc(io)", "postern.counter expected"},
        {"metrics.counter('a'):imc()", "did you mean 'inc'"},
        {"metrics.counter('a').x = 1", "counter.x cannot be assigned"},
    };
    struct worker_fixture *f = *state;
    fixture_envelope(f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fixture_lua_error(
            f, HOOK_HELO, arena_printf(f->texts, USES_METRICS "%s", rows[i].code), rows[i].error);
        assert_string_equal(news(f), "");
    }
}

static void test_not_at_the_top_level(void **state)
{
    struct worker_fixture *f = *state;
    static const char text[] = USES_METRICS "metrics.counter('a'):inc() function filter_helo() end";
    char *path = arena_printf(f->texts, "%s/top.lua", f->dir), *error = NULL;
    struct script *script = NULL;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_not_equal(script_new(f->conf, path, 10000, &script, &error), 0);
    assert_non_null(strstr(error, "top.lua:1: count in a hook"));
    free(error);
    remove(path);
}

static void test_bounds(void **state)
{
    struct worker_fixture *f = *state;
    fixture_envelope(f);
    fixture_lua(f, HOOK_HELO,
        USES_METRICS "for i = 1, 700 do metrics.counter('c' .. i, ('h'):rep(300)):inc(1, "
                     "{ a = ('x'):rep(128), b = ('y'):rep(128) }) end");
    const char *told = news(f); /* takes several records */
    assert_non_null(strstr(told, "dropped 200\n"));
    size_t n = 0;
    for (const char *at = told; (at = strchr(at, '\n')) != NULL; at++) {
        n++;
    }
    assert_int_equal(n, 501);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(test_told_once),
        SCRIPT_TEST(test_labels_are_sorted_and_cleaned),
        SCRIPT_TEST(test_misuse),
        SCRIPT_TEST(test_not_at_the_top_level),
        SCRIPT_TEST(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
