/* What msg:trap and part:trap keep, and what the mail's answer becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"

#include "tests/unit/trap_fixture.h"

static void is_text(const json_t *facts, const char *name, const char *wanted)
{
    const char *text = json_string_value(json_object_get(facts, name));
    assert_non_null(text);
    assert_string_equal(text, wanted);
}

/* What a person does with posternctl. */
static int set_state(json_t *facts, void *context)
{
    const char *state = context;
    json_object_set_new(facts, "state", json_string(state));
    return 0;
}

static void decide(struct trap_test *t, const char *state)
{
    struct trap_rows rows = trap_test_rows(t, 1);
    assert_int_equal(
        t->store->calls->change(t->store, rows.items[0].id, set_state, (void *)(uintptr_t)state),
        0);
    trap_rows_clear(&rows);
}

static void reply_has(const struct trap_test *t, unsigned code, const char *part)
{
    assert_int_equal(t->f.reply.code, code);
    assert_non_null(memmem(t->f.reply.text.data, t->f.reply.text.len, part, strlen(part)));
}

static void log_has(const struct trap_test *t, const char *part)
{
    assert_non_null(
        memmem(t->f.reply.log_fields.data, t->f.reply.log_fields.len, part, strlen(part)));
}

/* ---- the modes ---- */

static void a_copy_is_kept_as_received(void **state)
{
    (void)state;
    struct trap_test t;
    struct buf content;
    char id[TRAP_ID_CHARS + 1];
    trap_test_begin(&t,
        "msg:add_header('X-A', 'b') assert(msg:trap{ reason = 'looks\\27 odd\\r\\nX: y' })", NULL);
    trap_test_run(&t, trap_test_mail, VERDICT_CONTINUE);
    json_t *facts = trap_test_only_facts(&t, id);
    assert_int_equal(t.store->calls->read(t.store, id, &content), 0);
    assert_int_equal(content.len, t.f.message.len);
    assert_memory_equal(content.data, t.f.message.data, content.len);
    buf_clear(&content);
    is_text(facts, "id", id);
    is_text(facts, "kind", "message");
    is_text(facts, "mode", "copy");
    is_text(facts, "state", "kept");
    is_text(facts, "reason", "looks  odd  X: y");
    is_text(facts, "where", "filter.lua:2");
    is_text(facts, "sender", "a@example.org");
    is_text(facts, "helo", "mx.example.org");
    is_text(facts, "subject", "caf\xc3\xa9 \x1b[31m");
    is_text(facts, "message_id", "<one@example.org>");
    is_text(facts, "uid", "CONN1.1");
    is_text(facts, "verdict", "continue");
    is_text(json_object_get(facts, "client"), "ip", "192.0.2.1");
    const json_t *parts = json_object_get(facts, "parts");
    assert_int_equal(json_array_size(parts), 2);
    is_text(json_array_get(parts, 1), "filename", "../../x.exe");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(parts, 1), "size")), 7);
    is_text(json_array_get(json_object_get(facts, "recipients"), 0), "address", "b@example.net");
    assert_true(t.f.reply.changes.len > 0);
    log_has(&t, id);
    json_decref(facts);
    trap_test_end(&t);
}

static void the_same_mail_is_kept_once(void **state)
{
    (void)state;
    struct trap_test t;
    trap_test_begin(&t, "msg:trap()", NULL);
    trap_test_run(&t, trap_test_mail, VERDICT_CONTINUE);
    trap_test_run(&t, trap_test_mail, VERDICT_CONTINUE);
    t.f.request.attempt = 2;
    trap_test_run(&t, trap_test_mail, VERDICT_CONTINUE);
    struct trap_rows rows = trap_test_rows(&t, 1);
    trap_rows_clear(&rows);
    /* Another body, sender or recipient is another trap_test_mail; another order of recipients is
     * not. */
    trap_test_run(&t, "Subject: other\n\nx\n", VERDICT_CONTINUE);
    for (int i = 0; i < 2; i++) {
        fixture_start(&t.f, trap_test_mail);
        fixture_recipient(&t.f, i == 0 ? "<c@example.net>" : "<d@example.net>", "");
        fixture_recipient(&t.f, i == 0 ? "<d@example.net>" : "<c@example.net>", "");
        fixture_run_ok(&t.f, HOOK_MESSAGE, VERDICT_CONTINUE);
    }
    rows = trap_test_rows(&t, 3);
    trap_rows_clear(&rows);
    trap_test_end(&t);
}

