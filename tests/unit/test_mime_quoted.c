/* Quoted-printable: every way gives what one character after the other gives, written or only
 * counted, in memory of exactly its length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/mime_quoted.h"

enum { TEXT_MAX = 1024, ROUNDS = 20000 };

struct result {
    uint8_t bytes[TEXT_MAX];
    size_t len;
    bool is_broken;
};

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *found = c != '\0' ? strchr(digits, c) : NULL;
    return found != NULL ? (int)((found - digits) % 16) : -1;
}

/* Characters of the soft line break behind a "=", or -1. The end of the content is one too. */
static int soft_break(const char *in, size_t n)
{
    size_t i = 0;
    while (i < n && (in[i] == ' ' || in[i] == '\t'))
        i++;
    while (i < n && in[i] == '\r')
        i++;
    if (i == n)
        return (int)n;
    return in[i] == '\n' ? (int)i + 1 : -1;
}

/* The definition. */
static void decode_slowly(const char *in, size_t n, struct result *out)
{
    *out = (struct result){0};
    for (size_t i = 0; i < n; i++) {
        if (in[i] != '=') {
            out->bytes[out->len++] = (uint8_t)in[i];
        } else if (i + 2 < n && hex_value(in[i + 1]) >= 0 && hex_value(in[i + 2]) >= 0) {
            out->bytes[out->len++] = (uint8_t)(hex_value(in[i + 1]) * 16 + hex_value(in[i + 2]));
            i += 2;
        } else if (soft_break(in + i + 1, n - i - 1) >= 0) {
            i += (size_t)soft_break(in + i + 1, n - i - 1);
        } else {
            out->bytes[out->len++] = '=';
            out->is_broken = true;
        }
    }
}

static void check(const char *in, size_t n)
{
    static struct result wanted;
    decode_slowly(in, n, &wanted);
    for (int way = MIME_QUOTED_PLAIN; way <= (int)mime_quoted_best(); way++) {
        char *exact = malloc(n > 0 ? n : 1);
        uint8_t *room = malloc(n > 0 ? n : 1);
        assert_true(exact != NULL && room != NULL);
        memcpy(exact, in, n);
        bool is_broken = false, is_broken_counted = false;
        size_t len = mime_quoted_run((enum mime_quoted_way)way, exact, n, room, &is_broken);
        assert_int_equal(len, wanted.len);
        assert_memory_equal(room, wanted.bytes, len);
        assert_int_equal(is_broken, wanted.is_broken);
        assert_int_equal(
            mime_quoted_run((enum mime_quoted_way)way, exact, n, NULL, &is_broken_counted), len);
        assert_int_equal(is_broken_counted, wanted.is_broken);
        free(exact);
        free(room);
    }
}

static void check_text(const char *text)
{
    check(text, strlen(text));
}

static void known_cases(void **state)
{
    (void)state;
    check("", 0);
    check("a\0=00b=", 7);
    static const char *const texts[] = {"=", "==", "=4", "=41", "=41=", "=\r", "=\n", "=\r\n",
        "= \t\r\nx", "= x", "=\r\r\nb", "=\r\rb", "=\rx", "=4g", "=g4", "=3D=3d", "a=\r\nb=\r\n",
        "0123456789abcdef", "0123456789abcde=", "0123456789abcdef=41", "=  ", "=\t=41", "======41"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_text(texts[i]);
}

/* Each pair of bytes behind a "=", at each place of a vector. */
static void every_code_is_read(void **state)
{
    (void)state;
    char text[24];
    for (unsigned pair = 0; pair < 65536; pair++) {
        size_t at = pair % 18;
        memset(text, 'x', sizeof(text));
        text[at] = '=';
        text[at + 1] = (char)(pair >> 8);
        text[at + 2] = (char)pair;
        check(text, sizeof(text));
        check(text, at + 2);
    }
}

static void anything_goes(void **state)
{
    static const char pieces[][5] = {
        "=", "=4", "=41", "=\r\n", "\r\n", " ", "\t", "\r", "\n", "=E", "F", "\xe4"};
    (void)state;
    char text[TEXT_MAX];
    uint32_t seed = 1;
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = next_random(&seed) % 200, rate = 1 + next_random(&seed) % 40;
        for (size_t i = 0; i < n; i++) {
            text[i] = (char)('a' + next_random(&seed) % 26);
            if (next_random(&seed) % rate != 0)
                continue;
            const char *piece = pieces[next_random(&seed) % (sizeof(pieces) / sizeof(pieces[0]))];
            for (; *piece != '\0' && i < n; piece++)
                text[i++] = *piece;
            i--;
        }
        check(text, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_cases),
        cmocka_unit_test(every_code_is_read),
        cmocka_unit_test(anything_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
