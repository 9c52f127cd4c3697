/* The job: what it refuses, what the message comes to with changes, and what it would look like. */
#include "tests/unit/worker_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"

static void open_message(struct worker_fixture *f, const char *message)
{
    fixture_rewind(f);
    fixture_envelope(f);
    fixture_message(f, message);
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
}

static void add(struct worker_fixture *f, enum action_kind kind, uint32_t index, const char *name,
    const char *value)
{
    const struct action action = {.kind = kind,
        .index = index,
        .name = slice_text(name),
        .value = slice_text(value),
        .address = slice_text(value),
        .body = slice_text(value)};
    assert_null(job_add_action(&f->job, &action));
}

static int setup(void **state)
{
    static struct worker_fixture f;
    fixture_open(&f, NULL);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    return 0;
}

static void test_refuses_malformed(void **state)
{
    struct worker_fixture *f = *state;
    static const struct {
        const char *message;
        uint64_t header_bytes;
    } rows[] = {
        {"A: b\r\n", 7},       /* more header than message */
        {"A: b\r\n\n", 6},     /* no whole line between header and body */
        {"A: b\r\nxybody", 6}, /* no empty line there */
        {"A: b\r\n\r", 6},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_rewind(f);
        fixture_envelope(f);
        fixture_message_bytes(f, rows[i].message, strlen(rows[i].message));
        f->request.header_bytes = rows[i].header_bytes;
        assert_int_equal(fixture_job(f, HOOK_MESSAGE), -ERR_BAD);
    }
    fixture_rewind(f);
    assert_int_equal(buf_put(&f->envelope, "\x02\xff\xff\xff\xff", 5), 0);
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), -ERR_BAD);
    fixture_rewind(f);
    fixture_envelope(f);
    assert_int_equal(buf_put(&f->changes, "\x63garbage", 8), 0);
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), -ERR_BAD);
    fixture_rewind(f);
    const struct wire_request request = {.hook = HOOK_COUNT};
    struct job job;
    assert_int_equal(
        job_open(&job, f->conf, &request, slice_of(NULL, 0), slice_of(NULL, 0)), -ERR_BAD);
}

static void test_empty_is_fine(void **state)
{
    struct worker_fixture *f = *state;
    fixture_rewind(f);
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
    assert_int_equal(job_headers(&f->job)->n, 0);
    assert_int_equal(job_body(&f->job).len, 0);
    assert_string_equal(fixture_rendered(f), "\r\n");
    assert_int_equal(job_sender(&f->job).len, 0);
    assert_false(job_lost_all_recipients(&f->job));
}

static void test_parts_of_message(void **state)
{
    struct worker_fixture *f = *state;
    open_message(f, "Subject: x\nTo: y\n\nbody\n");
    assert_int_equal(job_headers(&f->job)->n, 2);
    assert_true(slice_equal(job_header_block(&f->job), slice_text("Subject: x\r\nTo: y\r\n")));
    assert_true(slice_equal(job_body(&f->job), slice_text("body\r\n")));
    assert_string_equal(fixture_rendered(f), "Subject: x\r\nTo: y\r\n\r\nbody\r\n");
}

static void test_render(void **state)
{
    struct worker_fixture *f = *state;
    open_message(f, "Received:  one\n\tfolded \nX-A:1\nsubject : old\nX-A: 2\n\nbody");
    add(f, ACTION_SET_HEADER, 1, "Subject", "new\n folded");
    add(f, ACTION_DELETE_HEADER, 2, "x-a", NULL);
    add(f, ACTION_INSERT_HEADER, 0, "X-Top", "t");
    add(f, ACTION_ADD_HEADER, 0, "X-End", "");
    assert_string_equal(fixture_rendered(f),
        "X-Top: t\r\nReceived:  one\r\n\tfolded \r\nX-A:1\r\nsubject: new\r\n folded\r\nX-End: "
        "\r\n\r\nbody");
    add(f, ACTION_REPLACE_BODY, 0, NULL, "first");
    add(f, ACTION_REPLACE_BODY, 0, NULL, "second");
    assert_non_null(strstr(fixture_rendered(f), "\r\n\r\nsecond"));
    assert_null(strstr(fixture_rendered(f), "first"));
}

