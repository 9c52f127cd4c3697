/*
 * Plans: what a list of actions comes to. Rows give the header, the actions, the operations for the
 * MTA and the header as it would leave.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/plan.h"
#include "tests/unit/patience.h"

enum { ACTIONS_MAX = 12 };

#define ADD(n, v)                                                                                  \
    {                                                                                              \
        ACTION_ADD_HEADER, .name = {n, sizeof(n) - 1}, .value = { v, sizeof(v) - 1 }               \
    }
#define INSERT(i, n, v)                                                                            \
    {                                                                                              \
        ACTION_INSERT_HEADER, i, {n, sizeof(n) - 1},                                               \
        {                                                                                          \
            v, sizeof(v) - 1                                                                       \
        }                                                                                          \
    }
#define SET(i, n, v)                                                                               \
    {                                                                                              \
        ACTION_SET_HEADER, i, {n, sizeof(n) - 1},                                                  \
        {                                                                                          \
            v, sizeof(v) - 1                                                                       \
        }                                                                                          \
    }
#define DELETE(i, n)                                                                               \
    {                                                                                              \
        ACTION_DELETE_HEADER, i,                                                                   \
        {                                                                                          \
            n, sizeof(n) - 1                                                                       \
        }                                                                                          \
    }
#define SENDER(a, e)                                                                               \
    {                                                                                              \
        ACTION_SET_SENDER, .address = {a, sizeof(a) - 1}, .args = { e, sizeof(e) - 1 }             \
    }
#define RCPT_ADD(a, e)                                                                             \
    {                                                                                              \
        ACTION_ADD_RECIPIENT, .address = {a, sizeof(a) - 1}, .args = { e, sizeof(e) - 1 }          \
    }
#define RCPT_DELETE(a)                                                                             \
    {                                                                                              \
        ACTION_DELETE_RECIPIENT, .address = { a, sizeof(a) - 1 }                                   \
    }
#define BODY(b)                                                                                    \
    {                                                                                              \
        ACTION_REPLACE_BODY, .body = { b, sizeof(b) - 1 }                                          \
    }
#define HOLD_FOR(r)                                                                                \
    {                                                                                              \
        ACTION_HOLD, .value = { r, sizeof(r) - 1 }                                                 \
    }

static void put(struct buf *out, struct slice text)
{
    assert_int_equal(buf_put(out, text.data, text.len), 0);
}

static void put_ops(struct buf *out, const struct plan *plan)
{
    static const char letters[] = {
        [PLAN_CHANGE_HEADER] = '~',
        [PLAN_DELETE_HEADER] = '-',
        [PLAN_INSERT_HEADER] = '^',
        [PLAN_ADD_HEADER] = '+',
    };

    for (uint32_t i = 0; i < plan->n_ops; i++) {
        const struct plan_op *op = &plan->ops[i];
        buf_printf(out, "%c%u%.*s", letters[op->kind], op->index, (int)op->name.len, op->name.data);
        if (op->kind != PLAN_DELETE_HEADER) {
            put(out, slice_text("="));
            put(out, op->value);
        }
        put(out, slice_text(" "));
    }
}

static void put_fields(struct buf *out, const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        put(out, plan->fields[i].name);
        put(out, slice_text("="));
        put(out, plan->fields[i].value);
        put(out, slice_text(" "));
    }
}

static void assert_put(size_t row, const char *what, struct buf *got, const char *want)
{
    if (!slice_equal(buf_slice(got), slice_text(want)))
        fail_msg("row %zu, %s:\n got  %.*s\n want %s", row, what, (int)got->len,
            (const char *)got->data, want);
    buf_reset(got);
}

static uint32_t count_actions(const struct action *actions)
{
    uint32_t n = 0;

    while (n < ACTIONS_MAX && actions[n].kind != 0)
        n++;
    return n;
}

/* In "ops": ~ change, - delete, ^ insert, + add; then index, name, value. */
static void test_headers(void **state)
{
    static const struct {
        const char *block;
        struct action actions[ACTIONS_MAX];
        const char *ops, *fields;
    } rows[] = {
        {"A:1\r\nB:2\r\n", {{(enum action_kind)0}}, "", "A=1 B=2 "},
        {"", {ADD("X", "x")}, "+0X=x ", "X=x "},
        {"A:1\r\n", {ADD("X", "x"), ADD("Y", "y")}, "+0X=x +0Y=y ", "A=1 X=x Y=y "},
        /* Set: the nth received, spelled as received. */
        {"A:1\r\nB:2\r\nA:3\r\n", {SET(2, "a", "x")}, "~2A=x ", "A=1 B=2 A=x "},
        {"A:1\r\n", {SET(1, "A", "x"), SET(1, "A", "y")}, "~1A=y ", "A=y "},
        /* Set beyond what was received: adds, then changes what was added. */
        {"A:1\r\n", {SET(2, "A", "x")}, "+0A=x ", "A=1 A=x "},
        {"A:1\r\n", {SET(9, "A", "x")}, "+0A=x ", "A=1 A=x "},
        {"A:1\r\n", {SET(1, "X", "x"), SET(1, "X", "y")}, "+0X=y ", "A=1 X=y "},
        {"A:1\r\n", {ADD("A", "x"), ADD("A", "y"), SET(3, "a", "z")}, "+0A=x +0a=z ",
            "A=1 A=x a=z "},
        {"", {INSERT(0, "X", "x"), SET(1, "X", "y")}, "^0X=y ", "X=y "},
        /* Delete: one, all, those added too. */
        {"A:1\r\nA:2\r\nA:3\r\n", {DELETE(2, "A")}, "-2A ", "A=1 A=3 "},
        {"A:1\r\nB:2\r\nA:3\r\n", {DELETE(0, "a")}, "-2A -1A ", "B=2 "},
        {"A:1\r\n", {ADD("A", "x"), DELETE(0, "A"), ADD("A", "y")}, "-1A +0A=y ", "A=y "},
        {"A:1\r\n", {INSERT(0, "A", "x"), DELETE(0, "A")}, "-1A ", ""},
        {"A:1\r\n", {DELETE(2, "A")}, "", "A=1 "},
        {"A:1\r\n", {DELETE(0, "X")}, "", "A=1 "},
        {"A:1\r\n", {ADD("A", "x"), ADD("A", "y"), DELETE(2, "A")}, "+0A=y ", "A=1 A=y "},
        {"A:1\r\n", {ADD("A", "x"), DELETE(2, "A"), SET(2, "A", "z")}, "+0A=z ", "A=1 A=z "},
        /* For one field the last word counts. */
        {"A:1\r\n", {SET(1, "A", "x"), DELETE(1, "A")}, "-1A ", ""},
        {"A:1\r\n", {DELETE(1, "A"), SET(1, "A", "x")}, "~1A=x ", "A=x "},
        {"A:1\r\n", {SET(1, "A", "x"), DELETE(0, "A")}, "-1A ", ""},
        {"A:1\r\nA:2\r\n", {DELETE(0, "A"), SET(1, "A", "x")}, "-2A ~1A=x ", "A=x "},
        /* Twelve of one name go from the highest down. */
        {"A:1\r\nA:2\r\nA:3\r\nA:4\r\nA:5\r\nA:6\r\nA:7\r\nA:8\r\nA:9\r\nA:10\r\nA:11\r\nA:12\r\n",
            {DELETE(0, "A")}, "-12A -11A -10A -9A -8A -7A -6A -5A -4A -3A -2A -1A ", ""},
        {"A:1\r\nB:2\r\nA:3\r\nB:4\r\n", {DELETE(1, "A"), DELETE(2, "B"), SET(2, "A", "x")},
            "-2B ~2A=x -1A ", "B=2 A=x "},
        /* Inserts: at the place as received, moved only by inserts at it or above it. */
        {"A:1\r\nB:2\r\n", {INSERT(0, "X", "x")}, "^0X=x ", "X=x A=1 B=2 "},
        {"A:1\r\nB:2\r\n", {INSERT(1, "X", "x"), INSERT(1, "Y", "y")}, "^1X=x ^2Y=y ",
            "A=1 X=x Y=y B=2 "},
        {"A:1\r\nB:2\r\n", {INSERT(2, "X", "x"), INSERT(0, "Y", "y"), INSERT(1, "Z", "z")},
            "^2X=x ^0Y=y ^2Z=z ", "Y=y A=1 Z=z B=2 X=x "},
        {"A:1\r\nB:2\r\n", {INSERT(99, "X", "x"), INSERT(2, "Y", "y")}, "^99X=x ^3Y=y ",
            "A=1 B=2 X=x Y=y "},
        {"A:1\r\nB:2\r\n", {DELETE(1, "A"), INSERT(1, "X", "x")}, "-1A ^1X=x ", "X=x B=2 "},
        {"A:1\r\n", {INSERT(0, "X", "x"), INSERT(0, "Y", "y"), DELETE(1, "X"), INSERT(0, "Z", "z")},
            "^0Y=y ^1Z=z ", "Y=y Z=z A=1 "},
        {"A:1\r\n", {ADD("X", "x"), INSERT(9, "Y", "y")}, "^9Y=y +0X=x ", "A=1 Y=y X=x "},
        /* All together: changes, inserts, adds, whatever the order of calls. */
        {"A:1\r\nB:2\r\n", {ADD("X", "x"), INSERT(0, "Y", "y"), SET(1, "B", "z"), DELETE(1, "A")},
            "~1B=z -1A ^0Y=y +0X=x ", "Y=y B=z X=x "},
        /* A line without colon is nobody's. */
        {"odd\r\nA:1\r\n", {SET(1, "A", "x")}, "~1A=x ", "=odd A=x "},
    };
    struct arena *arena = arena_new();
    struct buf got;

    (void)state;
    buf_init(&got, 10000);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct action copies[ACTIONS_MAX];
        struct action_list actions = {copies, count_actions(rows[i].actions)};
        struct header_list headers;
        struct plan plan;

        memcpy(copies, rows[i].actions, sizeof(copies));
        header_list_scan(slice_text(rows[i].block), 1000, arena, &headers);
        plan_make(&headers, &actions, arena, &plan);
        put_ops(&got, &plan);
        assert_put(i, "ops", &got, rows[i].ops);
        put_fields(&got, &plan);
        assert_put(i, "fields", &got, rows[i].fields);
    }
    buf_clear(&got);
    arena_free(arena);
}

