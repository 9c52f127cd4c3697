/* Hooks and stages: the rows of hooks.def, and what sets of hooks need from the MTA. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/hook.h"

static void test_every_row_is_found_by_name_and_stage(void **state)
{
    (void)state;
    for (int i = 0; i < HOOK_COUNT; i++) {
        const struct hook_info *info = hook_info((enum hook)i);
        assert_int_equal(info->hook, i);
        assert_ptr_equal(hook_find(info->name), info);
        if (info->answers != STAGE_NONE)
            assert_int_equal(hook_of_stage(info->answers), i);
    }
    assert_null(hook_find("filter_mesage"));
    assert_null(hook_find(""));
    assert_int_equal(hook_of_stage(STAGE_NONE), HOOK_NONE);
}

static void test_every_stage_has_one_hook_and_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < STAGE_COUNT; i++) {
        assert_int_not_equal(hook_of_stage((enum stage)i), HOOK_NONE);
        assert_string_not_equal(stage_name((enum stage)i), "?");
    }
    assert_string_equal(stage_name(STAGE_EOM), "eom");
    assert_string_equal(stage_name(STAGE_NONE), "?");
}

static void test_near_names(void **state)
{
    static const struct {
        const char *word, *nearest;
    } rows[] = {
        {"filter_mesage", "filter_message"},
        {"filter_recipients", "filter_recipient"},
        {"filter_hello", "filter_helo"},
        {"something_else_entirely", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *nearest = hook_nearest(rows[i].word);
        if (rows[i].nearest == NULL)
            assert_null(nearest);
        else
            assert_string_equal(nearest, rows[i].nearest);
    }
}

static void test_needs(void **state)
{
    static const struct {
        uint32_t hooks, sees, answers;
    } rows[] = {
        {0, SEES_ENVELOPE | STAGES_ALWAYS, STAGE_BIT(STAGE_EOM)},
        {HOOK_BIT(HOOK_RELAY), SEES_ENVELOPE | STAGES_ALWAYS,
            STAGE_BIT(STAGE_CONNECT) | STAGE_BIT(STAGE_EOM)},
        {HOOK_BIT(HOOK_MESSAGE), SEES_ENVELOPE | SEES_HEADERS | SEES_BODY | STAGES_ALWAYS,
            STAGE_BIT(STAGE_EOM)},
        {HOOK_BIT(HOOK_HEADERS), SEES_ENVELOPE | SEES_HEADERS | SEES_EOH | STAGES_ALWAYS,
            STAGE_BIT(STAGE_EOH) | STAGE_BIT(STAGE_EOM)},
        {HOOK_BIT(HOOK_DATA), SEES_ENVELOPE | SEES_DATA | SEES_HEADERS | STAGES_ALWAYS,
            STAGE_BIT(STAGE_DATA) | STAGE_BIT(STAGE_EOM)},
        {HOOK_BIT(HOOK_UNKNOWN), SEES_ENVELOPE | SEES_UNKNOWN | STAGES_ALWAYS,
            STAGE_BIT(STAGE_UNKNOWN) | STAGE_BIT(STAGE_EOM)},
        {HOOK_BIT(HOOK_INIT) | HOOK_BIT(HOOK_MAP) | HOOK_BIT(HOOK_TICK),
            SEES_ENVELOPE | STAGES_ALWAYS, STAGE_BIT(STAGE_EOM)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hook_needs needs = hook_needs_of(rows[i].hooks);
        assert_int_equal(needs.hooks, rows[i].hooks);
        assert_int_equal(needs.sees, rows[i].sees);
        assert_int_equal(needs.answers, rows[i].answers);
    }
    /* Bits of no hook are no hooks. */
    assert_int_equal(hook_needs_of(UINT32_MAX).hooks, hook_needs_all().hooks);
    assert_int_equal(hook_needs_of(UINT32_MAX).sees, STAGES_ALL);
}

static void test_answers_are_always_seen(void **state)
{
    (void)state;
    for (int i = 0; i < HOOK_COUNT; i++) {
        struct hook_needs needs = hook_needs_of(HOOK_BIT(i));
        assert_int_equal(needs.answers & ~needs.sees, 0);
    }
}

static void test_cover(void **state)
{
    struct hook_needs none = hook_needs_of(0);
    struct hook_needs relay = hook_needs_of(HOOK_BIT(HOOK_RELAY));
    struct hook_needs message = hook_needs_of(HOOK_BIT(HOOK_MESSAGE));
    struct hook_needs both = hook_needs_union(relay, message);
    struct hook_needs last = hook_needs_of(HOOK_BIT(HOOK_ABORT) | HOOK_BIT(HOOK_CLOSE));

    (void)state;
    assert_true(hook_needs_are_covered(none, relay));
    assert_false(hook_needs_are_covered(relay, none));
    assert_false(hook_needs_are_covered(message, relay));
    assert_false(hook_needs_are_covered(relay, message));
    assert_true(hook_needs_are_covered(relay, both));
    assert_true(hook_needs_are_covered(message, both));
    assert_true(hook_needs_are_covered(both, hook_needs_all()));
    assert_true(hook_needs_are_covered(hook_needs_all(), hook_needs_all()));
    /* libmilter delivers abort and close in any case. */
    assert_true(hook_needs_are_covered(last, none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_found_by_name_and_stage),
        cmocka_unit_test(test_every_stage_has_one_hook_and_a_name),
        cmocka_unit_test(test_near_names),
        cmocka_unit_test(test_needs),
        cmocka_unit_test(test_answers_are_always_seen),
        cmocka_unit_test(test_cover),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
