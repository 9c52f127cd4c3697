/* The header scan: fields with every line end, continuations, and what is odd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/header.h"

enum { NUL = 1, BARE_CR = 2, BARE_LF = 4, BAD_LINE = 8, EIGHT_BIT = 16 };

#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

static unsigned flags_of(const struct header_list *list)
{
    return (list->has_nul ? NUL : 0) | (list->has_bare_cr ? BARE_CR : 0) |
           (list->has_bare_lf ? BARE_LF : 0) | (list->has_bad_line ? BAD_LINE : 0) |
           (list->has_8bit ? EIGHT_BIT : 0);
}

static void test_scan(void **state)
{
    /* fields: "name=value|name=value", bytes as they are. */
    static const struct {
        struct slice block, fields;
        unsigned flags;
    } rows[] = {
        {TEXT(""), TEXT(""), 0},
        {TEXT("A: b\r\n"), TEXT("A= b|"), 0},
        {TEXT("A: b"), TEXT("A= b|"), 0},
        {TEXT("A:b\r\nB:\r\n"), TEXT("A=b|B=|"), 0},
        {TEXT("A: b\r\n c\r\n\td\r\nE: f\r\n"), TEXT("A= b\r\n c\r\n\td|E= f|"), 0},
        {TEXT("A: b\nC: d\n"), TEXT("A= b|C= d|"), BARE_LF},
        {TEXT("A: b\rC: d\r"), TEXT("A= b|C= d|"), BARE_CR},
        {TEXT("A: b\r\rC: d"), TEXT("A= b\r|C= d|"), BARE_CR | BAD_LINE},
        {TEXT("A : b\r\n"), TEXT("A= b|"), 0},
        {TEXT("A\t : b\r\n"), TEXT("A= b|"), 0},
        {TEXT("no colon\r\nA: b\r\n"), TEXT("=no colon|A= b|"), BAD_LINE},
        {TEXT(" blank first\r\nA: b\r\n"), TEXT("= blank first|A= b|"), BAD_LINE},
        {TEXT("A: b\r\nno colon\r\nC: d\r\n"), TEXT("A= b\r\nno colon|C= d|"), BAD_LINE},
        {TEXT("A: b\r\nbad name: c\r\nC: d\r\n"), TEXT("A= b\r\nbad name: c|C= d|"), BAD_LINE},
        {TEXT("A: b\r\n: c\r\n"), TEXT("A= b\r\n: c|"), BAD_LINE},
        {TEXT("A: b\r\n\r\nC: d\r\n"), TEXT("A= b\r\n|C= d|"), BAD_LINE},
        {TEXT("A: b\0c\r\nD: e\r\n"), TEXT("A= b\0c|D= e|"), NUL},
        {TEXT("A\0B: c\r\n"), TEXT("=A\0B: c|"), NUL | BAD_LINE},
        {TEXT("A: \xfc\r\n"), TEXT("A= \xfc|"), EIGHT_BIT},
        {TEXT("\xfc: a\r\n"), TEXT("=\xfc: a|"), EIGHT_BIT | BAD_LINE},
        {TEXT("\r\n"), TEXT("=|"), BAD_LINE},
        {TEXT("\n"), TEXT("=|"), BAD_LINE | BARE_LF},
        {TEXT("A:\r\n \r\nB: c\r\n"), TEXT("A=\r\n |B= c|"), 0},
        {TEXT("A:x:y\r\n"), TEXT("A=x:y|"), 0},
    };
    struct arena *arena = arena_new();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct header_list list;
        struct buf got;
        size_t raw_bytes = 0;

        header_list_scan(rows[i].block, 100, arena, &list);
        buf_init(&got, 1000);
        for (uint32_t k = 0; k < list.n; k++) {
            assert_int_equal(buf_put(&got, list.items[k].name.data, list.items[k].name.len), 0);
            assert_int_equal(buf_put(&got, "=", 1), 0);
            assert_int_equal(buf_put(&got, list.items[k].value.data, list.items[k].value.len), 0);
            assert_int_equal(buf_put(&got, "|", 1), 0);
            assert_ptr_equal(list.items[k].raw.data, rows[i].block.data + raw_bytes);
            raw_bytes += list.items[k].raw.len;
        }
        /* The raw fields are the block, without a gap. */
        assert_int_equal(raw_bytes, rows[i].block.len);
        if (!slice_equal(buf_slice(&got), rows[i].fields) || flags_of(&list) != rows[i].flags)
            fail_msg("row %zu: got %.*s flags %u", i, (int)got.len, (const char *)got.data,
                flags_of(&list));
        assert_false(list.is_cut);
        buf_clear(&got);
    }
    arena_free(arena);
}

