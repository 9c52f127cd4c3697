/* Canonical forms of RFC 6376 section 3.4, with its own examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/err.h"
#include "worker/canon.h"

static void on_bytes(void *context, const void *data, size_t len)
{
    assert_int_equal(buf_put(context, data, len), 0);
}

static void check_body(const char *body, enum canon canon, const char *expected)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    canon_body(slice_text(body), canon, on_bytes, &out);
    assert_int_equal(buf_put_u8(&out, 0), 0);
    assert_string_equal((const char *)out.data, expected);
    buf_clear(&out);
}

static void test_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *body, *simple, *relaxed;
    } rows[] = {
        {"", "\r\n", ""},
        {"\r\n", "\r\n", ""},
        {"\r\n\r\n\n", "\r\n", ""},
        {" \r\n\t\r\n", " \r\n\t\r\n", ""},
        {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},
        {"a", "a\r\n", "a\r\n"},
        {"a \t", "a \t\r\n", "a\r\n"},
        {"a\nb\r\n", "a\r\nb\r\n", "a\r\nb\r\n"},
        {"a\rb\r\r\n", "a\rb\r\r\n", "a\rb\r\r\n"},
        {"\r\n\r\nx\r\n\r\ny\r\n\r\n", "\r\n\r\nx\r\n\r\ny\r\n", "\r\n\r\nx\r\n\r\ny\r\n"},
        {"  \tx\r\n", "  \tx\r\n", " x\r\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check_body(rows[i].body, CANON_SIMPLE, rows[i].simple);
        check_body(rows[i].body, CANON_RELAXED, rows[i].relaxed);
    }
}

static void check_field(const char *field, enum canon canon, const char *expected)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(canon_header(slice_text(field), canon, &out), 0);
    assert_int_equal(buf_put_u8(&out, 0), 0);
    assert_string_equal((const char *)out.data, expected);
    buf_clear(&out);
}

static void test_fields(void **state)
{
    (void)state;
    static const struct {
        const char *field, *simple, *relaxed;
    } rows[] = {
        {"A: X\r\n", "A: X\r\n", "a:X\r\n"},
        {"B : Y\t\r\n\tZ  \r\n", "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
        {"B: Y\n Z\n", "B: Y\r\n Z\r\n", "b:Y Z\r\n"},
        {"Empty:\r\n", "Empty:\r\n", "empty:\r\n"},
        {"Empty: \t", "Empty: \t\r\n", "empty:\r\n"},
        {"no colon\r\n", "no colon\r\n", "no colon\r\n"},
        {":x\r\n", ":x\r\n", ":x\r\n"},
        {"", "\r\n", "\r\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check_field(rows[i].field, CANON_SIMPLE, rows[i].simple);
        check_field(rows[i].field, CANON_RELAXED, rows[i].relaxed);
    }
}

static void test_a_full_buffer_stays_as_it_was(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 6);
    assert_int_equal(canon_header(slice_text("a:1"), CANON_RELAXED, &out), 0);
    assert_int_equal(canon_header(slice_text("a: longer"), CANON_RELAXED, &out), -ERR_TOOBIG);
    assert_int_equal(out.len, 5);
    buf_clear(&out);
}

/* Pieces do not depend on where the gathering buffer ends. */
static void test_long_bodies(void **state)
{
    (void)state;
    enum { LONG = 20000 };
    static char body[LONG + 8], expected[LONG + 8];
    for (size_t n = 4090; n < 4100; n++) {
        memset(body, 'x', n);
        strcpy(body + n, "  y\r\n");
        memset(expected, 'x', n);
        strcpy(expected + n, " y\r\n");
        check_body(body, CANON_RELAXED, expected);
        check_body(body, CANON_SIMPLE, body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_a_full_buffer_stays_as_it_was),
        cmocka_unit_test(test_long_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
