/* conn, the envelope of msg, and rcpt as a filter sees them: each field and method, what is known
 * when, wrong use, and later hooks that see the changes of earlier ones. */
#include "tests/unit/lapi_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- conn ---- */

static void test_conn_facts(void **state)
{
    (void)state;
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '6', "::ffff:192.0.2.77", 4321, "mx.example.org");
    fixture_macro(&lapi, STAGE_CONNECT, "{client_resolve}", "OK");
    fixture_macro(&lapi, STAGE_CONNECT, "{client_ptr}", "ptr.example.org");
    fixture_macro(&lapi, STAGE_CONNECT, "{daemon_name}", "MTA-v4");
    fixture_macro(&lapi, STAGE_CONNECT, "{daemon_addr}", "0.0.0.0");
    fixture_macro(&lapi, STAGE_CONNECT, "{daemon_port}", "25");
    fixture_macro(&lapi, STAGE_CONNECT, "{if_addr}", "IPv6:2001:db8::25");
    fixture_macro(&lapi, STAGE_CONNECT, "v", "8.17.1.9");
    fixture_lua(&lapi, HOOK_RELAY,
        "eq(conn.id, 'CONN1') eq(conn.ip, '192.0.2.77') eq(conn.port, 4321)\n"
        "eq(conn.hostname, 'mx.example.org') eq(conn.ptr, 'ptr.example.org') eq(conn.rdns, 'ok')\n"
        "eq(conn.daemon, 'MTA-v4') eq(conn.local_ip, '2001:db8::25') eq(conn.local_port, 25)\n"
        "eq(conn.mta, 'sendmail') eq(conn.tls, nil) eq(conn.auth, nil)\n"
        "eq(conn.macros['{client_ptr}'], 'ptr.example.org') eq(conn.macros.client_ptr, "
        "'ptr.example.org')\n"
        "eq(conn.macros.v, '8.17.1.9') eq(conn.macros['{v}'], '8.17.1.9') eq(conn.macros.nix, "
        "nil)\n"
        "eq(conn.is_local, false) eq(conn.is_trusted, true)\n"
        "eq(conn.origin.ip, '192.0.2.77') eq(conn.origin.hostname, 'mx.example.org')\n"
        "eq(conn:in_network(), false) eq(conn:in_network('192.0.2.0/24'), true) "
        "eq(conn:in_network('10.0.0.0/8', "
        "'2001:db8::/32'), false)\n"
        "local n = 0 for name, value in pairs(conn.macros) do n = n + 1 eq(conn.macros[name], "
        "value) end eq(n, 7)");
    fixture_lua_error(
        &lapi, HOOK_RELAY, "return conn.helo", "conn.helo is known from filter_helo on");
    fixture_helo(&lapi, "he\xffllo");
    fixture_lua(&lapi, HOOK_HELO, "eq(conn.helo, 'he\xef\xbf\xbdllo')");
}

static void test_conn_without_address(void **state)
{
    (void)state;
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '?', "", 0, "localhost");
    fixture_lua(&lapi, HOOK_RELAY,
        "eq(conn.ip, nil) eq(conn.port, nil) eq(conn.local_ip, '') eq(conn.local_port, nil)\n"
        "eq(conn.is_local, true) eq(conn:in_network('0.0.0.0/0', '::/0'), false)\n"
        "eq(conn.origin.ip, nil) eq(conn.mta, '?') eq(conn.ptr, '')");
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '?', "", 0, "[unavailable]");
    fixture_lua(&lapi, HOOK_RELAY, "eq(conn.is_local, false) eq(conn.is_trusted, false)");
    fixture_rewind(&lapi);
    fixture_connect(&lapi, 'l', "", 0, "localhost");
    fixture_lua(&lapi, HOOK_RELAY, "eq(conn.is_local, true) eq(conn.is_trusted, true)");
}

