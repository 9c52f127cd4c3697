/* Numbers, sizes, durations, escapes, UTF-8, suggestions: rows of text and what comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/text.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

struct number_row {
    const char *text;
    int rc;
    int64_t value;
};

static void test_i64(void **state)
{
    (void)state;
    static const struct number_row rows[] = {
        {"0", 0, 0},
        {"-5", 0, -5},
        {"100", 0, 100},
        {"101", -ERR_RANGE, 0},
        {"-6", -ERR_RANGE, 0},
        {"99999999999999999999", -ERR_RANGE, 0},
        {"9223372036854775808", -ERR_RANGE, 0},
        {"007", 0, 7},
        {"", -ERR_BAD, 0},
        {"-", -ERR_BAD, 0},
        {"+1", -ERR_BAD, 0},
        {" 1", -ERR_BAD, 0},
        {"1 ", -ERR_BAD, 0},
        {"0x10", -ERR_BAD, 0},
        {"1e3", -ERR_BAD, 0},
        {"99999999999999999999x", -ERR_BAD, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t value = 0;
        assert_int_equal(text_to_i64(rows[i].text, -5, 100, &value), rows[i].rc);
        assert_true(value == rows[i].value);
    }
    int64_t value = 0;
    assert_int_equal(text_to_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &value), 0);
    assert_true(value == INT64_MIN);
    assert_int_equal(text_to_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &value), -ERR_RANGE);
}

static void test_bytes(void **state)
{
    (void)state;
    static const struct number_row rows[] = {
        {"10", 0, 10},
        {"64K", 0, 65536},
        {"16M", 0, 16 << 20},
        {"2G", 0, 2LL << 30},
        {"1T", 0, 1LL << 40},
        {"1k", 0, 1024},
        {"8388608T", -ERR_RANGE, 0},
        {"99999999999999999999", -ERR_RANGE, 0},
        {"", -ERR_BAD, 0},
        {"K", -ERR_BAD, 0},
        {"-1K", -ERR_BAD, 0},
        {"1KB", -ERR_BAD, 0},
        {"1 K", -ERR_BAD, 0},
        {"1.5M", -ERR_BAD, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t value = 0;
        assert_int_equal(text_to_bytes(rows[i].text, &value), rows[i].rc);
        assert_true(value == rows[i].value);
    }
}

static void test_ms(void **state)
{
    (void)state;
    static const struct number_row rows[] = {
        {"250ms", 0, 250},
        {"8s", 0, 8000},
        {"8", 0, 8000},
        {"0", 0, 0},
        {"5m", 0, 300000},
        {"2h", 0, 7200000},
        {"1d", 0, 86400000},
        {"99999999999999d", -ERR_RANGE, 0},
        {"s", -ERR_BAD, 0},
        {"1w", -ERR_BAD, 0},
        {"1S", -ERR_BAD, 0},
        {"-1s", -ERR_BAD, 0},
        {"1s2m", -ERR_BAD, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t value = 0;
        assert_int_equal(text_to_ms(rows[i].text, &value), rows[i].rc);
        assert_true(value == rows[i].value);
    }
}

static void test_bool(void **state)
{
    (void)state;
    static const struct number_row rows[] = {{"yes", 0, 1}, {"On", 0, 1}, {"TRUE", 0, 1},
        {"1", 0, 1}, {"no", 0, 0}, {"off", 0, 0}, {"false", 0, 0}, {"0", 0, 0}, {"", -ERR_BAD, 0},
        {"y", -ERR_BAD, 0}, {"2", -ERR_BAD, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool value = false;
        assert_int_equal(text_to_bool(rows[i].text, &value), rows[i].rc);
        assert_int_equal(value, rows[i].value);
    }
}

struct escape_row {
    struct slice in;
    char quote;
    size_t max_out;
    const char *out;
};
#define BYTES(literal)                                                                             \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static void test_escape(void **state)
{
    (void)state;
    static const struct escape_row rows[] = {
        {BYTES(""), 0, 64, ""},
        {BYTES("plain \"text\""), 0, 64, "plain \"text\""},
        {BYTES("say \"x\""), '"', 64, "say \\\"x\\\""},
        {BYTES("a\\b"), 0, 64, "a\\\\b"},
        {BYTES("a\\b"), '"', 64, "a\\\\b"},
        {BYTES("\n\r\t\0\x1b\x7f"), 0, 64, "\\n\\r\\t\\x00\\x1B\\x7F"},
        {BYTES("gr\xC3\xBC\xC3\x9F"), 0, 64, "gr\xC3\xBC\xC3\x9F"},
        {BYTES("\xC2\x85"), 0, 64, "\\xC2\\x85"},
        {BYTES("\xFF\xC3"), 0, 64, "\\xFF\\xC3"},
        {BYTES("\xED\xA0\x80"), 0, 64, "\\xED\\xA0\\x80"},
        {BYTES("0123456789"), 0, 11, "0123456789"},
        {BYTES("0123456789"), 0, 10, "012345..."},
        {BYTES("01234\n6789"), 0, 10, "01234..."},
        {BYTES("0123\xC3\xBC\xC3\xBC\xC3\xBC"), 0, 10, "0123\xC3\xBC..."},
        {BYTES("0123"), 0, 4, "..."},
        {BYTES("0123"), 0, 3, ".."},
        {BYTES("0123"), 0, 1, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[80];
        memset(out, '#', sizeof(out));
        size_t len = text_escape(out, rows[i].max_out, rows[i].in, rows[i].quote);
        assert_string_equal(out, rows[i].out);
        assert_int_equal(len, strlen(rows[i].out));
        assert_int_equal(out[rows[i].max_out], '#');
    }
    char line[32];
    text_escape_controls(line, sizeof(line), slice_text("\\n \"x\"\n"));
    assert_string_equal(line, "\\n \"x\"\\n");
}

struct utf8_row {
    struct slice in;
    const char *out; /* NULL: valid, comes out as it is */
};
#define BAD "\xEF\xBF\xBD"