static void test_render_too_big(void **state)
{
    struct worker_fixture *f = *state;
    struct buf out;
    open_message(f, "Subject: x\n\nbody\n");
    buf_init(&out, 12);
    assert_int_equal(job_render(&f->job, &out), -ERR_TOOBIG);
    buf_clear(&out);
}

/* What is over max_headers is not looked at, and still leaves. */
static void test_render_cut(void **state)
{
    (void)state;
    struct worker_fixture f;
    fixture_open(&f, (const char *const[]){"worker.max_headers=10", NULL});
    const char *message = "A: 1\nA: 2\nA: 3\nA: 4\nA: 5\nA: 6\nA: 7\nA: 8\nA: 9\nA: 10\nB: "
                          "11\nB: 12\n\nbody\n";
    open_message(&f, message);
    assert_true(job_headers(&f.job)->is_cut);
    assert_int_equal(job_headers(&f.job)->n, 10);
    const char *rendered = fixture_rendered(&f);
    assert_int_equal(strlen(rendered), f.message.len);
    assert_memory_equal(rendered, f.message.data, f.message.len);
    fixture_close(&f);
}

static void test_changes_travel(void **state)
{
    struct worker_fixture *f = *state;
    struct buf out;
    open_message(f, "Subject: x\n\nbody\n");
    add(f, ACTION_ADD_HEADER, 0, "X-One", "1");
    add(f, ACTION_ADD_HEADER, 0, "X-Two", "2");
    const uint32_t n = f->job.n_added;
    add(f, ACTION_ADD_HEADER, 0, "X-Three", "3");
    assert_non_null(strstr(fixture_rendered(f), "X-Three"));
    job_drop_actions(&f->job, n);
    assert_null(strstr(fixture_rendered(f), "X-Three"));
    buf_init(&out, 1 << 20);
    assert_int_equal(job_put_changes(&f->job, &out), 0);
    assert_int_equal(buf_put(&f->changes, out.data, out.len), 0);
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
    assert_int_equal(f->job.earlier.n, 2);
    assert_int_equal(f->job.n_added, 0);
    assert_non_null(strstr(fixture_rendered(f), "X-One: 1\r\nX-Two: 2\r\n"));
    buf_clear(&out);
    buf_init(&out, 4);
    add(f, ACTION_ADD_HEADER, 0, "X-Four", "4");
    assert_int_equal(job_put_changes(&f->job, &out), -ERR_TOOBIG);
    buf_clear(&out);
}

static void test_capabilities(void **state)
{
    struct worker_fixture *f = *state;
    fixture_rewind(f);
    fixture_envelope(f);
    f->request.capabilities = MTA_CAN_ADD_HEADER | MTA_CAN_ADD_RECIPIENT;
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
    add(f, ACTION_ADD_HEADER, 0, "X-A", "1");
    const struct action hold = {.kind = ACTION_HOLD, .value = slice_text("why")};
    assert_non_null(strstr(job_add_action(&f->job, &hold), "hold"));
    struct action rcpt = {.kind = ACTION_ADD_RECIPIENT, .address = slice_text("x@example.org")};
    assert_null(job_add_action(&f->job, &rcpt));
    rcpt.args = slice_text("NOTIFY=NEVER");
    assert_non_null(strstr(job_add_action(&f->job, &rcpt), "add_recipient with arguments"));
    const struct action bad = {.kind = ACTION_ADD_HEADER, .name = slice_text("X-A:")};
    assert_non_null(job_add_action(&f->job, &bad));
    assert_int_equal(f->job.n_added, 2);
    f->request.capabilities = 0;
}

static void test_too_many_changes(void **state)
{
    struct worker_fixture *f = *state;
    open_message(f, "Subject: x\n\nbody\n");
    for (int i = 0; i < ACTION_COUNT_MAX; i++)
        add(f, ACTION_ADD_HEADER, 0, "X-A", "1");
    const struct action one_more = {
        .kind = ACTION_ADD_HEADER, .name = slice_text("X-A"), .value = slice_text("1")};
    assert_non_null(strstr(job_add_action(&f->job, &one_more), "too many"));
    assert_int_equal(job_plan(&f->job)->n_fields, ACTION_COUNT_MAX + 1);
}

