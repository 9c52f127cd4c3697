/* The average of busy workers, what it asks for, and the spread of limits, with the clock given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "multiplexor/scale.h"

enum { SECOND_US = 1000000, WINDOW_MS = 10000 };

/* So many seconds with n busy workers, sampled twice a second. */
static void pass(struct scale *scale, int64_t *now_us, int seconds, unsigned n_busy)
{
    scale_note(scale, n_busy, *now_us);
    for (int i = 0; i < 2 * seconds; i++) {
        *now_us += SECOND_US / 2;
        scale_sample(scale, WINDOW_MS, *now_us);
    }
}

static void test_average_follows_the_load(void **state)
{
    (void)state;
    struct scale scale = {0};
    int64_t now_us = 5 * SECOND_US;
    scale_sample(&scale, WINDOW_MS, now_us);
    pass(&scale, &now_us, 120, 8);
    assert_true(scale.average > 7.9 && scale.average < 8.1);
    assert_int_equal(scale_target(&scale, 80, 2, 100), 10);
    assert_int_equal(scale_target(&scale, 100, 2, 100), 8);
    assert_int_equal(scale_target(&scale, 80, 2, 9), 9);
    pass(&scale, &now_us, 120, 0);
    assert_true(scale.average < 0.01);
    assert_int_equal(scale_target(&scale, 80, 2, 100), 2);
}

static void test_bursts_between_samples_count(void **state)
{
    (void)state;
    struct scale scale = {0};
    int64_t now_us = SECOND_US;
    scale_sample(&scale, WINDOW_MS, now_us);
    for (int i = 0; i < 2000; i++) { /* four busy for half of each tenth of a second */
        scale_note(&scale, 4, now_us);
        scale_note(&scale, 0, now_us + SECOND_US / 20);
        now_us += SECOND_US / 10;
        if (i % 5 == 0)
            scale_sample(&scale, WINDOW_MS, now_us);
    }
    assert_true(scale.average > 1.9 && scale.average < 2.1);
}

static void test_spread(void **state)
{
    (void)state;
    int tenths[10] = {0};
    for (uint32_t number = 1; number <= 1000; number++) {
        int64_t limit = scale_spread(1000, 50, number);
        assert_true(limit > 500 && limit <= 1000);
        tenths[(limit - 501) / 50]++;
    }
    for (int i = 0; i < 10; i++)
        assert_true(tenths[i] > 80 && tenths[i] < 120);
    assert_int_equal(scale_spread(1000, 0, 7), 1000);
    assert_int_equal(scale_spread(1, 100, 7), 1);
    assert_int_equal(scale_spread(0, 100, 7), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_average_follows_the_load),
        cmocka_unit_test(test_bursts_between_samples_count),
        cmocka_unit_test(test_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
