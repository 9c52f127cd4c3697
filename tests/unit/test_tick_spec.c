/* The timers of multiplexor.ticks: what is read and what is refused, alone and in a configuration.
 */
#include <stdio.h>
#include <string.h>

#include "common/tick_spec.h"
#include "tests/unit/spec_checks.h"

static struct tick_spec specs[TICKS_MAX];
static unsigned n_specs;
static char why[256];

static int read_reason(const char *text, const char **why_out)
{
    *why_out = why;
    why[0] = '\0';
    return tick_specs_read(text, specs, &n_specs, why, sizeof(why));
}

static int read_specs(const char *text)
{
    const char *reason;
    return read_reason(text, &reason);
}

static void test_read(void **state)
{
    (void)state;
    assert_int_equal(read_specs(""), 0);
    assert_int_equal(n_specs, 0);
    assert_int_equal(read_specs(" , ,\t"), 0);
    assert_int_equal(n_specs, 0);
    assert_int_equal(
        read_specs("expire=60s, report=1h,\tx.y-z_9=1 abcdefghijklmnopqrstuvwx=30d"), 0);
    assert_int_equal(n_specs, 4);
    assert_string_equal(specs[0].name, "expire");
    assert_int_equal(specs[0].interval_ms, 60000);
    assert_string_equal(specs[1].name, "report");
    assert_int_equal(specs[1].interval_ms, 3600000);
    assert_string_equal(specs[2].name, "x.y-z_9");
    assert_int_equal(specs[2].interval_ms, 1000);
    assert_int_equal(specs[3].interval_ms, TICK_INTERVAL_MAX_MS);
}

static void test_refused(void **state)
{
    static const struct spec_refusal rows[] = {
        {"expire", -ERR_BAD, "\"expire\": NAME=INTERVAL expected"},
        {"=1s", -ERR_BAD, "NAME=INTERVAL expected"},
        {"a=", -ERR_BAD, "NAME=INTERVAL expected"},
        {"a=x", -ERR_BAD, "NAME=INTERVAL expected"},
        {"a b=1s", -ERR_BAD, "\"a\""},
        {"a\033[2J=1s", -ERR_BAD, "\"a\\x"},
        {"a=999ms", -ERR_RANGE, "from 1s to 30d"},
        {"a=31d", -ERR_RANGE, "from 1s to 30d"},
        {"a=1s,b=1s,a=2s", -ERR_IN_USE, "\"a=2s\": this name is there already"},
        {"abcdefghijklmnopqrstuvwxy=1s", -ERR_TOOBIG, "names of at most 24 bytes"},
        {"abcdefghijklmnopqrstuvwxyabcdefghijklmnopqrstuvwxyabcdefghijklmnopqrstuvwxyabcdefg=1s",
            -ERR_BAD, "NAME=INTERVAL expected"},
    };
    (void)state;
    check_refusals(read_reason, rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_at_most(void **state)
{
    char text[TICKS_MAX * 16] = "";
    (void)state;
    for (int i = 0; i < TICKS_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "n%d=1s ", i);
    assert_int_equal(read_specs(text), 0);
    assert_int_equal(n_specs, TICKS_MAX);
    strcat(text, "m=1s");
    assert_int_equal(read_specs(text), -ERR_TOOBIG);
}

static void test_in_a_configuration(void **state)
{
    (void)state;
    struct conf *conf = check_option("multiplexor.ticks=a=5s", "multiplexor.ticks=a=0",
        "multiplexor.ticks: \"a=0\": an interval is from 1s to 30d");
    assert_string_equal(conf->multiplexor.ticks, "a=5s");
    conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_at_most),
        cmocka_unit_test(test_in_a_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