static void test_recipients(void **state)
{
    struct worker_fixture *f = *state;
    const struct job_recipient *list;
    uint32_t n;
    fixture_rewind(f);
    fixture_connect(f, '4', "192.0.2.1", 1, "x");
    fixture_sender(f, "<a@example.org>", "");
    fixture_recipient(f, "<one@example.net>", "NOTIFY=NEVER");
    fixture_recipient(f, "<two@example.net>", "");
    assert_int_equal(envelope_put_refused(&f->envelope, 1), 0);
    fixture_recipient(f, "<three@example.net>", "");
    fixture_macro(f, STAGE_RCPT, "{rcpt_addr}", "three");
    assert_int_equal(fixture_job(f, HOOK_RECIPIENT), 0);
    struct job_recipient one;
    assert_true(job_recipient_at(&f->job, 2, &one));
    assert_true(slice_equal(one.address, slice_text("three@example.net")));
    assert_false(job_recipient_at(&f->job, 0, &one));
    assert_false(f->job.has_all_recipients);
    assert_true(
        slice_equal(job_macro(&f->job, STAGE_EOM, slice_text("rcpt_addr")), slice_text("three")));
    assert_int_equal(job_recipients(&f->job, &list, &n), 0);
    assert_int_equal(n, 2);
    assert_true(slice_equal(list[0].address, slice_text("one@example.net")));
    assert_true(slice_equal(list[0].args, slice_text("NOTIFY=NEVER")));
    assert_true(slice_equal(list[1].address, slice_text("three@example.net")));
    assert_true(job_recipient_at(&f->job, 1, &one));
    assert_true(slice_equal(one.address, slice_text("two@example.net")));
    assert_false(job_recipient_at(&f->job, 3, &one));

    assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
    assert_null(job_macro(&f->job, STAGE_EOM, slice_text("rcpt_addr")).data);
    add(f, ACTION_DELETE_RECIPIENT, 0, NULL, "one@Example.NET");
    add(f, ACTION_ADD_RECIPIENT, 0, NULL, "new@example.net");
    assert_int_equal(job_recipients(&f->job, &list, &n), 0);
    assert_int_equal(n, 2);
    assert_true(slice_equal(list[0].address, slice_text("three@example.net")));
    assert_null(list[1].received);
    assert_false(job_lost_all_recipients(&f->job));
    struct slice spelling;
    assert_true(job_find_recipient(&f->job, slice_text("Three@Example.net"), &spelling));
    assert_true(slice_equal(spelling, slice_text("three@example.net")));
    assert_true(job_find_recipient(&f->job, slice_text("NEW@example.net"), &spelling));
    assert_false(job_find_recipient(&f->job, slice_text("two@example.net"), &spelling));
    add(f, ACTION_DELETE_RECIPIENT, 0, NULL, "new@example.net");
    add(f, ACTION_DELETE_RECIPIENT, 0, NULL, "three@example.net");
    assert_true(job_lost_all_recipients(&f->job));
}

struct fit_row {
    enum action_kind kinds[3];
    const char *addresses[3];
    const char *left; /* of Boss@example.net, boss@Example.net, x@example.net */
};

/* What a filter reads is what milterd will do (plan_fit_recipients). */
static void test_recipients_fit(void **state)
{
    struct worker_fixture *f = *state;
    static const struct fit_row rows[] = {
        {{ACTION_ADD_RECIPIENT}, {"X@example.net"},
            "Boss@example.net boss@Example.net x@example.net X@example.net "},
        {{ACTION_ADD_RECIPIENT}, {"x@EXAMPLE.NET"},
            "Boss@example.net boss@Example.net x@example.net "},
        {{ACTION_ADD_RECIPIENT, ACTION_ADD_RECIPIENT}, {"n@example.net", "n@EXAMPLE.net"},
            "Boss@example.net boss@Example.net x@example.net n@EXAMPLE.net "},
        {{ACTION_DELETE_RECIPIENT}, {"boss@EXAMPLE.net"}, "Boss@example.net x@example.net "},
        {{ACTION_DELETE_RECIPIENT}, {"BOSS@example.net"},
            "Boss@example.net boss@Example.net x@example.net "},
        {{ACTION_DELETE_RECIPIENT, ACTION_ADD_RECIPIENT}, {"x@Example.net", "x@example.net"},
            "Boss@example.net boss@Example.net x@example.net "},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct job_recipient *list;
        struct buf left;
        uint32_t n;
        fixture_rewind(f);
        fixture_connect(f, '4', "192.0.2.1", 1, "x");
        fixture_sender(f, "<a@example.org>", "");
        fixture_recipient(f, "<Boss@example.net>", "");
        fixture_recipient(f, "<boss@Example.net>", "");
        fixture_recipient(f, "<x@example.net>", "");
        assert_int_equal(fixture_job(f, HOOK_DATA), 0);
        for (int a = 0; a < 3 && rows[i].addresses[a] != NULL; a++)
            add(f, rows[i].kinds[a], 0, NULL, rows[i].addresses[a]);
        assert_int_equal(job_recipients(&f->job, &list, &n), 0);
        buf_init(&left, 1000);
        for (uint32_t r = 0; r < n; r++)
            assert_int_equal(
                buf_printf(&left, "%.*s ", (int)list[r].address.len, list[r].address.data), 0);
        assert_true(slice_equal(buf_slice(&left), slice_text(rows[i].left)));
        buf_clear(&left);
    }
}

