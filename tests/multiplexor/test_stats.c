/* Percentiles, rates and counts of the multiplexor's statistics, with the clock given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "multiplexor/stats.h"

static double number(json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void test_percentiles_are_within_a_quarter(void **state)
{
    (void)state;
    static const int64_t values_us[] = {
        1, 3, 4, 7, 8, 100, 999, 1000, 12345, 8000000, 240000000, 86400000000};
    for (size_t i = 0; i < sizeof(values_us) / sizeof(values_us[0]); i++) {
        struct histogram histogram = {0};
        for (int n = 0; n < 10; n++)
            histogram_add(&histogram, values_us[i]);
        double ms = histogram_percentile_ms(&histogram, 0.5), wanted = (double)values_us[i] / 1000;
        assert_true(ms >= wanted && ms <= wanted * 1.25 + 0.001);
    }
}

static void test_percentiles_of_a_mixture(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    assert_true(histogram_percentile_ms(&histogram, 0.99) == 0);
    for (int i = 0; i < 98; i++)
        histogram_add(&histogram, 1000);
    histogram_add(&histogram, 1000000);
    histogram_add(&histogram, -5);
    assert_true(histogram_percentile_ms(&histogram, 0.5) < 1.3);
    assert_true(histogram_percentile_ms(&histogram, 0.99) >= 1000);
    histogram_add(&histogram, INT64_MAX);
    assert_int_equal(histogram.n, 101);
}

static void answer(struct stats *stats, int n, int64_t now_ms)
{
    for (int i = 0; i < n; i++)
        stats_answered(stats, HOOK_MESSAGE, OUTCOME_OK, VERDICT_REJECT, 10, 20, now_ms);
}

static void check_rates(
    struct stats *stats, int64_t now_ms, double ten, double minute, double ten_minutes)
{
    json_t *rates = stats_rates_json(stats, now_ms);
    assert_true(number(rates, "10s") == ten);
    assert_true(number(rates, "1m") == minute);
    assert_true(number(rates, "10m") == ten_minutes);
    json_decref(rates);
}

static void test_rates(void **state)
{
    (void)state;
    static struct stats stats;
    stats_init(&stats, 1000000);
    check_rates(&stats, 1000000, 0, 0, 0);
    for (int second = 0; second < 600; second++)
        answer(&stats, 6, 1000000 + second * 1000);
    check_rates(&stats, 1600000, 6, 6, 6);
    check_rates(&stats, 1605000, 3, 5.5, 5.95);
    check_rates(&stats, 1660000, 0, 0, 5.4);
    check_rates(&stats, 99600000, 0, 0, 0); /* long after: the ring turns in bounded time */
    answer(&stats, 10, 99600000);
    check_rates(&stats, 99601000, 1, 10.0 / 60, 10.0 / 600);
}

static void test_counts(void **state)
{
    (void)state;
    static struct stats stats;
    stats_init(&stats, 0);
    answer(&stats, 3, 5);
    stats_answered(&stats, HOOK_RELAY, OUTCOME_NOBODY, VERDICT_TEMPFAIL, 10, -1, 5);
    assert_int_equal(stats.requests, 4);
    assert_int_equal(stats.by_hook[HOOK_MESSAGE], 3);
    assert_int_equal(stats.messages[VERDICT_REJECT], 3);
    assert_int_equal(stats.messages[VERDICT_TEMPFAIL], 0);
    assert_int_equal(stats.verdicts[VERDICT_TEMPFAIL], 1);
    assert_int_equal(stats.outcomes[OUTCOME_NOBODY], 1);
    assert_int_equal(stats.queue.n, 4);
    assert_int_equal(stats.hook.n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles_are_within_a_quarter),
        cmocka_unit_test(test_percentiles_of_a_mixture),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
