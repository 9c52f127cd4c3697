/* JSON log lines: whatever goes in, one whole object comes out, within its bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/log_json.h"
#include "common/text.h"

static char line[8192];

/* Ends the object, checks that it is one, and nothing but printable characters. */
static json_t *finish(struct log_json *json, size_t max)
{
    size_t len = log_json_end(json);
    json_error_t error;
    json_t *object;

    assert_true(len < max);
    assert_int_equal(strlen(line), len);
    assert_true(text_is_utf8(slice_of(line, len)));
    for (size_t i = 0; i < len; i++)
        assert_true((unsigned char)line[i] >= ' ' && line[i] != 0x7f);
    object = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL)
        fail_msg("%s: %s", error.text, line);
    assert_true(json_is_object(object));
    return object;
}

static void expect_text(struct slice text, const char *expected)
{
    struct log_json json;
    json_t *object;

    log_json_begin(&json, line, sizeof line);
    log_json_text(&json, "key", text, sizeof line);
    object = finish(&json, sizeof line);
    assert_string_equal(line, expected);
    json_decref(object);
}

static void test_escapes(void **state)
{
    (void)state;
    expect_text(slice_text("plain / text"), "{\"key\":\"plain / text\"}");
    expect_text(slice_text("\"\\\n\r\t"), "{\"key\":\"\\\"\\\\\\n\\r\\t\"}");
    expect_text(slice_of("\0\x1b\x7f", 3), "{\"key\":\"\xEF\xBF\xBD\\u001b\\u007f\"}");
    expect_text(slice_text("\xC3\xBC \xE2\x82\xAC \xF0\x9F\x93\xAE"),
        "{\"key\":\"\xC3\xBC \xE2\x82\xAC \xF0\x9F\x93\xAE\"}");
    expect_text(slice_text("\xC2\x9B"), "{\"key\":\"\\u009b\"}"); /* a terminal's CSI */
    expect_text(
        slice_text("a\xFFz\xE2\x82"), "{\"key\":\"a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\"}");
    expect_text(slice_text("\xED\xA0\x80"), /* half of a surrogate pair */
        "{\"key\":\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"}");
    expect_text(slice_text("\xC0\xAF"), "{\"key\":\"\xEF\xBF\xBD\xEF\xBF\xBD\"}");
    expect_text(slice_text(""), "{\"key\":\"\"}");
}

static void test_members(void **state)
{
    struct log_json json;

    (void)state;
    log_json_begin(&json, line, sizeof line);
    log_json_text(&json, "a", slice_text("x"), 100);
    log_json_number(&json, "b", UINT64_C(1234567890123));
    log_json_text(&json, "no key", slice_text("x"), 100);
    log_json_number(&json, "\"", 1);
    log_json_number(&json, "", 1);
    log_json_number(&json, "x-c.d_E", 0);
    json_decref(finish(&json, sizeof line));
    assert_string_equal(line, "{\"a\":\"x\",\"b\":1234567890123,\"x-c.d_E\":0}");
    log_json_begin(&json, line, sizeof line);
    json_decref(finish(&json, sizeof line));
    assert_string_equal(line, "{}");
}

static void test_cut(void **state)
{
    struct log_json json;

    (void)state;
    log_json_begin(&json, line, sizeof line);
    log_json_text(&json, "a", slice_text("0123456789"), 10);
    log_json_text(&json, "b", slice_text("0123456789x"), 10);
    log_json_text(&json, "c", slice_text("01234\xC3\xBC\xC3\xBC\xC3\xBC"), 10);
    json_decref(finish(&json, sizeof line));
    assert_string_equal(line,
        "{\"a\":\"0123456789\",\"b\":\"0123456...\",\"c\":\"01234\xC3\xBC...\",\"cut\":true}");
}

/* Random bytes with a liking for what is special. */
static size_t make_bytes(unsigned *seed, char *out, size_t max)
{
    static const char special[] =
        "\"\\\0\n\x1b\x7f\xC2\x9B\xE2\x82\xAC\xF0\x9F\xED\xA0\xFF/u{}[],:";
    size_t len = (size_t)rand_r(seed) % (max + 1);

    for (size_t i = 0; i < len; i++)
        out[i] = rand_r(seed) % 2 == 0 ? special[(size_t)rand_r(seed) % (sizeof special - 1)]
                                       : (char)rand_r(seed);
    return len;
}

static void test_hostile_values(void **state)
{
    unsigned seed = 20261122;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        size_t max = LOG_JSON_LEAST + (size_t)rand_r(&seed) % 400;
        struct log_json json;
        char bytes[300], key[16];
        json_t *object;

        log_json_begin(&json, line, max);
        for (int i = rand_r(&seed) % 8; i > 0; i--) {
            size_t len = make_bytes(&seed, bytes, sizeof bytes);

            snprintf(key, sizeof key, "k%d", i);
            if (rand_r(&seed) % 4 == 0)
                log_json_number(&json, key, (uint64_t)rand_r(&seed) << 31);
            else
                log_json_text(&json, key, slice_of(bytes, len), (size_t)rand_r(&seed) % 300);
        }
        object = finish(&json, max);
        assert_int_equal(json_is_true(json_object_get(object, "cut")), json.is_cut);
        json_decref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_hostile_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
