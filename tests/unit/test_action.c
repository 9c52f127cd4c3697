/* Actions: the check that guards the MTA, and the codec. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/action.h"
#include "common/err.h"

#define T(s)                                                                                       \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

static char big[ACTION_VALUE_MAX + 1];

static void test_check(void **state)
{
    static const struct {
        struct action action;
        uint32_t can;
        const char *wrong; /* NULL: fine; else part of the answer */
    } rows[] = {
        {{ACTION_ADD_HEADER, .name = T("X-A"), .value = T("v")}, MTA_CAN_ALL, NULL},
        {{ACTION_ADD_HEADER, .name = T("X-A"), .value = T("")}, MTA_CAN_ALL, NULL},
        {{ACTION_ADD_HEADER, .name = T("X-A"), .value = T("a\n b\n\tc")}, MTA_CAN_ALL, NULL},
        {{ACTION_ADD_HEADER, .name = T("X-A"), .value = T("v")}, MTA_CAN_ADD_HEADER, NULL},
        {{ACTION_ADD_HEADER, .name = T("X-A"), .value = T("v")}, MTA_CAN_CHANGE_HEADER,
            "not offer"},
        {{ACTION_ADD_HEADER, .name = T(""), .value = T("v")}, MTA_CAN_ALL, "name is empty"},
        {{ACTION_ADD_HEADER, .name = T("X A"), .value = T("v")}, MTA_CAN_ALL, "name contains"},
        {{ACTION_ADD_HEADER, .name = T("X:A"), .value = T("v")}, MTA_CAN_ALL, "name contains"},
        {{ACTION_ADD_HEADER, .name = T("X\r\n"), .value = T("v")}, MTA_CAN_ALL, "name contains"},
        {{ACTION_ADD_HEADER, .name = T("X\0A"), .value = T("v")}, MTA_CAN_ALL, "name contains"},
        {{ACTION_ADD_HEADER, .name = T("X\x7f"), .value = T("v")}, MTA_CAN_ALL, "name contains"},
        {{ACTION_ADD_HEADER, .name = T("X\xc3\xa4"), .value = T("v")}, MTA_CAN_ALL,
            "name contains"},
        {{ACTION_ADD_HEADER, .name = {big, ACTION_NAME_MAX}}, MTA_CAN_ALL, NULL},
        {{ACTION_ADD_HEADER, .name = {big, ACTION_NAME_MAX + 1}}, MTA_CAN_ALL, "name is too long"},
        {{ACTION_ADD_HEADER, .name = T("X"), .value = {big, ACTION_VALUE_MAX}}, MTA_CAN_ALL, NULL},
        {{ACTION_ADD_HEADER, .name = T("X"), .value = {big, ACTION_VALUE_MAX + 1}}, MTA_CAN_ALL,
            "value is too long"},
        {{ACTION_ADD_HEADER, .name = T("X"), .value = T("a\nB: c")}, MTA_CAN_ALL, "line end"},
        {{ACTION_ADD_HEADER, .name = T("X"), .value = T("a\n")}, MTA_CAN_ALL, "line end"},
        {{ACTION_ADD_HEADER, .name = T("X"), .value = T("a\n\n b")}, MTA_CAN_ALL, "line end"},
        {{ACTION_ADD_HEADER, .name = T("X"), .value = T("a\r\n b")}, MTA_CAN_ALL, "CR or NUL"},
        {{ACTION_ADD_HEADER, .name = T("X"), .value = T("a\0b")}, MTA_CAN_ALL, "CR or NUL"},
        {{ACTION_INSERT_HEADER, .name = T("X"), .value = T("v")}, MTA_CAN_ALL, NULL},
        {{ACTION_INSERT_HEADER, INT32_MAX, .name = T("X")}, MTA_CAN_ALL, NULL},
        {{ACTION_INSERT_HEADER, UINT32_MAX, .name = T("X")}, MTA_CAN_ALL, "index"},
        {{ACTION_SET_HEADER, 1, .name = T("X"), .value = T("v")}, MTA_CAN_ALL, NULL},
        {{ACTION_SET_HEADER, 0, .name = T("X"), .value = T("v")}, MTA_CAN_ALL, "counts from 1"},
        {{ACTION_SET_HEADER, 1, .name = T("X")}, MTA_CAN_ADD_HEADER, "not offer"},
        {{ACTION_DELETE_HEADER, 0, .name = T("X")}, MTA_CAN_ALL, NULL},
        {{ACTION_DELETE_HEADER, 7, .name = T("X")}, MTA_CAN_ALL, NULL},
        {{ACTION_DELETE_HEADER, 7}, MTA_CAN_ALL, "name is empty"},
        {{ACTION_SET_SENDER, .address = T("a@b.example")}, MTA_CAN_ALL, NULL},
        {{ACTION_SET_SENDER, .address = T("")}, MTA_CAN_ALL, NULL},
        {{ACTION_SET_SENDER, .address = T("a@b"), .args = T("SIZE=1")}, MTA_CAN_ALL, NULL},
        {{ACTION_SET_SENDER, .address = T("<a@b>")}, MTA_CAN_ALL, "address"},
        {{ACTION_SET_SENDER, .address = T("a@b\r\nX")}, MTA_CAN_ALL, "address"},
        {{ACTION_SET_SENDER, .address = T("a@b"), .args = T("A\nB")}, MTA_CAN_ALL, "arguments"},
        {{ACTION_SET_SENDER, .address = T("a@b")}, MTA_CAN_ALL & ~MTA_CAN_CHANGE_SENDER,
            "not offer"},
        {{ACTION_ADD_RECIPIENT, .address = T("a@b")}, MTA_CAN_ALL, NULL},
        {{ACTION_ADD_RECIPIENT, .address = T("")}, MTA_CAN_ALL, "address"},
        {{ACTION_ADD_RECIPIENT, .address = T("a b@c")}, MTA_CAN_ALL, "address"},
        {{ACTION_ADD_RECIPIENT, .address = T("a@b"), .args = T("NOTIFY=NEVER")}, MTA_CAN_ALL, NULL},
        {{ACTION_ADD_RECIPIENT, .address = T("a@b"), .args = T("NOTIFY=NEVER")},
            MTA_CAN_ADD_RECIPIENT, "with arguments"},
        {{ACTION_ADD_RECIPIENT, .address = T("a@b")}, MTA_CAN_ADD_RECIPIENT, NULL},
        {{ACTION_DELETE_RECIPIENT, .address = T("odd one@b")}, MTA_CAN_ALL, NULL},
        {{ACTION_DELETE_RECIPIENT, .address = T("")}, MTA_CAN_ALL, "address"},
        {{ACTION_DELETE_RECIPIENT, .address = T("a@b\n")}, MTA_CAN_ALL, "address"},
        {{ACTION_DELETE_RECIPIENT, .address = {big, 2049}}, MTA_CAN_ALL, "address"},
        {{ACTION_REPLACE_BODY, .body = T("a\0\r\nb")}, MTA_CAN_ALL, NULL},
        {{ACTION_REPLACE_BODY, .body = T("")}, MTA_CAN_ALL, NULL},
        {{ACTION_REPLACE_BODY, .body = {big, (size_t)ACTION_BODY_MAX + 1}}, MTA_CAN_ALL, "body"},
        {{ACTION_REPLACE_BODY}, MTA_CAN_ADD_HEADER, "not offer"},
        {{ACTION_HOLD, .value = T("why")}, MTA_CAN_ALL, NULL},
        {{ACTION_HOLD, .value = T("")}, MTA_CAN_ALL, "reason is empty"},
        {{ACTION_HOLD, .value = T("a\n b")}, MTA_CAN_ALL, "reason contains"},
        {{ACTION_HOLD, .value = {big, 1001}}, MTA_CAN_ALL, "reason is too long"},
        {{(enum action_kind)0}, MTA_CAN_ALL, "no such action"},
        {{(enum action_kind)99}, MTA_CAN_ALL, "no such action"},
    };

    (void)state;
    memset(big, 'x', sizeof(big));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *wrong = action_check(&rows[i].action, rows[i].can);
        if (rows[i].wrong == NULL && wrong != NULL)
            fail_msg("row %zu: %s", i, wrong);
        if (rows[i].wrong != NULL && (wrong == NULL || strstr(wrong, rows[i].wrong) == NULL))
            fail_msg(
                "row %zu: got %s, want %s", i, wrong != NULL ? wrong : "nothing", rows[i].wrong);
    }
}