static void stored_mail_goes_to_nobody(void **state)
{
    (void)state;
    struct trap_test t;
    trap_test_begin(
        &t, "msg:add_header('X-A', 'b') msg:trap{ mode = 'store' } return accept()", NULL);
    trap_test_run(&t, trap_test_mail, VERDICT_DISCARD);
    assert_int_equal(t.f.reply.changes.len, 0);
    assert_memory_equal(t.f.reply.where.data, "filter.lua:2", t.f.reply.where.len);
    trap_test_run(&t, trap_test_mail, VERDICT_DISCARD);
    decide(&t, "released"); /* its recipients have it from posternctl */
    trap_test_run(&t, trap_test_mail, VERDICT_DISCARD);
    trap_test_end(&t);
}

static int set_handed_on(json_t *facts, void *context)
{
    (void)context;
    json_object_set_new(facts, "handed_on", json_true());
    return 0;
}

static void deferred_mail_follows_the_decision(void **state)
{
    (void)state;
    struct trap_test t;
    char id[TRAP_ID_CHARS + 1];
    trap_test_begin(&t, "msg:add_header('X-A', 'b') msg:trap{ mode = 'defer' }", NULL);
    for (int i = 0; i < 2; i++) {
        trap_test_run(&t, trap_test_mail, VERDICT_TEMPFAIL);
        reply_has(&t, 451, "Held for review, try again later (CONN1.1)");
        assert_int_equal(t.f.reply.changes.len, 0);
    }
    json_t *facts = trap_test_only_facts(&t, id);
    is_text(facts, "state", "waiting");
    json_decref(facts);
    decide(&t, "refused");
    trap_test_run(&t, trap_test_mail, VERDICT_REJECT);
    reply_has(&t, 550, "Refused after review");
    decide(&t, "released");
    trap_test_run(&t, trap_test_mail, VERDICT_CONTINUE);
    assert_true(t.f.reply.changes.len > 0);
    assert_int_equal(t.store->calls->change(t.store, id, set_handed_on, NULL), 0);
    trap_test_run(&t, trap_test_mail, VERDICT_DISCARD);
    trap_test_end(&t);
}

