/* Mail addresses: stripping, splitting, what may go to an MTA, patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/address.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void assert_slice(struct slice got, const char *expected)
{
    if (!slice_equal(got, slice_text(expected)))
        fail_msg("got \"%.*s\", expected \"%s\"", (int)got.len, got.data != NULL ? got.data : "",
            expected);
}

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *in, *stripped, *local, *domain;
    } rows[] = {
        {"<a@b.example>", "a@b.example", "a", "b.example"},
        {"  <a@b>\r\n", "a@b", "a", "b"},
        {"<>", "", "", ""},
        {"", "", "", ""},
        {"<", "<", "<", ""},
        {"<<a@b>>", "<a@b>", "<a", "b>"},
        {"postmaster", "postmaster", "postmaster", ""},
        {"a@b@c", "a@b@c", "a@b", "c"},
        {"\"a@b\"@c", "\"a@b\"@c", "\"a@b\"", "c"},
        {"\"a\\\"@b\"@c", "\"a\\\"@b\"@c", "\"a\\\"@b\"", "c"},
        {"\"open@c", "\"open@c", "\"open@c", ""},
        {"\"ends\\", "\"ends\\", "\"ends\\", ""},
        {"@one,@two:a@b", "@one,@two:a@b", "@one,@two:a", "b"},
        {"a@", "a@", "a", ""},
        {"\xC3\xBC@\xC3\xA4.example", "\xC3\xBC@\xC3\xA4.example", "\xC3\xBC", "\xC3\xA4.example"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice stripped = address_strip(slice_text(rows[i].in));
        assert_slice(stripped, rows[i].stripped);
        assert_slice(address_local(stripped), rows[i].local);
        assert_slice(address_domain(stripped), rows[i].domain);
    }
}

static void test_valid(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool is_valid;
    } rows[] = {
        {"a@b", true},
        {"postmaster", true},
        {"\"a b\"@c", true},
        {"\"a\\\"<b\"@c", true},
        {"\xC3\xBC@b", true},
        {"a b@c", false},
        {"<a@b>", false},
        {"a@b>", false},
        {"\"a@b", false},
        {"\"a\\", false},
        {"a\n@b", false},
        {"a\r\nX: y@b", false},
        {"\"a\tb\"@c", false},
        {"a\x7f@b", false},
        {"\xFF@b", false},
        {"\xC2\x85@b", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (address_is_valid(slice_text(rows[i].address), false) != rows[i].is_valid)
            fail_msg("row %zu", i);
    assert_true(address_is_valid(slice_text(""), true));
    assert_false(address_is_valid(slice_text(""), false));
    assert_false(address_is_valid(slice_of("a\0@b", 4), false));
}

static void test_length(void **state)
{
    (void)state;
    char address[1001];
    memset(address, 'a', sizeof(address));
    assert_true(address_is_valid(slice_of(address, 1000), false));
    assert_false(address_is_valid(slice_of(address, 1001), false));
    assert_true(address_args_are_valid(slice_of(address, 1000)));
    assert_false(address_args_are_valid(slice_of(address, 1001)));
}

static void test_args(void **state)
{
    (void)state;
    assert_true(address_args_are_valid(slice_text("")));
    assert_true(address_args_are_valid(slice_text("SIZE=10 BODY=8BITMIME")));
    assert_false(address_args_are_valid(slice_text("SIZE=10\r\nDATA")));
    assert_false(address_args_are_valid(slice_of("A\0B", 3)));
}

static void test_matches(void **state)
{
    (void)state;
    static const struct {
        const char *address, *pattern;
        bool matches;
    } rows[] = {
        {"a@b.example", "a@b.example", true},
        {"A@B.Example", "a@b.example", true},
        {"<a@b.example>", "a@b.example", true},
        {"a@b.example", "c@b.example", false},
        {"a@b.example", "@b.example", true},
        {"a@c.b.example", "@b.example", false},
        {"a@c.b.example", "@.b.example", true},
        {"a@b.example", "@.b.example", false},
        {"a@xb.example", "@.b.example", false},
        {"a@b.example", "a@", true},
        {"ab@b.example", "a@", false},
        {"a", "a@", true},
        {"a@b.example", "b.example", true},
        {"b.example", "b.example", false},
        {"a@b.example", "B.EXAMPLE", true},
        {"a@b.example", "", false},
        {"", "", false},
        {"", "@", false},
        {"a", "@", false},
        {"\"x@y\"@z", "\"x@y\"@z", true},
        {"\"x@y\"@z", "@z", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (address_matches(slice_text(rows[i].address), slice_text(rows[i].pattern)) !=
            rows[i].matches)
            fail_msg("%s and %s", rows[i].address, rows[i].pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_args),
        cmocka_unit_test(test_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