static void assert_same(const struct action *a, const struct action *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->index, b->index);
    assert_true(slice_equal(a->name, b->name));
    assert_true(slice_equal(a->value, b->value));
    assert_true(slice_equal(a->address, b->address));
    assert_true(slice_equal(a->args, b->args));
    assert_true(slice_equal(a->body, b->body));
}

static const struct action one_of_each[] = {
    {ACTION_ADD_HEADER, .name = T("X"), .value = T("v")},
    {ACTION_INSERT_HEADER, 3, .name = T("X"), .value = T("v")},
    {ACTION_SET_HEADER, 2, .name = T("X"), .value = T("v\n w")},
    {ACTION_DELETE_HEADER, 0xa1b2c3, .name = T("X")},
    {ACTION_SET_SENDER, .address = T("a@b"), .args = T("SIZE=1")},
    {ACTION_ADD_RECIPIENT, .address = T("a@b"), .args = T("NOTIFY=NEVER")},
    {ACTION_DELETE_RECIPIENT, .address = T("a@b")},
    {ACTION_REPLACE_BODY, .body = T("bytes\0and more")},
    {ACTION_HOLD, .value = T("reason")},
};
enum { N_EACH = sizeof(one_of_each) / sizeof(one_of_each[0]) };

static void put_all(struct buf *out)
{
    buf_init(out, 1 << 20);
    for (int i = 0; i < N_EACH; i++)
        assert_int_equal(action_put(out, &one_of_each[i]), 0);
}