static void refused_mail_is_kept_too(void **state)
{
    (void)state;
    static const struct {
        const char *verdict, *name;
        enum verdict wanted;
    } rows[] = {
        {"reject('no')", "reject", VERDICT_REJECT},
        {"discard()", "discard", VERDICT_DISCARD},
        {"tempfail('later')", "tempfail", VERDICT_TEMPFAIL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct trap_test t;
        char id[TRAP_ID_CHARS + 1];
        char code[200];
        snprintf(code, sizeof(code), "msg:trap{ mode = '%s' } return %s",
            i == 0 ? "defer" : "store", rows[i].verdict);
        trap_test_begin(&t, code, NULL);
        trap_test_run(&t, trap_test_mail, rows[i].wanted);
        json_t *facts = trap_test_only_facts(&t, id);
        is_text(facts, "verdict", rows[i].name);
        json_decref(facts);
        trap_test_end(&t);
    }
}

static void the_strictest_of_several_calls_counts(void **state)
{
    (void)state;
    struct trap_test t;
    char id[TRAP_ID_CHARS + 1];
    trap_test_begin(&t,
        "msg:trap{ reason = 'one' } msg:trap{ mode = 'store', reason = 'two' } msg:trap() "
        "msg:trap{ reason = 'three' }",
        NULL);
    trap_test_run(&t, trap_test_mail, VERDICT_DISCARD);
    json_t *facts = trap_test_only_facts(&t, id);
    is_text(facts, "mode", "store");
    is_text(facts, "reason", "one; two; three");
    json_decref(facts);
    trap_test_end(&t);
}

static void another_mode_later_counts(void **state)
{
    (void)state;
    struct trap_test t;
    char id[TRAP_ID_CHARS + 1];
    trap_test_begin(&t, "msg:trap{ mode = msg.subject == 'x' and 'copy' or msg.conn.helo }", NULL);
    const char *const modes[] = {"copy", "defer", "store", "copy"};
    const enum verdict verdicts[] = {
        VERDICT_CONTINUE, VERDICT_TEMPFAIL, VERDICT_DISCARD, VERDICT_CONTINUE};
    for (size_t i = 0; i < 4; i++) {
        fixture_rewind(&t.f);
        fixture_connect(&t.f, '4', "192.0.2.1", 1, "mx.example.org");
        fixture_helo(&t.f, modes[i]);
        fixture_sender(&t.f, "<a@example.org>", "");
        fixture_recipient(&t.f, "<b@example.net>", "");
        fixture_message(&t.f, trap_test_mail);
        fixture_run_ok(&t.f, HOOK_MESSAGE, verdicts[i]);
        json_t *facts = trap_test_only_facts(&t, id);
        is_text(facts, "mode", modes[i]);
        is_text(facts, "state", i == 1 ? "waiting" : "kept");
        json_decref(facts);
    }
    trap_test_end(&t);
}

/* ---- parts ---- */

static void a_part_is_kept_decoded(void **state)
{
    (void)state;
    struct trap_test t;
    char id[TRAP_ID_CHARS + 1];
    struct buf content;
    trap_test_begin(&t,
        "for part in msg:parts() do if part:has_extension('exe') then part:trap('first') "
        "part:trap('program') end end return reject('no')",
        NULL);
    trap_test_run(&t, trap_test_mail, VERDICT_REJECT);
    trap_test_run(&t, trap_test_mail, VERDICT_REJECT);
    json_t *facts = trap_test_only_facts(&t, id);
    is_text(facts, "kind", "part");
    is_text(facts, "part", "1.2");
    is_text(facts, "reason", "program");
    assert_int_equal(json_integer_value(json_object_get(facts, "bytes")), 7);
    assert_int_equal(t.store->calls->read(t.store, id, &content), 0);
    assert_int_equal(content.len, 7);
    assert_memory_equal(content.data, "MZhello", 7);
    buf_clear(&content);
    json_decref(facts);
    trap_test_end(&t);
}

/* ---- what is not kept ---- */

static void a_hook_that_fails_keeps_nothing(void **state)
{
    (void)state;
    struct trap_test t;
    trap_test_begin(&t, "msg:trap() msg.root:trap() error('no')", NULL);
    fixture_start(&t.f, trap_test_mail);
    fixture_run_error(&t.f, HOOK_MESSAGE, "no");
    assert_int_equal(trap_store_open(t.f.conf, false, &t.store), -ERR_NOTFOUND);
    trap_test_end(&t);
}

static void without_deeds_it_is_only_told(void **state)
{
    (void)state;
    struct trap_test t;
    trap_test_begin(&t, "msg:trap{ mode = 'store', reason = 'why' }", NULL);
    fixture_filter(&t.f, "function filter_message(msg) msg.root:trap('part') msg:trap{ mode = "
                         "'store', reason = 'why' } end");
    trap_test_run(&t, trap_test_mail, VERDICT_DISCARD);
    log_has(&t, "store: why");
    log_has(&t, "1: part");
    assert_int_equal(trap_store_open(t.f.conf, false, &t.store), -ERR_NOTFOUND);
    trap_test_end(&t);
}

/* Whatever worker.on_error says, and though the filter catches what it can. */
static void what_cannot_be_kept_is_not_accepted(void **state)
{
    (void)state;
    static const char *const options[] = {"trap.directory=/nonexistent/trap",
        "trap.max_bytes=65536", "trap.min_free=1T", "trap.directory=/tmp"};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        struct trap_test t;
        trap_test_begin(&t,
            "pcall(msg.trap, msg) msg:set_header('X-A', ('x'):rep(60000)) "
            "if msg.size > 60000 then return accept() end",
            options[i]);
        t.f.conf->worker.on_error = FAILURE_ACCEPT;
        char *big = malloc(80000);
        assert_non_null(big);
        memset(big, 'x', 80000);
        memcpy(big, "Subject: x\n\n", 12);
        big[79999] = '\0';
        trap_test_run(&t, big, VERDICT_TEMPFAIL);
        free(big);
        reply_has(&t, 451, "CONN1.1");
        assert_int_equal(t.f.reply.changes.len, 0);
        log_has(&t, "failed: ");
        trap_test_end(&t);
    }
}

static void a_full_folder_takes_no_more(void **state)
{
    (void)state;
    struct trap_test t;
    trap_test_begin(&t, "msg:trap()", "trap.max_files=2");
    trap_test_run(&t, "Subject: 1\n\n1\n", VERDICT_CONTINUE);
    trap_test_run(&t, "Subject: 2\n\n2\n", VERDICT_CONTINUE);
    trap_test_run(&t, "Subject: 3\n\n3\n", VERDICT_TEMPFAIL);
    trap_test_run(&t, "Subject: 2\n\n2\n", VERDICT_CONTINUE); /* it is there already */
    struct trap_rows rows = trap_test_rows(&t, 2);
    assert_int_equal(t.store->calls->remove(t.store, rows.items[0].id), 0);
    assert_int_equal(t.store->calls->remove(t.store, rows.items[0].id), -ERR_NOTFOUND);
    trap_rows_clear(&rows);
    trap_test_run(&t, "Subject: 3\n\n3\n", VERDICT_CONTINUE);
    rows = trap_test_rows(&t, 2);
    trap_rows_clear(&rows);
    trap_test_end(&t);
}

