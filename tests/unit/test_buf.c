/* struct buf, slices and arenas: caps, cursors, big-endian numbers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/xalloc.h"

static void test_numbers_are_big_endian(void **state)
{
    (void)state;
    static const uint8_t expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct buf buf;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    buf_init(&buf, 15);
    assert_int_equal(buf_put_u8(&buf, 0x01), 0);
    assert_int_equal(buf_put_u16(&buf, 0x0203), 0);
    assert_int_equal(buf_put_u32(&buf, 0x04050607), 0);
    assert_int_equal(buf_put_u64(&buf, 0x08090A0B0C0D0E0FULL), 0);
    assert_int_equal(buf.len, sizeof(expected));
    assert_memory_equal(buf.data, expected, sizeof(expected));
    assert_int_equal(buf_get_u8(&buf, &u8), 0);
    assert_int_equal(buf_get_u16(&buf, &u16), 0);
    assert_int_equal(buf_get_u32(&buf, &u32), 0);
    assert_int_equal(buf_get_u64(&buf, &u64), 0);
    assert_int_equal(u8, 0x01);
    assert_int_equal(u16, 0x0203);
    assert_int_equal(u32, 0x04050607);
    assert_true(u64 == 0x08090A0B0C0D0E0FULL);
    assert_int_equal(buf_left(&buf), 0);
    assert_int_equal(buf_get_u8(&buf, &u8), -ERR_SHORT);
    buf_clear(&buf);
}

static void test_cap_is_kept_and_failures_change_nothing(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 10);
    assert_int_equal(buf_put(&buf, "12345678", 8), 0);
    assert_int_equal(buf_put_u32(&buf, 1), -ERR_TOOBIG);
    assert_int_equal(buf_put_bytes(&buf, slice_text("")), -ERR_TOOBIG);
    assert_int_equal(buf_printf(&buf, "%s", "abc"), -ERR_TOOBIG);
    assert_int_equal(buf_put(&buf, "x", SIZE_MAX), -ERR_TOOBIG);
    assert_int_equal(buf.len, 8);
    assert_int_equal(buf_printf(&buf, "%d", 42), 0); /* fills the last byte: no room for a NUL */
    assert_memory_equal(buf.data, "1234567842", 10);
    assert_true(buf.cap <= 10);
    buf_clear(&buf);
    assert_int_equal(buf_put(&buf, "0123456789", 10), 0); /* the cap lives on */
    assert_int_equal(buf_put_u8(&buf, 0), -ERR_TOOBIG);
    buf_clear(&buf);
}

static void test_growth(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1 << 20);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buf_printf(&buf, "%d,", i % 10), 0);
    assert_int_equal(buf.len, 200000);
    assert_memory_equal(buf.data + 199990, "5,6,7,8,9,", 10);
    buf_reset(&buf);
    assert_int_equal(buf.len, 0);
    assert_true(buf.cap >= 200000);
    buf_clear(&buf);
}

static void test_bytes_and_cursor(void **state)
{
    (void)state;
    static const uint8_t lying[] = {0, 0, 0, 9, 'a', 'b'};
    struct buf buf, view;
    struct slice got;
    buf_init(&buf, 100);
    assert_int_equal(buf_put_bytes(&buf, slice_text("hello")), 0);
    assert_int_equal(buf_put_bytes(&buf, slice_of(NULL, 0)), 0);
    assert_int_equal(buf_get_bytes(&buf, 4, &got), -ERR_TOOBIG);
    assert_int_equal(buf.pos, 0);
    assert_int_equal(buf_get_bytes(&buf, 5, &got), 0);
    assert_true(slice_equal(got, slice_text("hello")));
    assert_int_equal(buf_get_bytes(&buf, 5, &got), 0);
    assert_int_equal(got.len, 0);
    buf_clear(&buf);

    buf_view(&view, lying, sizeof(lying));
    assert_int_equal(buf_get_bytes(&view, 100, &got), -ERR_SHORT);
    assert_int_equal(view.pos, 0);
    assert_int_equal(buf_put_u8(&view, 1), -ERR_TOOBIG);
    assert_int_equal(buf_get(&view, 7, &got), -ERR_SHORT);
    assert_int_equal(buf_get(&view, 6, &got), 0);
    assert_int_equal(got.len, 6);
    buf_clear(&view);
    buf_view(&view, NULL, 0);
    assert_int_equal(buf_get(&view, 0, &got), 0);
    assert_int_equal(buf_get_u8(&view, &(uint8_t){0}), -ERR_SHORT);
}

