/* The field of our edge: read back, and every byte of it changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "worker/origin_mark.h"

enum { NOW = 1800000000 };

static uint8_t key[KEYED_HASH_BYTES];

static struct slice make(struct arena *arena, const char *helo, const char *id)
{
    const struct origin_mark mark = {
        .ip = "192.0.2.1", .helo = slice_text(helo), .hostname = slice_text("mx.example.org")};
    origin_mark_key(slice_text("a key of some bytes"), key);
    return origin_mark_make(&mark, slice_text(id), key, NOW, arena);
}

static void test_read_back(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct origin_mark out;
    const struct slice value = make(arena, "a; h=\r\n\x01", " <1@example.org>");
    assert_true(origin_mark_read(value, slice_text("<1@example.org>\r\n"), key, NOW, arena, &out));
    assert_string_equal(out.ip, "192.0.2.1");
    assert_true(slice_equal(out.helo, slice_text("a; h=\r\n\x01")));
    assert_true(slice_equal(out.hostname, slice_text("mx.example.org")));
    assert_null(memchr(value.data, '\r', value.len));
    arena_free(arena);
}

static void test_time(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct origin_mark out;
    static const struct {
        int64_t now;
        bool is_good;
    } rows[] = {{NOW, true}, {NOW + ORIGIN_MARK_PAST_SECS, true},
        {NOW + ORIGIN_MARK_PAST_SECS + 1, false}, {NOW - ORIGIN_MARK_FUTURE_SECS, true},
        {NOW - ORIGIN_MARK_FUTURE_SECS - 1, false}};
    const struct slice value = make(arena, "x", "<1>"), id = slice_text("<1>");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(
            origin_mark_read(value, id, key, rows[i].now, arena, &out), rows[i].is_good);
    arena_free(arena);
}

static void test_forged(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct origin_mark out;
    const struct slice value = make(arena, "x", "<1>"), id = slice_text("<1>");
    char *copy = arena_memdup0(arena, value.data, value.len);
    for (size_t i = 0; i < value.len; i++) {
        if (copy[i] == ' ')
            continue; /* folding */
        copy[i] ^= 1;
        assert_false(origin_mark_read(slice_of(copy, value.len), id, key, NOW, arena, &out));
        copy[i] ^= 1;
        assert_false(origin_mark_read(slice_of(copy, i), id, key, NOW, arena, &out));
    }
    assert_true(origin_mark_read(slice_of(copy, value.len), id, key, NOW, arena, &out));
    assert_false(origin_mark_read(value, slice_text("<2>"), key, NOW, arena, &out));
    assert_false(origin_mark_read(value, slice_of(NULL, 0), key, NOW, arena, &out));
    key[0] ^= 1;
    assert_false(origin_mark_read(value, id, key, NOW, arena, &out));
    arena_free(arena);
}

static void test_long_names_are_cut(void **state)
{
    (void)state;
    static char name[5000];
    struct arena *arena = arena_new();
    struct origin_mark out;
    memset(name, 'x', sizeof(name) - 1);
    const struct slice value = make(arena, name, "");
    assert_true(origin_mark_read(value, slice_of(NULL, 0), key, NOW, arena, &out));
    assert_int_equal(out.helo.len, ORIGIN_MARK_NAME_MAX);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_long_names_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