static void test_cut(void **state)
{
    static const struct slice block = TEXT("A:1\r\nB:2\r\n x\r\nC:3\r\nD:\xff\r\n");
    struct arena *arena = arena_new();
    struct header_list list;

    (void)state;
    header_list_scan(block, 4, arena, &list);
    assert_int_equal(list.n, 4);
    assert_false(list.is_cut);
    header_list_scan(block, 2, arena, &list);
    assert_int_equal(list.n, 2);
    assert_true(list.is_cut);
    assert_true(slice_equal(list.items[1].value, slice_text("2\r\n x")));
    assert_true(list.has_8bit); /* of the whole block */
    header_list_scan(block, 0, arena, &list);
    assert_int_equal(list.n, 0);
    assert_true(list.is_cut);
    arena_free(arena);
}

static void test_block_length(void **state)
{
    static const struct {
        struct slice message;
        size_t block_bytes, body_offset;
    } rows[] = {
        {TEXT(""), 0, 0},
        {TEXT("A: b\r\n\r\nbody"), 6, 8},
        {TEXT("A: b\n\nbody"), 5, 6},
        {TEXT("A: b\n\r\nbody"), 5, 7},
        {TEXT("A: b\r\n\nbody"), 6, 7},
        {TEXT("A: b\r\n"), 6, 6},
        {TEXT("A: b"), 4, 4},
        {TEXT("\r\nbody"), 0, 2},
        {TEXT("\nbody"), 0, 1},
        {TEXT("just text\r\n\r\nmore"), 0, 0},
        {TEXT(" A: b\r\nC: d\r\n\r\nbody"), 0, 0},
        {TEXT("\tfolded\r\nC: d\r\n\r\nbody"), 0, 0},
        {TEXT("From a@b Sat Jan 1 00:00:00 2000\nA: b\n\n"), 0, 0},
        {TEXT("A: b\r\nodd line\r\n\r\nbody"), 16, 18},
        {TEXT("A: b\r\n\r"), 7, 7},
        {TEXT("\r"), 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t body_offset = 999;
        size_t bytes = header_block_length(rows[i].message, &body_offset);
        if (bytes != rows[i].block_bytes || body_offset != rows[i].body_offset)
            fail_msg("row %zu: got %zu, %zu", i, bytes, body_offset);
    }
}

static void test_find(void **state)
{
    static const struct slice block = TEXT("To: 1\r\nX: x\r\nTO: 2\r\nto : 3\r\n");
    struct arena *arena = arena_new();
    struct header_list list;

    (void)state;
    header_list_scan(block, 100, arena, &list);
    assert_int_equal(header_count(&list, slice_text("tO")), 3);
    assert_int_equal(header_count(&list, slice_text("T")), 0);
    assert_int_equal(header_count(&list, slice_text("")), 0);
    assert_ptr_equal(header_find(&list, slice_text("to"), 1), &list.items[0]);
    assert_ptr_equal(header_find(&list, slice_text("to"), 3), &list.items[3]);
    assert_null(header_find(&list, slice_text("to"), 4));
    assert_null(header_find(&list, slice_text("to"), 0));
    assert_null(header_find(&list, slice_text("y"), 1));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_block_length),
        cmocka_unit_test(test_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
