/* Base64 decoding: every way gives the bytes and the defect that one character after the other
 * gives, for content cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/mime_base64.h"

enum { TEXT_MAX = 4096, ROUNDS = 4000 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct result {
    uint8_t bytes[TEXT_MAX + 8];
    size_t len;
    bool is_broken;
};

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* The definition: one character after the other. */
static void decode_slowly(const char *in, size_t n, struct result *out)
{
    uint32_t bits = 0;
    unsigned held = 0;
    bool is_padded = false;
    *out = (struct result){0};
    for (size_t i = 0; i <= n; i++) {
        const char *digit = i < n && in[i] != '\0' ? strchr(digits, in[i]) : NULL;
        if (i == n || in[i] == '=') {
            for (unsigned bit = 8; bit <= held * 6; bit += 8)
                out->bytes[out->len++] = (uint8_t)(bits >> (held * 6 - bit));
            is_padded = true;
            held = 0;
        } else if (digit != NULL) {
            out->is_broken = out->is_broken || is_padded;
            is_padded = false;
            bits = bits << 6 | (uint32_t)(digit - digits);
            if (++held == 4) {
                for (int shift = 16; shift >= 0; shift -= 8)
                    out->bytes[out->len++] = (uint8_t)(bits >> shift);
                held = 0;
            }
        } else if (strchr(" \t\r\n", in[i]) == NULL || in[i] == '\0') {
            out->is_broken = true;
        }
    }
}

/* In pieces of a size, each in memory of exactly its length, so that a sanitizer sees what is read
 * or written beyond. */
static void decode_in_pieces(
    enum mime_base64_way way, const char *in, size_t n, size_t piece, struct result *out)
{
    struct mime_base64 decoder;
    mime_base64_init(&decoder, way);
    out->len = 0;
    for (size_t pos = 0; pos < n;) {
        size_t len = n - pos < piece ? n - pos : piece;
        char *exact = malloc(len);
        uint8_t *room = malloc(len + 3);
        assert_true(exact != NULL && room != NULL);
        memcpy(exact, in + pos, len);
        size_t written = mime_base64_step(&decoder, exact, len, room);
        assert_true(written <= len + 3);
        memcpy(out->bytes + out->len, room, written);
        out->len += written;
        pos += len;
        free(exact);
        free(room);
    }
    out->len += mime_base64_end(&decoder, out->bytes + out->len);
    out->is_broken = decoder.is_broken;
}

/* The same without writing: as many bytes, and as broken. */
static void measure_in_pieces(
    enum mime_base64_way way, const char *in, size_t n, size_t piece, struct result *out)
{
    struct mime_base64 decoder;
    mime_base64_init(&decoder, way);
    out->len = 0;
    for (size_t pos = 0; pos < n; pos += piece)
        out->len += mime_base64_step(&decoder, in + pos, n - pos < piece ? n - pos : piece, NULL);
    out->len += mime_base64_end(&decoder, NULL);
    out->is_broken = decoder.is_broken;
}

static void check(const char *in, size_t n)
{
    static const size_t pieces[] = {TEXT_MAX, 1, 7, 76, 78, 333};
    static struct result wanted, got;
    decode_slowly(in, n, &wanted);
    for (int way = MIME_BASE64_PLAIN; way <= (int)mime_base64_best(); way++) {
        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            decode_in_pieces((enum mime_base64_way)way, in, n, pieces[i], &got);
            assert_int_equal(got.len, wanted.len);
            assert_memory_equal(got.bytes, wanted.bytes, wanted.len);
            assert_int_equal(got.is_broken, wanted.is_broken);
            measure_in_pieces((enum mime_base64_way)way, in, n, pieces[i], &got);
            assert_int_equal(got.len, wanted.len);
            assert_int_equal(got.is_broken, wanted.is_broken);
        }
    }
}

/* Lines of a length with an ending, as mail programs write them. */
static size_t fill_lines(char *text, size_t n, size_t line, const char *end, uint32_t *seed)
{
    size_t len = 0;
    for (size_t column = 0; len + 2 < n; len++) {
        if (column++ == line) {
            memcpy(text + len, end, strlen(end));
            len += strlen(end) - 1;
            column = 0;
        } else {
            text[len] = digits[next_random(seed) % 64];
        }
    }
    return len;
}

static void lines_are_decoded(void **state)
{
    static const size_t lines[] = {
        76, 64, 72, 60, 68, 80, 84, 88, 92, 96, 75, 77, 32, 16, 4, 3, 1, 998, TEXT_MAX};
    static const char *const ends[] = {"\r\n", "\n", "\r", " \r\n"};
    (void)state;
    char text[TEXT_MAX];
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        for (size_t end = 0; end < 4; end++) {
            for (size_t n = 8; n <= TEXT_MAX; n = n * 5 / 3 + 1)
                check(text, fill_lines(text, n, lines[i], ends[end], &seed));
        }
    }
}

/* Each byte value at each place of a round, amid digits. */
static void every_byte_is_seen(void **state)
{
    (void)state;
    char text[104];
    uint32_t seed = 2;
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < 36; at++) {
            for (size_t i = 0; i < sizeof(text); i++)
                text[i] = digits[next_random(&seed) % 64];
            text[at] = (char)c;
            check(text, sizeof(text));
        }
    }
}

/* Lines of one length until one character differs: what was learned must not outlive it. */
static void a_line_differs(void **state)
{
    static const char odd[] = "=\r\n -\0A";
    (void)state;
    char text[400], changed[400];
    uint32_t seed = 4;
    for (size_t line = 64; line <= 92; line += 4) {
        size_t n = fill_lines(text, sizeof(text), line, "\r\n", &seed);
        for (size_t at = 0; at < n; at++) {
            memcpy(changed, text, n);
            changed[at] = odd[at % (sizeof(odd) - 1)];
            check(changed, n);
        }
    }
}

static void anything_goes(void **state)
{
    static const char odd[] = "\r\n= \t=\r\n-!~\x80\xff\0/+";
    (void)state;
    char text[TEXT_MAX];
    uint32_t seed = 3;
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = next_random(&seed) % 400;
        uint32_t rate = 1 + next_random(&seed) % 60;
        for (size_t i = 0; i < n; i++) {
            uint32_t pick = next_random(&seed);
            text[i] =
                pick % rate == 0 ? odd[pick / rate % (sizeof(odd) - 1)] : digits[pick / rate % 64];
        }
        check(text, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_decoded),
        cmocka_unit_test(every_byte_is_seen),
        cmocka_unit_test(a_line_differs),
        cmocka_unit_test(anything_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