static void test_slices(void **state)
{
    (void)state;
    assert_true(slice_equal(slice_text(NULL), slice_text("")));
    assert_false(slice_equal(slice_text("a"), slice_text("A")));
    assert_true(slice_equal_nocase(slice_text("aZ9@"), slice_text("Az9@")));
    assert_false(
        slice_equal_nocase(slice_text("@"), slice_text("`"))); /* differ in bit 5, are no letters */
    assert_false(slice_equal_nocase(slice_text("\xC4"), slice_text("\xE4")));
    assert_true(slice_equal(slice_of("a\0b", 3), slice_of("a\0b", 3)));
    assert_false(slice_equal(slice_of("a\0b", 3), slice_of("a\0c", 3)));
}

static void test_arena(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 2047, 2048, 5000, 8192, 8193, 100000};
    enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]), ROUNDS = 50 };
    struct arena *arena = arena_new();
    unsigned char *blocks[ROUNDS][N_SIZES];
    for (int pass = 0; pass < 2; pass++) {
        for (int r = 0; r < ROUNDS; r++)
            for (size_t i = 0; i < N_SIZES; i++) {
                blocks[r][i] = arena_alloc(arena, sizes[i]);
                assert_int_equal((uintptr_t)blocks[r][i] % _Alignof(max_align_t), 0);
                memset(blocks[r][i], r + (int)i, sizes[i]);
            }
        for (int r = 0; r < ROUNDS; r++)
            for (size_t i = 0; i < N_SIZES; i++)
                for (size_t k = 0; k < sizes[i]; k += 7)
                    assert_int_equal(blocks[r][i][k], (unsigned char)(r + (int)i));
        const char *zeroed = arena_calloc(arena, 100, 3);
        for (int k = 0; k < 300; k++)
            assert_int_equal(zeroed[k], 0);
        assert_string_equal(arena_printf(arena, "%s-%05d", "x", 42), "x-00042");
        assert_memory_equal(arena_memdup0(arena, "a\0b", 3), "a\0b", 4);
        assert_string_equal(arena_memdup0(arena, NULL, 0), "");
        arena_reset(arena);
    }
    arena_free(arena);
    arena_free(NULL);
}

static void test_xalloc(void **state)
{
    (void)state;
    char *copy = xmemdup0("a\0b", 3);
    assert_memory_equal(copy, "a\0b", 4);
    copy = xreallocarray(copy, 0, 8);
    free(copy);
    copy = xasprintf("%d %s", 7, "x");
    assert_string_equal(copy, "7 x");
    free(copy);
    free(xmalloc(0));
    free(xcalloc(0, 10));
}

static void test_error_texts(void **state)
{
    (void)state;
    for (int err = ERR_NONE; err < ERR_COUNT; err++) {
        assert_non_null(err_text(err));
        if (err != ERR_SYSTEM)
            assert_string_equal(err_text(err), err_text(-err));
    }
    errno = ENOENT;
    assert_string_equal(err_text(-ERR_SYSTEM), "No such file or directory");
    errno = 99999;
    assert_string_equal(err_text(-ERR_SYSTEM), "unknown system error");
    assert_string_equal(err_text(1000), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_big_endian),
        cmocka_unit_test(test_cap_is_kept_and_failures_change_nothing),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_bytes_and_cursor),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_xalloc),
        cmocka_unit_test(test_error_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