static void misuse_raises(void **state)
{
    (void)state;
    static const struct {
        const char *code, *error;
    } rows[] = {
        {"msg:trap{ mode = 'keep' }", "mode is \"copy\""},
        {"msg:trap{ mode = 5 }", "mode is \"copy\""},
        {"msg:trap{ reason = {} }", "reason is a text"},
        {"msg:trap{ raeson = 'x' }", "raeson"},
        {"msg:trap('copy')", "table expected"},
        {"msg.trap()", "call it as msg:trap"},
        {"msg.root:trap({})", "string expected"},
        {"msg.root.trap()", "call it as part:trap"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct trap_test t;
        trap_test_begin(&t, rows[i].code, NULL);
        fixture_start(&t.f, trap_test_mail);
        fixture_run_error(&t.f, HOOK_MESSAGE, rows[i].error);
        trap_test_end(&t);
    }
    struct worker_fixture f;
    fixture_open(&f, NULL);
    fixture_envelope(&f);
    fixture_lua_error(&f, HOOK_SENDER, "msg:trap()", "known from filter_message");
    fixture_close(&f);
}

/* ---- released mail ---- */

static void make_mark(
    struct trap_test *t, const char *body, int64_t time_secs, char out[TRAP_MARK_MAX])
{
    uint8_t secret[KEYED_HASH_BYTES];
    struct trap_store *store;
    assert_int_equal(trap_store_open(t->f.conf, true, &store), 0);
    assert_int_equal(store->calls->secret(store, secret), 0);
    trap_store_close(store);
    trap_mark_make(secret, "abcdefghijklmnopqrstuvwx", time_secs, slice_text(body), out);
}

static void released_mail_is_not_kept_again(void **state)
{
    (void)state;
    struct trap_test t;
    char mark[TRAP_MARK_MAX];
    const int64_t now = (int64_t)time(NULL);
    const struct {
        const char *body, *format;
        int64_t time_secs;
        bool is_good;
    } rows[] = {
        {"hello\r\n", "X-Postern-Released: %s\nSubject: x\n\nhello\n", now, true},
        {"hello", "Subject: x\nx-postern-released:%s\n\nhello\n\n", now - 86400, true},
        {"hello\n", "X-Postern-Released: no\nX-Postern-Released: %s\n\nhello\n", now, true},
        {"hello\r\n", "X-Postern-Released: %s\n\nhello!\n", now, false},
        {"hello\r\n", "X-Postern-Released: %s\n\nhel\nlo\n", now, false},
        {"hello\r\n", "X-Postern-Released: %s0\n\nhello\n", now, false},
        {"hello\r\n", "X-Postern-Released: %.60s\n\nhello\n", now, false},
        {"hello\r\n", "X-Postern-Released: %s\n\nhello\n", now - 8 * 86400, false},
        {"hello\r\n", "X-Postern-Released: %s\n\nhello\n", now + 3600, false},
    };
    trap_test_begin(&t,
        "local kept, why = msg:trap{ mode = 'store' } local part, also = msg.root:trap() "
        "assert(why == also) if not kept then assert(why == 'released') return accept() end",
        NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char message[512];
        make_mark(&t, rows[i].body, rows[i].time_secs, mark);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(message, sizeof(message), rows[i].format, mark);
#pragma GCC diagnostic pop
        trap_test_run(&t, message, rows[i].is_good ? VERDICT_ACCEPT : VERDICT_DISCARD);
        if (rows[i].is_good)
            assert_null(strstr(fixture_rendered(&t.f), "Released"));
    }
    trap_test_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_kept_as_received),
        cmocka_unit_test(the_same_mail_is_kept_once),
        cmocka_unit_test(stored_mail_goes_to_nobody),
        cmocka_unit_test(deferred_mail_follows_the_decision),
        cmocka_unit_test(refused_mail_is_kept_too),
        cmocka_unit_test(the_strictest_of_several_calls_counts),
        cmocka_unit_test(another_mode_later_counts),
        cmocka_unit_test(a_part_is_kept_decoded),
        cmocka_unit_test(a_hook_that_fails_keeps_nothing),
        cmocka_unit_test(without_deeds_it_is_only_told),
        cmocka_unit_test(what_cannot_be_kept_is_not_accepted),
        cmocka_unit_test(a_full_folder_takes_no_more),
        cmocka_unit_test(misuse_raises),
        cmocka_unit_test(released_mail_is_not_kept_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
