/* The limits of multiplexor.limits: what is read and what is refused, alone and in a configuration.
 */
#include <stdio.h>
#include <string.h>

#include "common/limit_spec.h"
#include "tests/unit/spec_checks.h"

static struct limit_spec specs[LIMITS_MAX];
static unsigned n_specs;
static char why[256];

static int read_reason(const char *text, const char **why_out)
{
    *why_out = why;
    why[0] = '\0';
    return limit_specs_read(text, specs, &n_specs, why, sizeof(why));
}

static int read_specs(const char *text)
{
    const char *reason;
    return read_reason(text, &reason);
}

static void test_read(void **state)
{
    (void)state;
    assert_int_equal(read_specs(" , \t"), 0);
    assert_int_equal(n_specs, 0);
    assert_int_equal(read_specs("filter_message=20, filter_recipient@domain=5:wait\t"
                                "any@network=100000:refuse"),
        0);
    assert_int_equal(n_specs, 3);
    assert_string_equal(specs[0].name, "filter_message");
    assert_true(specs[0].hook == HOOK_MESSAGE && specs[0].by == LIMIT_BY_NOTHING);
    assert_true(specs[0].most == 20 && !specs[0].refuses);
    assert_true(specs[1].hook == HOOK_RECIPIENT && specs[1].by == LIMIT_BY_DOMAIN);
    assert_false(specs[1].refuses);
    assert_string_equal(specs[2].name, "any@network");
    assert_true(specs[2].hook == HOOK_NONE && specs[2].by == LIMIT_BY_NETWORK);
    assert_true(specs[2].most == 100000 && specs[2].refuses);
}

static void test_which_hooks(void **state)
{
    (void)state;
    assert_int_equal(read_specs("filter_helo=1 any=1"), 0);
    assert_true(limit_spec_has(&specs[0], hook_info(HOOK_HELO)));
    assert_false(limit_spec_has(&specs[0], hook_info(HOOK_MESSAGE)));
    assert_true(limit_spec_has(&specs[1], hook_info(HOOK_HELO)));
    assert_true(limit_spec_has(&specs[1], hook_info(HOOK_UNKNOWN)));
    assert_false(limit_spec_has(&specs[1], hook_info(HOOK_CLOSE)));
    assert_false(limit_spec_has(&specs[1], hook_info(HOOK_MAP)));
}

static void test_refused(void **state)
{
    static const struct spec_refusal rows[] = {
        {"filter_message", -ERR_BAD, "\"filter_message\": HOOK[@domain|@network]=NUMBER"},
        {"=1", -ERR_NOTFOUND, "the hook is one that judges"},
        {"message=1", -ERR_NOTFOUND, "\"message=1\": the hook"},
        {"filter_close=1", -ERR_NOTFOUND, "the hook"},
        {"filter_map=1", -ERR_NOTFOUND, "the hook"},
        {"filter_init=1", -ERR_NOTFOUND, "the hook"},
        {"any@=1", -ERR_BAD, "expected"},
        {"any@sender=1", -ERR_BAD, "expected"},
        {"any@domain@network=1", -ERR_BAD, "expected"},
        {"any=", -ERR_BAD, "expected"},
        {"any=x", -ERR_BAD, "expected"},
        {"any=1:", -ERR_BAD, "expected"},
        {"any=1:queue", -ERR_BAD, "expected"},
        {"any=1:wait:wait", -ERR_BAD, "expected"},
        {"any=0", -ERR_RANGE, "from 1 to 100000"},
        {"any=100001", -ERR_RANGE, "from 1 to 100000"},
        {"any=1 any@domain=1 any=2", -ERR_IN_USE, "\"any=2\": this limit is there already"},
        {"a\033[2J=1", -ERR_NOTFOUND, "\"a\\x"},
        {"anyanyanyanyanyanyanyanyanyanyanyanyanyanyanyany=1", -ERR_BAD, "expected"},
        {"anyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyanyany=1",
            -ERR_BAD, "expected"},
    };
    (void)state;
    check_refusals(read_reason, rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_at_most(void **state)
{
    static const char *const hooks[] = {
        "relay", "helo", "sender", "recipient", "data", "headers", "message"};
    char text[1024] = "";
    (void)state;
    for (int i = 0; i < LIMITS_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "filter_%s%s=1 ", hooks[i / 3],
            i % 3 == 0   ? ""
            : i % 3 == 1 ? "@domain"
                         : "@network");
    assert_int_equal(read_specs(text), 0);
    assert_int_equal(n_specs, LIMITS_MAX);
    strcat(text, "any=1");
    assert_int_equal(read_specs(text), -ERR_TOOBIG);
}

static void test_in_a_configuration(void **state)
{
    (void)state;
    struct conf *conf = check_option("multiplexor.limits=any@network=5", "multiplexor.limits=any=0",
        "multiplexor.limits: \"any=0\": the number is from 1");
    assert_string_equal(conf->multiplexor.limits, "any@network=5");
    conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_which_hooks),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_at_most),
        cmocka_unit_test(test_in_a_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
