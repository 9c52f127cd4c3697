/* How a message becomes bytes on the wire, whatever the pieces it comes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "worker/smtp_text.h"

static const struct {
    const char *text, *wire;
} cases[] = {
    {"", ".\r\n"},
    {"a", "a\r\n.\r\n"},
    {"a\r\n", "a\r\n.\r\n"},
    {"a\nb\n", "a\r\nb\r\n.\r\n"},
    {"a\rb\r", "a\r\nb\r\n.\r\n"},
    {".", "..\r\n.\r\n"},
    {".\r\n..\r\n", "..\r\n...\r\n.\r\n"},
    {"a.\r\n.b\n.c\r.d", "a.\r\n..b\r\n..c\r\n..d\r\n.\r\n"},
    {"\r\n\r\n", "\r\n\r\n.\r\n"},
    {"\n\r\n\r", "\r\n\r\n\r\n.\r\n"},
    {"a\r\n.\r\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n"},
    {"a\n.\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n"},
    {"a\r.\rMAIL", "a\r\n..\r\nMAIL\r\n.\r\n"},
    {"a\r\r\n.", "a\r\n\r\n..\r\n.\r\n"},
};

static void check(const char *text, size_t max, const char *wire)
{
    char out[200];
    const struct slice in = slice_text(text);
    size_t at = 0, n = 0;
    while (at < in.len) {
        const size_t before = at;
        const size_t got = smtp_text_put(in, &at, out + n, max);
        assert_true(got <= max);
        assert_true(at > before);
        n += got;
    }
    strcpy(out + n, smtp_text_end(in));
    assert_string_equal(out, wire);
}

static void test_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t max = SMTP_TEXT_PIECE_MIN; max < 20; max++)
            check(cases[i].text, max, cases[i].wire);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