static void test_received_fields_are_known(void **state)
{
    struct action items[] = {SET(1, "B", "x"), ADD("C", "y")};
    struct action_list actions = {items, 2};
    struct arena *arena = arena_new();
    struct header_list headers;
    struct plan plan;

    (void)state;
    header_list_scan(slice_text("A: 1\r\nB: 2\r\n"), 10, arena, &headers);
    plan_make(&headers, &actions, arena, &plan);
    assert_int_equal(plan.n_fields, 3);
    assert_ptr_equal(plan.fields[0].received, &headers.items[0]);
    assert_null(plan.fields[1].received);
    assert_null(plan.fields[2].received);
    arena_free(arena);
}

/* In "got": +address(args) added, -address deleted. */
static void test_recipients(void **state)
{
    static const struct {
        struct action actions[ACTIONS_MAX];
        const char *got;
    } rows[] = {
        {{RCPT_ADD("a@x", "")}, "+a@x() "},
        {{RCPT_ADD("b@x", ""), RCPT_ADD("a@x", "N=1")}, "+b@x() +a@x(N=1) "},
        {{RCPT_ADD("a@x", ""), RCPT_ADD("a@x", "")}, "+a@x() "},
        {{RCPT_ADD("a@x", "N=1"), RCPT_ADD("a@X", "N=2")}, "+a@X(N=2) "},
        {{RCPT_ADD("A@x", ""), RCPT_ADD("a@x", "")}, "+A@x() +a@x() "},
        {{RCPT_DELETE("a@x")}, "-a@x "},
        {{RCPT_DELETE("b@x"), RCPT_DELETE("a@x"), RCPT_DELETE("b@x")}, "-a@x -b@x "},
        {{RCPT_ADD("a@x", ""), RCPT_DELETE("a@x")}, "-a@x "},
        {{RCPT_DELETE("a@x"), RCPT_ADD("a@x", "")}, "+a@x() "},
        {{RCPT_ADD("a@x", ""), RCPT_DELETE("a@x"), RCPT_ADD("a@x", "N=1")}, "+a@x(N=1) "},
        {{RCPT_ADD("a", ""), RCPT_ADD("a@a", ""), RCPT_DELETE("a")}, "+a@a() -a "},
    };
    struct arena *arena = arena_new();
    struct header_list headers = {0};
    struct buf got;

    (void)state;
    buf_init(&got, 10000);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct action copies[ACTIONS_MAX];
        struct action_list actions = {copies, count_actions(rows[i].actions)};
        struct plan plan;

        memcpy(copies, rows[i].actions, sizeof(copies));
        plan_make(&headers, &actions, arena, &plan);
        for (uint32_t k = 0; k < plan.n_added; k++) {
            put(&got, slice_text("+"));
            put(&got, plan.added[k].address);
            buf_printf(&got, "(%.*s) ", (int)plan.added[k].args.len, plan.added[k].args.data);
        }
        for (uint32_t k = 0; k < plan.n_deleted; k++)
            buf_printf(&got, "-%.*s ", (int)plan.deleted[k].len, plan.deleted[k].data);
        assert_put(i, "recipients", &got, rows[i].got);
    }
    buf_clear(&got);
    arena_free(arena);
}