static void test_round_trip(void **state)
{
    struct arena *arena = arena_new();
    struct action_list list;
    struct buf bytes;

    (void)state;
    put_all(&bytes);
    assert_int_equal(action_list_get(buf_slice(&bytes), arena, &list), 0);
    assert_int_equal(list.n, N_EACH);
    for (int i = 0; i < N_EACH; i++) {
        assert_same(&list.items[i], &one_of_each[i]);
        assert_int_equal(action_info(one_of_each[i].kind)->kind, one_of_each[i].kind);
    }
    assert_string_equal(action_info(ACTION_HOLD)->name, "hold");
    assert_null(action_info(0));
    assert_int_equal(action_list_get(slice_of(NULL, 0), arena, &list), 0);
    assert_int_equal(list.n, 0);
    buf_clear(&bytes);
    arena_free(arena);
}

static void test_every_cut(void **state)
{
    struct arena *arena = arena_new();
    struct action_list list;
    struct buf bytes;
    int n_whole = 0;

    (void)state;
    put_all(&bytes);
    for (size_t n = 0; n < bytes.len; n++) {
        int err = action_list_get(slice_of(bytes.data, n), arena, &list);
        assert_true(err == 0 || err == -ERR_SHORT);
        n_whole += err == 0;
    }
    assert_int_equal(n_whole, N_EACH);
    buf_clear(&bytes);
    arena_free(arena);
}

static void test_bad_bytes(void **state)
{
    static const struct {
        struct slice bytes;
        int err;
    } rows[] = {
        {T(""), -ERR_NOTFOUND},
        {T("\0"), -ERR_BAD},
        {T("\x0a"), -ERR_BAD},
        {T("\xff"), -ERR_BAD},
        {T("\x01"), -ERR_SHORT},
        {T("\x01\0\0\0\x05x"), -ERR_SHORT},
        {T("\x01\0\0\x01\x01"), -ERR_TOOBIG}, /* a name of 257 bytes */
        {T("\x01\xff\xff\xff\xff"), -ERR_TOOBIG},
        {T("\x08\x10\0\0\x01"), -ERR_TOOBIG}, /* a body over ACTION_BODY_MAX */
        {T("\x08\x10\0\0\0"), -ERR_SHORT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct action action;
        struct buf in;
        buf_view(&in, rows[i].bytes.data, rows[i].bytes.len);
        int err = action_get(&in, &action);
        if (err != rows[i].err)
            fail_msg("row %zu: %d", i, err);
        assert_int_equal(in.pos, 0);
    }
}

static void test_put_refuses_and_leaves_nothing(void **state)
{
    const struct action too_long = {
        ACTION_ADD_HEADER, .name = T("X"), .value = {big, ACTION_VALUE_MAX + 1}};
    const struct action fits = {
        ACTION_ADD_HEADER, .name = T("X"), .value = {big, ACTION_VALUE_MAX}};
    const struct action unknown = {(enum action_kind)77};
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    assert_int_equal(action_put(&out, &too_long), -ERR_TOOBIG);
    assert_int_equal(action_put(&out, &fits), -ERR_TOOBIG);
    assert_int_equal(action_put(&out, &unknown), -ERR_BAD);
    assert_int_equal(out.len, 0);
    buf_clear(&out);
}

static void test_count_is_bounded(void **state)
{
    const struct action action = {ACTION_DELETE_HEADER, 1, .name = T("X")};
    struct arena *arena = arena_new();
    struct action_list list;
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 1 << 20);
    for (int i = 0; i < ACTION_COUNT_MAX; i++)
        assert_int_equal(action_put(&bytes, &action), 0);
    assert_int_equal(action_list_get(buf_slice(&bytes), arena, &list), 0);
    assert_int_equal(list.n, ACTION_COUNT_MAX);
    assert_int_equal(action_put(&bytes, &action), 0);
    assert_int_equal(action_list_get(buf_slice(&bytes), arena, &list), -ERR_TOOBIG);
    assert_int_equal(list.n, 0);
    buf_clear(&bytes);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_bad_bytes),
        cmocka_unit_test(test_put_refuses_and_leaves_nothing),
        cmocka_unit_test(test_count_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