static void test_conn_names(void **state)
{
    (void)state;
    static const struct {
        const char *hostname, *resolve, *code;
    } rows[] = {
        {"[192.0.2.200]", NULL, "eq(conn.hostname, '') eq(conn.rdns, 'fail')"},
        {"unknown", NULL, "eq(conn.hostname, '') eq(conn.rdns, 'fail')"},
        {"a.example", "FORGED", "eq(conn.hostname, '') eq(conn.rdns, 'forged')"},
        {"[192.0.2.200]", "TEMP", "eq(conn.hostname, '') eq(conn.rdns, 'temp')"},
        {"a.example", "OK", "eq(conn.hostname, 'a.example') eq(conn.rdns, 'ok')"},
        {"a.example", "nonsense", "eq(conn.hostname, 'a.example') eq(conn.rdns, 'ok')"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_rewind(&lapi);
        fixture_connect(&lapi, '4', "192.0.2.200", 1, rows[i].hostname);
        if (rows[i].resolve != NULL)
            fixture_macro(&lapi, STAGE_CONNECT, "{client_resolve}", rows[i].resolve);
        fixture_lua(&lapi, HOOK_RELAY, rows[i].code);
    }
}

static void test_conn_tls_auth(void **state)
{
    (void)state;
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '4', "203.0.113.5", 1, "[203.0.113.5]");
    fixture_macro(&lapi, STAGE_CONNECT, "v", "Postfix 3.7.11");
    fixture_helo(&lapi, "c");
    fixture_macro(&lapi, STAGE_HELO, "{tls_version}", "TLSv1.3");
    fixture_macro(&lapi, STAGE_HELO, "{cipher}", "AES");
    fixture_macro(&lapi, STAGE_HELO, "{cipher_bits}", "256");
    fixture_macro(&lapi, STAGE_HELO, "{verify}", "OK");
    fixture_macro(&lapi, STAGE_HELO, "{cert_subject}", "CN=a");
    fixture_macro(&lapi, STAGE_HELO, "{cert_issuer}", "CN=b");
    fixture_sender(&lapi, "<a@example.org>", "");
    fixture_macro(&lapi, STAGE_MAIL, "{auth_authen}", "joe");
    fixture_macro(&lapi, STAGE_MAIL, "{auth_type}", "PLAIN");
    fixture_macro(&lapi, STAGE_MAIL, "{auth_author}", "joe2");
    fixture_lua(&lapi, HOOK_SENDER,
        "local conn = msg.conn eq(conn.mta, 'postfix')\n"
        "local t = conn.tls eq(t.version, 'TLSv1.3') eq(t.cipher, 'AES') eq(t.bits, 256)\n"
        "eq(t.verify, 'OK') eq(t.subject, 'CN=a') eq(t.issuer, 'CN=b')\n"
        "local a = conn.auth eq(a.user, 'joe') eq(a.mech, 'PLAIN') eq(a.author, 'joe2')\n"
        "eq(conn.is_trusted, true) eq(msg.direction, 'out') eq(conn.macros.auth_authen, 'joe')");
    fixture_lua(&lapi, HOOK_CLOSE, "eq(conn.auth, nil) eq(conn.macros.auth_authen, nil)");
}

static void test_conn_origin(void **state)
{
    (void)state;
    static const char via[] = "Received: from one (uno [198.51.100.7]) by edge\n"
                              "X: y\n"
                              "Received: from two (dos [203.0.113.9]) by one\n"
                              "Received: from three (tres [203.0.113.10]) by two\n"
                              "\n\n";
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '4', "192.0.2.200", 1, "edge.example.org");
    fixture_helo(&lapi, "edge");
    fixture_sender(&lapi, "<a@example.org>", "");
    fixture_recipient(&lapi, "<b@example.org>", "");
    fixture_message(&lapi, via);
    fixture_lua_error(&lapi, HOOK_RELAY, "return conn.origin", "known from filter_headers on");
    fixture_lua_error(&lapi, HOOK_SENDER, "return msg.conn.origin",
        "conn.origin is known from filter_headers on");
    fixture_lua(&lapi, HOOK_HEADERS,
        "local o = msg.conn.origin eq(o.ip, '203.0.113.9') eq(o.helo, 'two') eq(o.hostname, "
        "'dos')");
    fixture_message(&lapi, "Received: garbage\n\n");
    fixture_lua(&lapi, HOOK_HEADERS,
        "local o = msg.conn.origin eq(o.ip, '192.0.2.200') eq(o.helo, 'edge')");
    fixture_message(&lapi, "Received: from one (uno [198.51.100.7]) by edge\n\n");
    fixture_lua(&lapi, HOOK_HEADERS, "eq(msg.conn.origin.ip, '198.51.100.7')");
}