/* What is to do for a message that has <a@x>, <b@X>, <c@x> (refused) and <a@x> once more. */
static void test_recipients_fit_the_message(void **state)
{
    static const struct {
        struct action actions[ACTIONS_MAX];
        const char *got;
    } rows[] = {
        {{RCPT_ADD("n@x", "")}, "+n@x "},
        {{RCPT_ADD("b@x", "")}, ""},
        {{RCPT_ADD("B@x", "")}, "+B@x "},
        {{RCPT_ADD("c@x", "")}, "+c@x "},
        {{RCPT_DELETE("b@x")}, "-b@X "},
        {{RCPT_DELETE("a@x")}, "-a@x -a@x "},
        {{RCPT_DELETE("c@x"), RCPT_DELETE("n@x")}, ""},
        {{RCPT_DELETE("b@x"), RCPT_ADD("b@x", "")}, ""},
        {{RCPT_ADD("b@x", ""), RCPT_DELETE("b@x")}, "-b@X "},
        {{RCPT_ADD("n@x", ""), RCPT_DELETE("n@x")}, ""},
    };
    struct envelope_recipient received[] = {{.address = slice_text("<a@x>")},
        {.address = slice_text("<b@X>")}, {.address = slice_text("<c@x>"), .is_refused = true},
        {.address = slice_text("<a@x>")}};
    const struct envelope envelope = {.recipients = received, .n_recipients = 4};
    struct arena *arena = arena_new();
    struct header_list headers = {0};
    struct buf got;

    (void)state;
    buf_init(&got, 10000);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct action copies[ACTIONS_MAX];
        struct action_list actions = {copies, count_actions(rows[i].actions)};
        struct plan plan;

        memcpy(copies, rows[i].actions, sizeof(copies));
        plan_make(&headers, &actions, arena, &plan);
        plan_fit_recipients(&plan, &envelope, arena);
        for (uint32_t k = 0; k < plan.n_added; k++)
            buf_printf(&got, "+%.*s ", (int)plan.added[k].address.len, plan.added[k].address.data);
        for (uint32_t k = 0; k < plan.n_deleted; k++)
            buf_printf(&got, "-%.*s ", (int)plan.deleted[k].len, plan.deleted[k].data);
        assert_put(i, "recipients", &got, rows[i].got);
    }
    buf_clear(&got);
    arena_free(arena);
}

