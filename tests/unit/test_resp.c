/* The protocol of Redis: what is written, what is read, whole and byte by byte, and what is
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "worker/resp.h"

static void test_writing(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 60);
    assert_int_equal(resp_put_head(&out, 3), 0);
    assert_int_equal(resp_put_text(&out, "SET"), 0);
    assert_int_equal(resp_put_word(&out, slice_of("a\r\n\0b", 5)), 0);
    assert_int_equal(resp_put_number(&out, INT64_MIN), 0);
    static const char wanted[] =
        "*3\r\n$3\r\nSET\r\n$5\r\na\r\n\0b\r\n$20\r\n-9223372036854775808\r\n";
    assert_int_equal(out.len, sizeof wanted - 1);
    assert_memory_equal(out.data, wanted, out.len);
    assert_int_equal(
        resp_put_word(&out, slice_text("more than fits into the rest of a buffer")), -ERR_TOOBIG);
    buf_clear(&out);
}

static void test_reading(void **state)
{
    static const char text[] = "+OK\r\n-ERR no\r\n:-42\r\n$0\r\n\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n"
                               "*2\r\n*1\r\n:1\r\n+x\r\n*0\r\n";
    struct slice in = slice_text(text);
    static const struct {
        enum resp_type type;
        int64_t integer;
        const char *bytes;
    } wanted[] = {{RESP_STATUS, 0, "OK"}, {RESP_ERROR, 0, "ERR no"}, {RESP_INTEGER, -42, ""},
        {RESP_BULK, 0, ""}, {RESP_BULK, 0, "a\r\n"}, {RESP_NIL, 0, ""}, {RESP_NIL, -1, ""},
        {RESP_ARRAY, 2, ""}, {RESP_ARRAY, 1, ""}, {RESP_INTEGER, 1, ""}, {RESP_STATUS, 0, "x"},
        {RESP_ARRAY, 0, ""}};
    struct resp_item item;
    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (i == 7) { /* an array is passed over with all in it */
            struct slice rest = in;
            resp_skip(&rest);
            assert_int_equal(rest.len, 4);
        }
        assert_int_equal(resp_take(&in, 100, &item), 0);
        assert_int_equal(item.type, wanted[i].type);
        if (item.type != RESP_NIL)
            assert_int_equal(item.integer, wanted[i].integer);
        assert_true(slice_equal(item.bytes, slice_text(wanted[i].bytes)));
    }
    assert_int_equal(in.len, 0);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        int err;
    } rows[] = {{"", -ERR_AGAIN}, {"+OK", -ERR_AGAIN}, {"+OK\r", -ERR_AGAIN}, {"+OK\n", -ERR_BAD},
        {"\r\n", -ERR_BAD}, {"\n", -ERR_BAD}, {"OK\r\n", -ERR_BAD}, {":\r\n", -ERR_BAD},
        {":x\r\n", -ERR_BAD}, {":99999999999999999999\r\n", -ERR_BAD},
        {":1111111111111111111111111111\r\n", -ERR_BAD}, {"$-2\r\n", -ERR_BAD},
        {"$x\r\n", -ERR_BAD}, {"$101\r\n", -ERR_TOOBIG}, {"$9223372036854775807\r\n", -ERR_TOOBIG},
        {"$1\r\nab\r\n", -ERR_BAD}, {"$3\r\nab", -ERR_AGAIN}, {"$2\r\nab\r", -ERR_AGAIN},
        {"*-2\r\n", -ERR_BAD}, {"*1000001\r\n", -ERR_TOOBIG}, {"%1\r\n", -ERR_BAD},
        {"_\r\n", -ERR_BAD}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice in = slice_text(rows[i].text);
        struct resp_item item;
        if (resp_take(&in, 100, &item) != rows[i].err)
            fail_msg("row %zu: %s", i, rows[i].text);
        assert_int_equal(in.len, strlen(rows[i].text)); /* nothing was taken */
    }
    char *line = malloc(RESP_LINE_MAX + 1);
    assert_non_null(line);
    memset(line, '+', RESP_LINE_MAX + 1);
    struct slice in = slice_of(line, RESP_LINE_MAX + 1);
    struct resp_item item;
    assert_int_equal(resp_take(&in, SIZE_MAX, &item), -ERR_TOOBIG);
    free(line);
}

static int scan(const char *text, size_t n_replies, size_t max_bytes, size_t *at_out)
{
    struct resp_scan scan;
    int err = -ERR_AGAIN;
    resp_scan_init(&scan, n_replies);
    for (size_t n = 0; n <= strlen(text) && err == -ERR_AGAIN; n++) { /* one byte more each time */
        char *copy = malloc(n + 1);
        assert_non_null(copy);
        memcpy(copy, text, n);
        err = resp_scan(&scan, slice_of(copy, n), max_bytes);
        free(copy);
    }
    *at_out = scan.at;
    return err;
}

static void test_scan(void **state)
{
    static const struct {
        const char *text;
        size_t n_replies, at;
        int err;
    } rows[] = {{"", 0, 0, 0}, {"+OK\r\n", 1, 5, 0}, {"+OK\r\n:1\r\n", 2, 9, 0},
        {"+OK\r\n:1\r\n", 1, 5, 0}, {"+OK\r\n", 2, 5, -ERR_AGAIN},
        {"*2\r\n*2\r\n:1\r\n$2\r\nab\r\n*0\r\n+x\r\n", 1, 24, 0},
        {"*2\r\n*2\r\n:1\r\n$2\r\nab\r\n*0\r\n+x\r\n", 2, 28, 0},
        {"*-1\r\n*0\r\n$-1\r\n", 3, 14, 0}, {"*2\r\n:1\r\n", 1, 8, -ERR_AGAIN},
        {"*2\r\n?\r\n", 1, 4, -ERR_BAD},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 1, 36, 0},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 1, 36, -ERR_TOOBIG},
        {"$40\r\n", 1, 0, -ERR_AGAIN}, {"$41\r\n", 1, 0, -ERR_TOOBIG},
        {"+aaaaaaaaaaaaaaaaaa\r\n+bbbbbbbbbbbbbbbbbb\r\n", 2, 42, -ERR_TOOBIG}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t at;
        int err = scan(rows[i].text, rows[i].n_replies, 40, &at);
        if (err != rows[i].err || at != rows[i].at)
            fail_msg("row %zu: %s at %zu", i, err_text(err), at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