static void test_find_recipient(void **state)
{
    struct worker_fixture *f = *state;
    struct slice found;
    fixture_rewind(f);
    fixture_connect(f, '4', "192.0.2.1", 1, "x");
    fixture_sender(f, "<a@example.org>", "");
    fixture_recipient(f, "<Boss@example.net>", "");
    fixture_recipient(f, "<boss@Example.net>", "");
    assert_int_equal(fixture_job(f, HOOK_RECIPIENT), 0);
    assert_true(job_find_recipient(&f->job, slice_text("boss@example.net"), &found));
    assert_true(slice_equal(found, slice_text("boss@Example.net")));
    assert_false(f->job.has_all_recipients);
    assert_true(job_find_recipient(&f->job, slice_text("Boss@EXAMPLE.net"), &found));
    assert_true(slice_equal(found, slice_text("Boss@example.net")));
    assert_true(job_find_recipient(&f->job, slice_text("BOSS@example.net"), &found));
    add(f, ACTION_DELETE_RECIPIENT, 0, NULL, "Boss@example.net");
    add(f, ACTION_DELETE_RECIPIENT, 0, NULL, "boss@Example.net");
    assert_false(job_find_recipient(&f->job, slice_text("boss@example.net"), &found));
    add(f, ACTION_ADD_RECIPIENT, 0, NULL, "boss@example.net");
    assert_true(job_find_recipient(&f->job, slice_text("boss@example.net"), &found));
}

/* Look-ups see each change at once, and none that was taken back. */
static void test_find_after_drops(void **state)
{
    struct worker_fixture *f = *state;
    struct slice found;
    char address[64];
    open_message(f, "Subject: x\n\nbody\n");
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            snprintf(address, sizeof(address), "n%d-%d@example.org", i, round);
            assert_false(job_find_recipient(&f->job, slice_text(address), &found));
            add(f, ACTION_ADD_RECIPIENT, 0, NULL, address);
            assert_true(job_find_recipient(&f->job, slice_text(address), &found));
        }
        add(f, ACTION_DELETE_RECIPIENT, 0, NULL, "n7-0@example.org");
        assert_false(job_find_recipient(&f->job, slice_text("N7-0@example.org"), &found));
        job_drop_actions(&f->job, 7);
        for (int i = 0; i < 100; i++) {
            snprintf(address, sizeof(address), "N%d-0@example.ORG", i);
            assert_int_equal(job_find_recipient(&f->job, slice_text(address), &found), i < 7);
        }
    }
}

static void test_ten_thousand_recipients(void **state)
{
    struct worker_fixture *f = *state;
    const struct job_recipient *list;
    uint32_t n;
    char address[64];
    fixture_rewind(f);
    fixture_connect(f, '4', "192.0.2.1", 1, "x");
    fixture_sender(f, "<a@example.org>", "");
    for (int i = 0; i < 10000; i++) {
        snprintf(address, sizeof(address), "<r%d@example.net>", i);
        fixture_recipient(f, address, "");
    }
    assert_int_equal(fixture_job(f, HOOK_RECIPIENT), 0);
    assert_int_equal(f->job.envelope.n_recipients, 1);
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
    for (int i = 0; i < 10000; i += 2) {
        struct slice found;
        snprintf(address, sizeof(address), "R%d@example.net", i);
        assert_true(job_find_recipient(&f->job, slice_text(address), &found));
        assert_int_equal(found.data[0], 'r');
        address[0] = 'r';
        add(f, ACTION_DELETE_RECIPIENT, 0, NULL, address);
        assert_false(job_find_recipient(&f->job, slice_text(address), &found));
    }
    assert_int_equal(job_recipients(&f->job, &list, &n), 0);
    assert_int_equal(n, 5000);
    assert_true(slice_equal(list[0].address, slice_text("r1@example.net")));
}