/* As measured: a message A B A, above which each MTA has put what the filter does not see. */
static void test_insert_index(void **state)
{
    static const struct {
        struct action actions[ACTIONS_MAX];
        uint32_t other, sendmail, postfix; /* of the last operation */
    } rows[] = {
        {{INSERT(0, "X", "x")}, 0, 0, 0},
        {{INSERT(0, "X", "x"), INSERT(0, "Y", "y")}, 1, 1, 1},
        {{INSERT(1, "X", "x")}, 1, 9, 2},
        {{INSERT(2, "X", "x")}, 2, 10, 3},
        {{INSERT(0, "X", "x"), INSERT(2, "Y", "y")}, 3, 11, 4},
        {{DELETE(1, "A"), INSERT(2, "X", "x")}, 2, 10, 2},
        {{DELETE(1, "A"), DELETE(1, "B"), INSERT(3, "X", "x")}, 3, 11, 2},
        {{DELETE(2, "A"), INSERT(1, "X", "x")}, 1, 9, 2},
        {{DELETE(1, "A"), INSERT(0, "X", "x")}, 0, 0, 0},
        {{SET(1, "A", "a"), INSERT(2, "X", "x")}, 2, 10, 3},
        {{INSERT(99, "X", "x")}, 99, 107, 100},
    };
    struct arena *arena = arena_new();
    struct header_list headers;

    (void)state;
    header_list_scan(slice_text("A: 1\r\nB: 2\r\nA: 3\r\n"), 10, arena, &headers);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct action copies[ACTIONS_MAX];
        struct action_list actions = {copies, count_actions(rows[i].actions)};
        struct plan plan;

        memcpy(copies, rows[i].actions, sizeof(copies));
        plan_make(&headers, &actions, arena, &plan);
        const struct plan_op *last = &plan.ops[plan.n_ops - 1];
        assert_int_equal(plan_insert_index(last, PLAN_MTA_OTHER), rows[i].other);
        assert_int_equal(plan_insert_index(last, PLAN_MTA_SENDMAIL), rows[i].sendmail);
        assert_int_equal(plan_insert_index(last, PLAN_MTA_POSTFIX), rows[i].postfix);
    }
    arena_free(arena);
}