static void test_conn_wrong_use(void **state)
{
    (void)state;
    static const struct {
        const char *code, *part;
    } rows[] = {
        {"return conn.ipp", "did you mean 'ip'"},
        {"conn.ip = 'x'", "cannot be assigned"},
        {"conn.macros.x = 'y'", "cannot be changed"},
        {"return conn.macros[1]", "a macro's name is a text"},
        {"conn:in_network(1)", "network"},
        {"conn:in_network({})", "string expected"},
        {"conn:in_network('10.0.0.0/33')", "network"},
        {"conn:in_network('10.0.0.0/8', 'x')", "bad argument #2"},
        {"conn:in_network('10.0.0.0/8\\0')", "network"},
        {"conn.in_network('10.0.0.0/8')", "conn expected"},
        {"conn.in_network()", "conn expected"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_rewind(&lapi);
        fixture_connect(&lapi, '4', "192.0.2.1", 1, "x");
        fixture_lua_error(&lapi, HOOK_RELAY, rows[i].code, rows[i].part);
    }
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '4', "192.0.2.1", 1, "x");
    lapi.request.argument = slice_text("XFOO bar\xff");
    fixture_lua(&lapi, HOOK_UNKNOWN, "eq(command, 'XFOO bar\xef\xbf\xbd') eq(conn.helo, '')");
    lapi.request.argument = slice_of(NULL, 0);
}

/* ---- envelope ---- */

static void test_envelope(void **state)
{
    (void)state;
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '4', "203.0.113.1", 1, "x");
    fixture_sender(&lapi, "<Joe.X@Example.ORG>", "SIZE=1024 smtputf8 BODY=8BITMIME");
    fixture_macro(&lapi, STAGE_MAIL, "i", "QID1");
    fixture_lua(&lapi, HOOK_SENDER,
        "eq(msg.sender, 'Joe.X@Example.ORG') eq(msg.sender_domain, 'example.org')\n"
        "eq(msg.sender_local, 'Joe.X') eq(msg.sender_args.SIZE, '1024')\n"
        "eq(msg.sender_args.SMTPUTF8, true) eq(msg.sender_args.BODY, '8BITMIME')\n"
        "eq(msg.uid, 'CONN1.1') eq(msg.id, 'QID1') eq(msg.attempt, 1) eq(msg.direction, 'in')\n"
        "eq(msg.macros.i, 'QID1') eq(msg.conn.id, 'CONN1')");
    fixture_lua_error(&lapi, HOOK_SENDER, "return msg.recipients",
        "msg.recipients is known from filter_recipient on");
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '4', "203.0.113.1", 1, "x");
    fixture_sender(&lapi, "<>", "");
    fixture_lua(&lapi, HOOK_SENDER,
        "eq(msg.sender, '') eq(msg.sender_domain, '') eq(msg.sender_local, '')\n"
        "eq(next(msg.sender_args), nil) eq(msg.id, nil)");
}