static void test_utf8(void **state)
{
    (void)state;
    static const struct utf8_row rows[] = {
        {BYTES(""), NULL},
        {BYTES("ascii \x7f"), NULL},
        {BYTES("\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xEF\xBF\xBF \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF"),
            NULL},
        {BYTES("\x80"), BAD},
        {BYTES("a\xC0\xAF"), "a" BAD BAD},
        {BYTES("\xC2"), BAD},
        {BYTES("\xC2x"), BAD "x"},
        {BYTES("\xE0\x80\xAF"), BAD BAD BAD},
        {BYTES("\xED\xA0\x80"), BAD BAD BAD},
        {BYTES("\xF4\x90\x80\x80"), BAD BAD BAD BAD},
        {BYTES("\xF5\xFF"), BAD BAD},
        {BYTES("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"),
            BAD BAD BAD BAD "A"}, /* the standard's own example */
        {BYTES("\xF0\x9F\x98"), BAD},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf out;
        buf_init(&out, 100);
        assert_int_equal(text_is_utf8(rows[i].in), rows[i].out == NULL);
        assert_int_equal(text_to_utf8(&out, rows[i].in), 0);
        struct slice expected = rows[i].out != NULL ? slice_text(rows[i].out) : rows[i].in;
        assert_true(slice_equal(buf_slice(&out), expected));
        buf_clear(&out);
    }
}

static void test_utf8_too_big_changes_nothing(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 8);
    assert_int_equal(buf_put(&out, "ab", 2), 0);
    assert_int_equal(text_to_utf8(&out, slice_text("\xFF\xFF\xFF")), -ERR_TOOBIG);
    assert_int_equal(out.len, 2);
    assert_int_equal(text_to_utf8(&out, slice_text("\xFF"
                                                   "cdefg")),
        -ERR_TOOBIG);
    assert_int_equal(out.len, 2);
    buf_clear(&out);
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const candidates[] = {
        "socket", "socket_mode", "spool", "user", "level", NULL};
    static const struct {
        const char *word, *nearest;
    } rows[] = {{"sokcet", "socket"}, {"socket", "socket"}, {"levle", "level"}, {"spol", "spool"},
        {"usr", "user"}, {"socketmode", "socket_mode"}, {"banana", NULL}, {"x", NULL}, {"", NULL},
        {"su", NULL}, {"a23456789012345678901234567890123456789012345678901234567890123456", NULL}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *nearest = text_nearest(rows[i].word, candidates);
        if (rows[i].nearest == NULL)
            assert_null(nearest);
        else
            assert_string_equal(nearest, rows[i].nearest);
    }
}

static void test_small_ones(void **state)
{
    (void)state;
    char text[] = "ABC xyz \xC4Z";
    text_lower(text);
    assert_string_equal(text, "abc xyz \xC4z");
    assert_false(text_has_line_break_or_nul(slice_text("plain \t \x0b")));
    assert_true(text_has_line_break_or_nul(slice_text("a\n")));
    assert_true(text_has_line_break_or_nul(slice_text("\ra")));
    assert_true(text_has_line_break_or_nul(slice_of("a\0", 2)));
}

struct clean_row {
    const char *in;
    size_t in_bytes;
    struct text_bounds bounds;
    const char *out;
};

static void test_clean(void **state)
{
    static const struct clean_row rows[] = {
        {"", 0, {10, 10, 2}, ""},
        {"plain \xC3\xA4", 8, {10, 10, 2}, "plain \xC3\xA4"},
        {"a\0b\tc\x7F\x1B", 7, {20, 20, 2}, "a b c  "},
        {"a\rb\r\nc\r", 7, {20, 20, 2}, "a b\nc "},
        {"a\r\nb", 4, {20, 20, 1}, "a  b"},
        {"a\xC2\x85z", 4, {20, 20, 1}, "a z"},
        {"a\xC2\xA0z", 4, {20, 20, 1}, "a\xC2\xA0z"},
        {"a\xFFz\xC3", 4, {20, 20, 1}, "a\xEF\xBF\xBDz\xEF\xBF\xBD"},
        {"1\n2\n3\n4", 7, {20, 20, 3}, "1\n2\n3"},
        {"\n\n\n\n", 4, {20, 20, 3}, "\n\n"},
        {"12345\n67", 8, {20, 4, 3}, "1234\n67"},
        {"123\xC3\xA4"
         "5\n67",
            9, {20, 4, 3}, "123\n67"}, /* no half of a character, nothing after it */
        {"123\xC3\xA4", 5, {4, 20, 3}, "123"},
        {"1234567", 7, {4, 20, 3}, "1234"},
        {"12\n4", 4, {3, 20, 3}, "12\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[32];
        size_t n = text_clean(out, slice_of(rows[i].in, rows[i].in_bytes), &rows[i].bounds);
        out[n] = '\0';
        assert_string_equal(out, rows[i].out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_i64),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_ms),
        cmocka_unit_test(test_bool),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_too_big_changes_nothing),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_small_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
