/* Samples in one worker: sums and bounds, where time is seen, what begins and ends a profile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/unit/script_fixture.h"
#include "worker/profile.h"

static struct wire_samples taken;

/* The time of all stacks that hold the text; everything is read and checked. */
static uint64_t us_of(const char *part)
{
    struct buf in;
    uint64_t sum = 0;
    buf_view(&in, taken.samples.data, taken.samples.len);
    while (buf_left(&in) > 0) {
        struct slice stack;
        uint64_t us;
        uint32_t n;
        char text[PROFILE_STACK_MAX + 1];
        assert_int_equal(buf_get_bytes(&in, PROFILE_STACK_MAX, &stack), 0);
        assert_int_equal(buf_get_u64(&in, &us), 0);
        assert_int_equal(buf_get_u32(&in, &n), 0);
        assert_true(n > 0);
        snprintf(text, sizeof text, "%.*s", (int)stack.len, stack.data);
        sum += strstr(text, part) != NULL ? us : 0;
    }
    return sum;
}

static void add(struct profile *profile, const char *stack, int64_t us)
{
    profile_add(profile, slice_text(stack), us);
}

static void test_sums(void **state)
{
    (void)state;
    struct profile *profile = profile_new(7);
    assert_false(profile_has_news(profile));
    add(profile, "a;b", 10);
    add(profile, "a;c", 5);
    add(profile, "a;b", 1);
    assert_true(profile_has_news(profile));
    profile_take(profile, &taken);
    assert_int_equal(taken.profile, 7);
    assert_int_equal(us_of("a;b"), 11);
    assert_int_equal(us_of("a;c"), 5);
    assert_int_equal(us_of("a"), 16);
    assert_false(profile_has_news(profile));
    profile_take(profile, &taken);
    assert_int_equal(taken.samples.len, 0);
    profile_free(profile);
}

static void test_bounds(void **state)
{
    (void)state;
    struct profile *profile = profile_new(1);
    static char longest[PROFILE_STACK_MAX + 1];
    memset(longest, 'x', PROFILE_STACK_MAX);
    for (int i = 0; i < 2000; i++) {
        char stack[32];
        snprintf(stack, sizeof stack, "hook;frame %d", i);
        add(profile, stack, 1);
    }
    profile_take(profile, &taken);
    assert_true(taken.other_us > 0 && taken.other_us < 2000);
    assert_int_equal(us_of("hook;frame") + taken.other_us, 2000);
    for (int i = 0; i < 50; i++) {
        longest[0] = (char)('A' + i);
        add(profile, longest, 1);
    }
    profile_take(profile, &taken);
    assert_in_range(taken.samples.len, 40000, 60000); /* a record takes it */
    assert_int_equal(us_of("xxx") + taken.other_us, 50);
    profile_free(profile);
}

/* Busy until the clock of the processor has gone on by so much: no matter how fast the machine is.
 */
#define BUSY                                                                                       \
    "local function busy() local t = os.clock() + 0.02 while os.clock() < t do end return 1 end\n"

static void test_where_time_is_seen(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, BUSY
        "function filter_helo() local x = busy()\nlocal co = coroutine.wrap(function() busy()\n"
        "coroutine.yield() return 1 end) co() co()\nrequire('postern.async').sleep(0.03) end\n"
        "function filter_relay() busy() end\nfunction filter_sender() error('x' .. busy()) end");
    fixture_envelope(f);
    fixture_run_ok(f, HOOK_HELO, VERDICT_CONTINUE);
    assert_null(script_samples(f->script));
    script_profile(f->script, 3);
    fixture_run_ok(f, HOOK_HELO, VERDICT_CONTINUE);
    profile_take(script_samples(f->script), &taken);
    assert_int_equal(taken.profile, 3);
    assert_true(us_of("filter_helo;filter.lua:2;filter.lua:1 busy") >= 15000);
    assert_true(us_of("filter_helo;filter.lua:2;filter.lua:1 busy;[C] clock") <
                us_of("filter_helo;filter.lua:2;filter.lua:1 busy"));
    assert_true(us_of("filter_helo;filter.lua:5;[C] sleep") >= 25000);
    fixture_run_ok(f, HOOK_RELAY, VERDICT_CONTINUE);
    profile_take(script_samples(f->script), &taken);
    assert_int_equal(us_of("filter_helo"), 0);
    assert_true(us_of("filter_relay;") >= 15000);
    fixture_run_error(f, HOOK_SENDER, "x1");
    profile_take(script_samples(f->script), &taken);
    assert_true(us_of("filter_sender;") >= 15000);
    script_profile(f->script, 0);
    fixture_run_ok(f, HOOK_HELO, VERDICT_CONTINUE);
    assert_null(script_samples(f->script));
}

/* A coroutine that the filter keeps goes on after the profile, and its deadline holds. */
static void test_a_coroutine_outlives_the_profile(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(f, BUSY
        "local kept = coroutine.wrap(function() while true do busy() coroutine.yield() end end)\n"
        "function filter_helo() kept() end\n"
        "function filter_sender() kept() while true do kept() end end");
    fixture_envelope(f);
    fixture_run_ok(f, HOOK_HELO, VERDICT_CONTINUE);
    script_profile(f->script, 1);
    fixture_run_ok(f, HOOK_HELO, VERDICT_CONTINUE);
    assert_true(profile_has_news(script_samples(f->script)));
    script_profile(f->script, 0);
    fixture_run_ok(f, HOOK_HELO, VERDICT_CONTINUE);
    assert_int_equal(fixture_job(f, HOOK_SENDER), 0);
    script_run(f->script, &f->job, clock_now_ms() + SCRIPT_SHORT_MS, &f->reply);
    assert_int_equal(f->reply.outcome, OUTCOME_DEADLINE);
}

static int n_told;

static void tell(void *context)
{
    struct worker_fixture *f = context;
    struct wire_samples samples;
    profile_take(script_samples(f->script), &samples);
    assert_true(samples.samples.len > 0);
    n_told++;
}

static void test_a_long_hook_tells_meanwhile(void **state)
{
    struct worker_fixture *f = *state;
    fixture_filter(
        f, "function filter_helo() local t = os.clock() + 0.8 while os.clock() < t do end end");
    fixture_envelope(f);
    script_profile(f->script, 1);
    script_profile_watch(f->script, tell, f);
    fixture_run_ok(f, HOOK_HELO, VERDICT_CONTINUE);
    assert_in_range(n_told, 2, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_bounds),
        SCRIPT_TEST(test_where_time_is_seen),
        SCRIPT_TEST(test_a_coroutine_outlives_the_profile),
        SCRIPT_TEST(test_a_long_hook_tells_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