static void test_sender_body_hold(void **state)
{
    struct action items[] = {SENDER("a@x", "SIZE=1"), BODY("one"), HOLD_FOR("first"),
        SENDER("", ""), BODY("two"), HOLD_FOR("second")};
    struct action_list actions = {items, 6}, none = {NULL, 0};
    struct arena *arena = arena_new();
    struct header_list headers = {0};
    struct plan plan;

    (void)state;
    plan_make(&headers, &actions, arena, &plan);
    assert_true(plan.has_sender);
    assert_int_equal(plan.sender.len, 0);
    assert_int_equal(plan.sender_args.len, 0);
    assert_true(plan.has_body);
    assert_true(slice_equal(plan.body, slice_text("two")));
    assert_true(plan.has_hold);
    assert_true(slice_equal(plan.hold_reason, slice_text("first")));
    assert_int_equal(plan.n_ops, 0);

    plan_make(&headers, &none, arena, &plan);
    assert_false(plan.has_sender || plan.has_body || plan.has_hold);
    assert_int_equal(plan.n_fields + plan.n_added + plan.n_deleted, 0);
    arena_free(arena);
}

enum { MANY = 10000 };

static struct slice many_headers(struct buf *out, bool is_one_name)
{
    for (int i = 0; i < MANY; i++)
        buf_printf(out, "X-%d: value\r\n", is_one_name ? 0 : i);
    return buf_slice(out);
}

/*
 * Ten thousand fields and twice as many actions, of one name and of as many, take no longer than a
 * sort.
 */
static void test_many(void **state)
{
    struct arena *arena = arena_new();
    struct action *items = calloc(2 * MANY, sizeof(*items));
    char(*names)[16] = calloc(MANY, sizeof(*names));
    struct action_list actions = {items, 2 * MANY};

    (void)state;
    assert_non_null(items);
    assert_non_null(names);
    for (int is_one_name = 0; is_one_name <= 1; is_one_name++) {
        int64_t start_ms = clock_now_ms();
        struct header_list headers;
        struct plan plan;
        struct buf block;

        buf_init(&block, 1 << 20);
        header_list_scan(many_headers(&block, is_one_name), MANY, arena, &headers);
        assert_int_equal(headers.n, MANY);
        for (uint32_t i = 0; i < 2 * MANY; i++) {
            static const enum action_kind kinds[] = {ACTION_INSERT_HEADER, ACTION_SET_HEADER,
                ACTION_DELETE_HEADER, ACTION_ADD_HEADER, ACTION_DELETE_HEADER};
            snprintf(names[i % MANY], sizeof(*names), "x-%u", is_one_name ? 0 : i % MANY);
            items[i] = (struct action){kinds[i % 5], (i % 5 == 4) ? 0 : i % MANY + 1,
                slice_text(names[i % MANY]), slice_text("v")};
        }
        plan_make(&headers, &actions, arena, &plan);
        assert_true(plan.n_ops > 0);
        assert_true(clock_now_ms() - start_ms < patience_ms(5000));
        buf_clear(&block);
        arena_reset(arena);
    }
    free(names);
    free(items);
    arena_free(arena);
}