static void start_recipients(void)
{
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '4', "203.0.113.1", 1, "x");
    fixture_sender(&lapi, "<a@example.org>", "");
    fixture_recipient(&lapi, "<One@Example.net>", "NOTIFY=NEVER");
    fixture_macro(&lapi, STAGE_RCPT, "{rcpt_mailer}", "local");
    fixture_recipient(&lapi, "<two@example.net>", "");
    assert_int_equal(envelope_put_refused(&lapi.envelope, 1), 0);
    fixture_recipient(&lapi, "<three@example.com>", "");
    fixture_macro(&lapi, STAGE_RCPT, "{rcpt_mailer}", "esmtp");
    fixture_macro(&lapi, STAGE_RCPT, "{rcpt_host}", "example.com");
    fixture_macro(&lapi, STAGE_RCPT, "{rcpt_addr}", "three");
    fixture_message(&lapi, "Subject: x\n\nbody\n");
}

static void test_rcpt(void **state)
{
    (void)state;
    start_recipients();
    fixture_lua(&lapi, HOOK_RECIPIENT,
        "eq(rcpt.address, 'three@example.com') eq(rcpt.domain, 'example.com')\n"
        "eq(rcpt.localpart, 'three') eq(tostring(rcpt), rcpt.address) eq(next(rcpt.args), nil)\n"
        "eq(rcpt.mailer, 'esmtp') eq(rcpt.host, 'example.com') eq(rcpt.user, 'three')\n"
        "eq(rcpt.macros.rcpt_host, 'example.com') eq(rcpt.macros['{rcpt_host}'], 'example.com')\n"
        "eq(rcpt.macros.i, nil) eq(msg.macros.rcpt_addr, 'three')\n"
        "eq(rcpt:matches{'@example.org', 'THREE@'}, true) eq(rcpt:matches{}, false)\n"
        "eq(rcpt:matches('@example.com'), true) eq(rcpt:matches{'@.com'}, true)\n"
        "eq(#msg.recipients, 2) eq(msg.recipients[2], rcpt) eq(msg.recipients[1] == rcpt, false)\n"
        "eq(rcpt == 'three@example.com', false)\n"
        "local n = 0 for k, v in pairs(rcpt.macros) do n = n + 1 end eq(n, 3)");
    start_recipients();
    fixture_lua(&lapi, HOOK_MESSAGE,
        "local r = msg.recipients eq(#r, 2) eq(r[1].address, 'One@Example.net')\n"
        "eq(r[1].domain, 'example.net') eq(r[1].args.NOTIFY, 'NEVER') eq(r[1].mailer, 'local')\n"
        "eq(r[1].host, '') eq(r[2].user, 'three') eq(msg.macros.rcpt_addr, nil)");
    static const struct {
        const char *code, *part;
    } rows[] = {
        {"return rcpt.adress", "did you mean 'address'"},
        {"rcpt.address = 'x'", "cannot be assigned"},
        {"rcpt:matches()", "table expected"},
        {"rcpt:matches(7)", "table expected"},
        {"rcpt:matches{7}", "patterns are texts"},
        {"rcpt:matches{'a@', false}", "patterns are texts"},
        {"rcpt.matches{'a@'}", "rcpt expected"},
        {"return #rcpt", "attempt to get length"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start_recipients();
        fixture_lua_error(&lapi, HOOK_RECIPIENT, rows[i].code, rows[i].part);
    }
}

static void test_recipient_stays_cheap(void **state)
{
    (void)state;
    start_recipients();
    fixture_lua(&lapi, HOOK_RECIPIENT, "msg:delete_recipient(rcpt) eq(rcpt.user, 'three')");
    assert_false(lapi.job.has_all_recipients);
}

static void test_envelope_changes(void **state)
{
    (void)state;
    start_recipients();
    fixture_lua(&lapi, HOOK_MESSAGE,
        "msg:set_sender('<new@Example.com>', 'SIZE=7') eq(msg.sender, 'new@Example.com')\n"
        "eq(msg.sender_domain, 'example.com') eq(msg.sender_args.SIZE, '7')\n"
        "msg:set_sender('') eq(msg.sender, '')\n"
        "msg:add_recipient('four@example.net', { notify = 'NEVER', ORCPT = 'rfc822;x', X = true "
        "})\n"
        "eq(#msg.recipients, 3) eq(msg.recipients[3].args.NOTIFY, 'NEVER')\n"
        "eq(msg.recipients[3].args.X, true) eq(msg.recipients[3].mailer, '')\n"
        "for name in pairs(msg.recipients[3].macros) do error(name) end\n"
        "eq(msg:delete_recipient('ONE@example.NET'), true)\n"
        "eq(#msg.recipients, 2) eq(tostring(msg.recipients[1]), 'three@example.com')\n"
        "eq(msg:delete_recipient('two@example.net'), false)\n"
        "eq(msg:delete_recipient('<nobody@example.net>'), false)\n"
        "eq(msg:delete_recipient(msg.recipients[2]), true) eq(#msg.recipients, 1)");
    /* Rule 6: a later hook sees what an earlier one asked for. */
    fixture_lua(&lapi, HOOK_MESSAGE, "eq(msg.sender, '') eq(#msg.recipients, 1)");
}

static void test_lost_recipients(void **state)
{
    (void)state;
    start_recipients();
    fixture_lua(&lapi, HOOK_MESSAGE,
        "for _, r in ipairs(msg.recipients) do msg:delete_recipient(r) end eq(#msg.recipients, "
        "0)");
    assert_true(job_lost_all_recipients(&lapi.job));
    assert_string_equal(verdict_name(lapi.reply.verdict), "discard");
    start_recipients();
    fixture_lua(&lapi, HOOK_DATA,
        "for _, r in ipairs(msg.recipients) do msg:delete_recipient(r) end return accept()");
    assert_string_equal(verdict_name(lapi.reply.verdict), "discard");
    start_recipients();
    fixture_lua(
        &lapi, HOOK_DATA, "for _, r in ipairs(msg.recipients) do msg:delete_recipient(r) end");
    assert_string_equal(verdict_name(lapi.reply.verdict), "continue");
    fixture_lua(&lapi, HOOK_MESSAGE, "msg:add_recipient('x@example.org')");
    assert_string_equal(verdict_name(lapi.reply.verdict), "continue");
}

static void test_envelope_wrong_use(void **state)
{
    (void)state;
    static const struct {
        const char *code, *part;
    } rows[] = {
        {"msg:set_sender()", "string expected"},
        {"msg:set_sender({})", "string expected"},
        {"msg:set_sender('a b@example.org')", "no valid mail address"},
        {"msg:set_sender('a@example.org\\r\\nX: y')", "no valid mail address"},
        {"msg:set_sender('a@example.org', 7)", "table or string expected"},
        {"msg:set_sender('a@example.org', 'A\\nB')", "no valid ESMTP arguments"},
        {"msg:set_sender('a@example.org', { 'SIZE' })", "the keys of arguments"},
        {"msg:set_sender('a@example.org', { ['A B'] = true })", "the keys of arguments"},
        {"msg:set_sender('a@example.org', { SIZE = {} })", "the values of arguments"},
        {"msg:set_sender('a@example.org', { SIZE = false })", "the values of arguments"},
        {"msg:set_sender('a@example.org', { SIZE = 'a b' })", "a value has a blank"},
        {"msg:set_sender('a@example.org', { SIZE = 'a\\0' })", "a value has a blank"},
        {"msg:set_sender('a@example.org', { SIZE = '' })", "a value has a blank"},
        {"local t = {} for i = 1, 100 do t['A' .. i] = 'x' end msg:set_sender('a@x', t)",
            "too many arguments"},
        {"msg:add_recipient('')", "no valid mail address"},
        {"msg:add_recipient('<>')", "no valid mail address"},
        {"msg:add_recipient(string.rep('a', 1001) .. '@example.org')", "no valid mail address"},
        {"msg:add_recipient(nil)", "string expected"},
        {"msg:delete_recipient()", "rcpt or address expected"},
        {"msg:delete_recipient(5)", "rcpt or address expected"},
        {"msg:delete_recipient(msg)", "rcpt or address expected"},
        {"msg.sender = 'x'", "cannot be assigned"},
        {"return msg.sbuject", "did you mean 'subject'"},
        {"return msg[1]", "fields have names"},
        {"msg.set_sender('a@example.org')", "call it as msg:set_sender"},
        {"msg.set_sender()", "call it as msg:set_sender"},
        {"msg.set_sender(msg.conn, 'a@example.org')", "call it as msg:set_sender"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        lapi_bad(rows[i].code, rows[i].part);
}

static void test_odd_addresses(void **state)
{
    (void)state;
    char longest[1100];
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '4', "203.0.113.1", 1, "x");
    fixture_sender(&lapi, "<j\xc3\xb6@ex\xc3\xa4mple.org>", "SMTPUTF8");
    memset(longest, 'a', sizeof(longest));
    snprintf(longest + 1000, 20, "@example.net");
    fixture_recipient(&lapi, longest, "");
    fixture_recipient(&lapi, "\"odd @ one\"@example.net", "");
    fixture_recipient(&lapi, "nodomain", "");
    fixture_recipient(&lapi, "<\xff@example.net>", "");
    fixture_lua(&lapi, HOOK_MESSAGE,
        "eq(msg.sender, 'j\xc3\xb6@ex\xc3\xa4mple.org') eq(msg.sender_domain, "
        "'ex\xc3\xa4mple.org')\n"
        "local r = msg.recipients eq(#r, 4) eq(#r[1].localpart, 1000)\n"
        "eq(r[2].localpart, '\"odd @ one\"') eq(r[2].domain, 'example.net')\n"
        "eq(r[3].domain, '') eq(r[3].localpart, 'nodomain')\n"
        "eq(r[4].address, '\xef\xbf\xbd@example.net')\n"
        "for _, rcpt in ipairs(r) do eq(msg:delete_recipient(rcpt), true) end\n"
        "msg:add_recipient('x\xc3\xb6@example.org', 'SMTPUTF8') eq(#msg.recipients, 1)");
    assert_int_equal(lapi.job.n_added, 5);
    assert_true(slice_equal(lapi.job.added[3].address, slice_text("\xff@example.net")));
}

/* Reads and changes among ten thousand recipients end in reasonable time, whatever way a filter
 * goes about it. */
static void test_many_recipients(void **state)
{
    (void)state;
    char address[64];
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '4', "203.0.113.1", 1, "x");
    fixture_sender(&lapi, "<a@example.org>", "");
    for (int i = 1; i <= 10000; i++) {
        snprintf(address, sizeof(address), "<r%d@example.net>", i);
        fixture_recipient(&lapi, address, "");
    }
    fixture_lua(&lapi, HOOK_MESSAGE,
        "eq(#msg.recipients, 10000)\n"
        "for i = 1, 5000 do eq(msg:delete_recipient('r' .. i .. '@example.net'), true) end\n"
        "eq(#msg.recipients, 5000)\n"
        "for _, r in ipairs(msg.recipients) do msg:delete_recipient(r) end\n"
        "eq(#msg.recipients, 0) msg:add_recipient('last@example.org')");
    assert_string_equal(verdict_name(lapi.reply.verdict), "continue");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conn_facts),
        cmocka_unit_test(test_conn_without_address),
        cmocka_unit_test(test_conn_names),
        cmocka_unit_test(test_conn_tls_auth),
        cmocka_unit_test(test_conn_origin),
        cmocka_unit_test(test_conn_wrong_use),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_rcpt),
        cmocka_unit_test(test_recipient_stays_cheap),
        cmocka_unit_test(test_envelope_changes),
        cmocka_unit_test(test_lost_recipients),
        cmocka_unit_test(test_envelope_wrong_use),
        cmocka_unit_test(test_odd_addresses),
        cmocka_unit_test(test_many_recipients),
    };
    return cmocka_run_group_tests(tests, lapi_setup, lapi_teardown);
}
