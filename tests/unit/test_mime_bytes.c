/* The pass over all bytes: every way counts and finds what one byte after the other does, in memory
 * of exactly its length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/mime_bytes.h"

enum { TEXT_MAX = 40000, ROUNDS = 6000 };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static bool is_dashes(const char *data, size_t n, size_t i)
{
    return i + 1 < n && data[i] == '-' && data[i + 1] == '-' &&
           (i == 0 || data[i - 1] == '\n' || data[i - 1] == ' ' || data[i - 1] == '\t');
}

static void check_scan(enum mime_bytes_way way, const char *data, size_t n, size_t max_dashes)
{
    struct mime_bytes wanted = {.dashes_until = n};
    struct mime_bytes got = {.dashes = malloc((max_dashes + 1) * sizeof(size_t)),
        .max_dashes = max_dashes,
        .n_dashes = 7,
        .cr = 7};
    assert_non_null(got.dashes);
    mime_bytes_scan(way, data, n, &got);
    for (size_t i = 0; i < n; i++) {
        wanted.cr += data[i] == '\r';
        wanted.lf += data[i] == '\n';
        wanted.pairs += data[i] == '\n' && i > 0 && data[i - 1] == '\r';
        wanted.nul += data[i] == '\0';
        if (!is_dashes(data, n, i))
            continue;
        if (wanted.n_dashes < max_dashes)
            assert_int_equal(got.dashes[wanted.n_dashes++], i);
        else if (wanted.dashes_until == n)
            wanted.dashes_until = i;
    }
    assert_int_equal(got.cr, wanted.cr);
    assert_int_equal(got.lf, wanted.lf);
    assert_int_equal(got.pairs, wanted.pairs);
    assert_int_equal(got.nul, wanted.nul);
    assert_int_equal(got.n_dashes, wanted.n_dashes);
    assert_int_equal(got.dashes_until, wanted.dashes_until);
    free(got.dashes);
}

static size_t find_slowly(const char *data, size_t n, size_t from)
{
    for (size_t i = from; i < n; i++) {
        if (is_dashes(data, n, i))
            return i;
    }
    return n;
}

/* All places one after the other, and each place from shortly before it. */
static void check_dashes(enum mime_bytes_way way, const char *data, size_t n)
{
    for (size_t from = 0; from < n;) {
        size_t wanted = find_slowly(data, n, from);
        assert_int_equal(mime_bytes_find_dashes(way, data, n, from), wanted);
        for (size_t back = 1; back < 4 && wanted < n && wanted >= from + back; back++)
            assert_int_equal(mime_bytes_find_dashes(way, data, n, wanted - back), wanted);
        from = wanted + 1;
    }
    assert_int_equal(mime_bytes_find_dashes(way, data, n, n), n);
}

static void check_longest(const char *data, size_t n, size_t enough)
{
    size_t longest = 0, start = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && data[i] != '\n')
            continue;
        size_t line = i - start;
        while (line > 0 && data[start + line - 1] == '\r')
            line--;
        longest = line > longest ? line : longest;
        start = i + 1;
    }
    size_t got = mime_bytes_longest_line(data, n, enough);
    if (longest > enough)
        assert_int_equal(got, longest);
    else
        assert_true(got <= enough);
}

static void check(const char *text, size_t n)
{
    char *exact = malloc(n > 0 ? n : 1);
    assert_non_null(exact);
    memcpy(exact, text, n);
    for (int way = MIME_BYTES_PLAIN; way <= (int)mime_bytes_best(); way++) {
        check_scan((enum mime_bytes_way)way, exact, n, 0);
        check_scan((enum mime_bytes_way)way, exact, n, 3);
        check_scan((enum mime_bytes_way)way, exact, n, n);
        check_dashes((enum mime_bytes_way)way, exact, n);
    }
    for (size_t enough = 0; enough < 20; enough += 3)
        check_longest(exact, n, enough);
    check_longest(exact, n, 998);
    free(exact);
}

static void short_texts(void **state)
{
    static const char *const texts[] = {"", "-", "--", "\n", "\r", "\r\n", "\n-", "\n--", "-\n--",
        "--\n--", "\n\n--", "\r--", "---", "\n- -", " --", "\t--", "- --", "\n --", "x\n-\n--"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check(texts[i], strlen(texts[i]));
    check("\0\r\0\n--\0", 7);
}

/* Dashes and "\r\n" at each place of a vector, at each length behind it. */
static void every_place(void **state)
{
    (void)state;
    char text[140];
    for (size_t at = 0; at < 80; at++) {
        for (size_t n = at + 3; n <= at + 40; n++) {
            memset(text, 'x', sizeof(text));
            memcpy(text + at, (at % 3 == 0 ? "\n--" : at % 3 == 1 ? " --" : "\t--"), 3);
            check(text, n);
            memcpy(text + at, "\r\n-", 3);
            check(text, n);
        }
    }
}

/* Counters of one byte must not run over. */
static void long_runs(void **state)
{
    static const char bytes[] = "\r\n\0-x";
    static char text[TEXT_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
        memset(text, bytes[i], sizeof(text));
        check(text, sizeof(text) - i);
    }
    for (size_t i = 0; i + 1 < sizeof(text); i += 2)
        memcpy(text + i, "\r\n", 2);
    check(text, sizeof(text));
}

static void anything_goes(void **state)
{
    static const char odd[] = "\r\n\n\r\n----- \t\0";
    (void)state;
    char text[512];
    uint32_t seed = 7;
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = next_random(&seed) % sizeof(text);
        uint32_t rate = 1 + next_random(&seed) % 30;
        for (size_t i = 0; i < n; i++) {
            uint32_t pick = next_random(&seed);
            text[i] = pick % rate == 0 ? odd[pick / rate % sizeof(odd)] : 'x';
        }
        check(text, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_texts),
        cmocka_unit_test(every_place),
        cmocka_unit_test(long_runs),
        cmocka_unit_test(anything_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