/*
 * Applies the operations as an MTA does and compares with the fields: the two halves of a plan must
 * agree.
 */
struct mta {
    struct slice names[64], values[64];
    uint32_t n;
};

static uint32_t mta_find(const struct mta *mta, struct slice name, uint32_t nth)
{
    for (uint32_t i = 0; i < mta->n; i++)
        if (slice_equal_nocase(mta->names[i], name) && --nth == 0)
            return i;
    fail_msg("no %.*s", (int)name.len, name.data);
    return 0;
}

/* A deleted field keeps its place (its name is emptied), as the rule on positions has it. */
static void mta_apply(struct mta *mta, const struct plan_op *op)
{
    uint32_t at = mta->n;

    if (op->kind == PLAN_CHANGE_HEADER || op->kind == PLAN_DELETE_HEADER) {
        at = mta_find(mta, op->name, op->index);
        if (op->kind == PLAN_DELETE_HEADER)
            mta->names[at] = slice_of(NULL, 0);
        mta->values[at] = op->value;
        return;
    }
    if (op->kind == PLAN_INSERT_HEADER && op->index < mta->n)
        at = op->index;
    memmove(&mta->names[at + 1], &mta->names[at], (mta->n - at) * sizeof(mta->names[0]));
    memmove(&mta->values[at + 1], &mta->values[at], (mta->n - at) * sizeof(mta->values[0]));
    mta->names[at] = op->name;
    mta->values[at] = op->value;
    mta->n++;
}

static void test_ops_and_fields_agree(void **state)
{
    static const char *const names[] = {"A", "B", "a", "C"};
    static const enum action_kind kinds[] = {
        ACTION_ADD_HEADER, ACTION_INSERT_HEADER, ACTION_SET_HEADER, ACTION_DELETE_HEADER};
    static const struct slice block = {"A:1\r\nB:2\r\nA:3\r\nD:4\r\nA:5\r\nB:6\r\n", 30};
    struct arena *arena = arena_new();
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct action items[ACTIONS_MAX];
        struct action_list actions = {items, (uint32_t)rand_r(&seed) % ACTIONS_MAX};
        struct header_list headers;
        struct plan plan;
        struct mta mta = {.n = 0};
        uint32_t k = 0;

        for (uint32_t i = 0; i < actions.n; i++) {
            static const char values[] = "abcdefghijkl";
            items[i] = (struct action){kinds[rand_r(&seed) % 4], (uint32_t)rand_r(&seed) % 8,
                slice_text(names[rand_r(&seed) % 4]), slice_of(values + i, 1)};
        }
        header_list_scan(block, 100, arena, &headers);
        for (; mta.n < headers.n; mta.n++) {
            mta.names[mta.n] = headers.items[mta.n].name;
            mta.values[mta.n] = headers.items[mta.n].value;
        }
        plan_make(&headers, &actions, arena, &plan);
        for (uint32_t i = 0; i < plan.n_ops; i++)
            mta_apply(&mta, &plan.ops[i]);
        for (uint32_t i = 0; i < mta.n; i++) {
            if (mta.names[i].data == NULL)
                continue;
            assert_true(k < plan.n_fields);
            assert_true(slice_equal(mta.names[i], plan.fields[k].name));
            assert_true(slice_equal(mta.values[i], plan.fields[k].value));
            k++;
        }
        assert_int_equal(k, plan.n_fields);
        arena_reset(arena);
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_received_fields_are_known),
        cmocka_unit_test(test_recipients),
        cmocka_unit_test(test_recipients_fit_the_message),
        cmocka_unit_test(test_insert_index),
        cmocka_unit_test(test_sender_body_hold),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_ops_and_fields_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