static void test_sender(void **state)
{
    struct worker_fixture *f = *state;
    open_message(f, "Subject: x\n\nbody\n");
    assert_true(slice_equal(job_sender(&f->job), slice_text("a@example.org")));
    add(f, ACTION_SET_SENDER, 0, NULL, "b@example.org");
    assert_true(slice_equal(job_sender(&f->job), slice_text("b@example.org")));
}

static void test_macros(void **state)
{
    struct worker_fixture *f = *state;
    fixture_rewind(f);
    fixture_connect(f, '4', "192.0.2.1", 1, "x");
    fixture_macro(f, STAGE_CONNECT, "j", "host");
    fixture_macro(f, STAGE_CONNECT, "{daemon_name}", "MTA");
    fixture_sender(f, "<a@example.org>", "");
    fixture_macro(f, STAGE_MAIL, "{auth_authen}", "");
    fixture_recipient(f, "<b@example.net>", "");
    fixture_macro(f, STAGE_DATA, "i", "QUEUEID");
    assert_int_equal(fixture_job(f, HOOK_MESSAGE), 0);
    static const struct {
        enum stage last;
        const char *name, *value;
    } rows[] = {
        {STAGE_EOM, "i", "QUEUEID"},
        {STAGE_EOM, "{i}", "QUEUEID"},
        {STAGE_HELO, "i", NULL},
        {STAGE_EOM, "daemon_name", "MTA"},
        {STAGE_EOM, "{daemon_name}", "MTA"},
        {STAGE_EOM, "auth_authen", ""},
        {STAGE_EOM, "none", NULL},
        {STAGE_EOM, "", NULL},
        {STAGE_EOM, "{}", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct slice got = job_macro(&f->job, rows[i].last, slice_text(rows[i].name));
        assert_int_equal(got.data != NULL, rows[i].value != NULL);
        if (rows[i].value != NULL)
            assert_true(slice_equal(got, slice_text(rows[i].value)));
    }
}

static void test_knows(void **state)
{
    struct worker_fixture *f = *state;
    static const struct {
        enum hook hook, first;
        bool knows;
    } rows[] = {
        {HOOK_RELAY, HOOK_HELO, false},
        {HOOK_HELO, HOOK_HELO, true},
        {HOOK_UNKNOWN, HOOK_HELO, true},
        {HOOK_CLOSE, HOOK_SENDER, false},
        {HOOK_ABORT, HOOK_RECIPIENT, true},
        {HOOK_ABORT, HOOK_HEADERS, false},
        {HOOK_HEADER, HOOK_HEADERS, false},
        {HOOK_BODY, HOOK_HEADERS, true},
        {HOOK_BODY, HOOK_MESSAGE, false},
        {HOOK_MESSAGE, HOOK_MESSAGE, true},
    };
    fixture_rewind(f);
    fixture_envelope(f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(fixture_job(f, rows[i].hook), 0);
        assert_int_equal(job_knows(&f->job, rows[i].first), rows[i].knows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses_malformed),
        cmocka_unit_test(test_empty_is_fine),
        cmocka_unit_test(test_parts_of_message),
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_render_too_big),
        cmocka_unit_test(test_render_cut),
        cmocka_unit_test(test_changes_travel),
        cmocka_unit_test(test_capabilities),
        cmocka_unit_test(test_too_many_changes),
        cmocka_unit_test(test_recipients),
        cmocka_unit_test(test_recipients_fit),
        cmocka_unit_test(test_find_recipient),
        cmocka_unit_test(test_find_after_drops),
        cmocka_unit_test(test_ten_thousand_recipients),
        cmocka_unit_test(test_sender),
        cmocka_unit_test(test_macros),
        cmocka_unit_test(test_knows),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
