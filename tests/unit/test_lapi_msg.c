/* msg as a filter sees it: header, bytes, content, whole-body changes; what is known when, wrong
 * use, and rules 3 and 6 of the filter contract. */
#include "tests/unit/lapi_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- header ---- */

static void test_header_reads(void **state)
{
    (void)state;
    lapi_good(
        "eq(msg.subject, 'gr\xc3\xbc\xc3\x9f"
        "e') eq(msg:header('subject'), msg.subject)\n"
        "eq(msg.message_id, '<1@example.org>') eq(msg:header('X-None'), nil)\n"
        "eq(#msg:headers('X-None'), 0) local m = msg:headers('x-many') eq(#m, 2) eq(m[2], '2')\n"
        "eq(msg:header('X-Fold'), 'one\\ttwo') eq(msg:raw_header('x-fold'), ' one\\r\\n\\ttwo')\n"
        "eq(msg:raw_header('Subject'), ' =?utf-8?q?gr=C3=BC=C3=9Fe?=')\n"
        "eq(msg:raw_header('X-None'), nil)\n"
        "local names = {} for name, value in msg:each_header() do names[#names + 1] = name end\n"
        "eq(table.concat(names, ' '), 'Received Subject Message-ID X-Fold X-Many X-Many')");
    fixture_start(&lapi, "\nbody\n");
    fixture_lua(&lapi, HOOK_MESSAGE,
        "eq(msg.subject, '') eq(msg.message_id, '') eq(msg:header('Subject'), nil)\n"
        "for name in msg:each_header() do error(name) end");
    fixture_start(&lapi, "Subject: \xff\xfe\n\nbody\n");
    fixture_lua(&lapi, HOOK_MESSAGE,
        "assert(utf8.len(msg.subject)) assert(utf8.len(msg:header('Subject')))");
}

static void test_header_changes(void **state)
{
    (void)state;
    lapi_good("msg:add_header('X-New', 'a') eq(msg:header('X-New'), 'a')\n"
              "msg:insert_header(0, 'X-Top', 'gr\xc3\xbc\xc3\x9f"
              "e') eq(msg:header('X-Top'), 'gr\xc3\xbc\xc3\x9f"
              "e')\n"
              "msg:set_header('Subject', 'new') eq(msg.subject, 'new')\n"
              "eq(msg:raw_header('Subject'), ' =?utf-8?q?gr=C3=BC=C3=9Fe?=')\n"
              "msg:set_header('X-Many', 'zwei', 2) eq(msg:headers('X-Many')[2], 'zwei')\n"
              "msg:delete_header('X-Many', 1) eq(#msg:headers('X-Many'), 1)\n"
              "msg:set_header('X-Absent', 7) eq(msg:header('X-Absent'), '7')\n"
              "msg:delete_header('X-Fold') eq(msg:header('X-Fold'), nil)\n"
              "for name in msg:each_header() do eq(name, 'X-Top') break end");
    const char *rendered = fixture_rendered(&lapi);
    assert_non_null(strstr(rendered, "X-Top: =?"));
    assert_non_null(strstr(rendered, "Received: from a (b [198.51.100.1]) by c\r\nSubject: new\r\n"
                                     "Message-ID: <1@example.org>\r\nX-Many: zwei\r\n"));
    assert_non_null(strstr(rendered, "X-New: a\r\nX-Absent: 7\r\n\r\nhello\r\n"));
    fixture_lua(&lapi, HOOK_MESSAGE, "eq(msg.subject, 'new') eq(msg:header('X-New'), 'a')");
}

static void test_header_loop_may_change(void **state)
{
    (void)state;
    lapi_good("local n = 0\n"
              "for name, value in msg:each_header() do n = n + 1 msg:delete_header(name) "
              "msg:add_header('Y-' .. name, value) end\n"
              "eq(n, 6) eq(msg:header('Subject'), nil) eq(msg:header('Y-Message-ID'), "
              "'<1@example.org>')");
}

static void test_header_in_early_hooks(void **state)
{
    (void)state;
    fixture_start(&lapi, lapi_plain);
    fixture_lua(
        &lapi, HOOK_SENDER, "msg:add_header('X-Early', '1') msg:set_header('Subject', 's')");
    fixture_lua(&lapi, HOOK_RECIPIENT, "msg:insert_header(1, 'X-Second', '2')");
    fixture_lua(&lapi, HOOK_HEADERS,
        "eq(msg.subject, 's') eq(msg:header('X-Early'), '1') eq(msg:header('X-Second'), '2')");
    static const struct {
        enum hook hook;
        const char *code, *part;
    } rows[] = {
        {HOOK_SENDER, "return msg.subject", "msg.subject is known from filter_headers on"},
        {HOOK_DATA, "return msg.message_id", "known from filter_headers on"},
        {HOOK_DATA, "return msg:header('x')", "msg:header() is known from filter_headers on"},
        {HOOK_HEADER, "return msg:headers('x')", "known from filter_headers on"},
        {HOOK_RECIPIENT, "return msg:raw_header('x')", "known from filter_headers on"},
        {HOOK_ABORT, "return msg:each_header()", "known from filter_headers on"},
        {HOOK_DATA, "return msg:raw_headers()", "known from filter_headers on"},
        {HOOK_HEADERS, "return msg.size", "msg.size is known from filter_message on"},
        {HOOK_BODY, "return msg:raw()", "known from filter_message on"},
        {HOOK_BODY, "return msg:raw_body()", "known from filter_message on"},
        {HOOK_BODY, "return msg:text()", "known from filter_message on"},
        {HOOK_BODY, "return msg.root", "known from filter_message on"},
        {HOOK_HEADERS, "return msg:parts()", "known from filter_message on"},
        {HOOK_HEADERS, "return msg:walk()", "known from filter_message on"},
        {HOOK_HEADERS, "return msg:urls()", "known from filter_message on"},
        {HOOK_HEADERS, "return msg:charsets()", "known from filter_message on"},
        {HOOK_HEADERS, "return msg.defects", "known from filter_message on"},
        {HOOK_HEADERS, "return msg.ambiguous", "known from filter_message on"},
        {HOOK_HEADERS, "return msg:to_eml()", "known from filter_message on"},
        {HOOK_BODY, "msg:append_text('x')", "known from filter_message on"},
        {HOOK_ABORT, "return msg:raw()", "known from filter_message on"},
        {HOOK_ABORT, "msg:add_header('X', 'y')", "cannot be called in filter_abort"},
        {HOOK_ABORT, "msg:hold('y')", "cannot be called in filter_abort"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_start(&lapi, lapi_plain);
        fixture_lua_error(&lapi, rows[i].hook, rows[i].code, rows[i].part);
    }
}

static void test_header_wrong_use(void **state)
{
    (void)state;
    static const struct {
        const char *code, *part;
    } rows[] = {
        {"msg:add_header()", "string expected"},
        {"msg:add_header('X-A')", "string expected"},
        {"msg:add_header('X-A', nil)", "string expected"},
        {"msg:add_header('X-A', {})", "string expected"},
        {"msg:add_header('X-A:', 'b')", "a header name is printable ASCII"},
        {"msg:add_header('X A', 'b')", "a header name is printable ASCII"},
        {"msg:add_header('X-\xc3\xa4', 'b')", "a header name is printable ASCII"},
        {"msg:add_header('', 'b')", "a header name has 1 to 256"},
        {"msg:add_header(string.rep('x', 257), 'b')", "a header name has 1 to 256"},
        {"msg:add_header('X-A', 'a\\nB: c')", "must not have CR, LF or NUL"},
        {"msg:add_header('X-A', 'a\\r\\n b')", "must not have CR, LF or NUL"},
        {"msg:add_header('X-A', 'a\\0')", "must not have CR, LF or NUL"},
        {"msg:set_header('X-A', 'a\\r')", "must not have CR, LF or NUL"},
        {"msg:add_header('X-A', '\\xff')", "must be UTF-8"},
        {"msg:add_header('X-A', string.rep('x', 70000))", "too long"},
        {"msg:insert_header('X-A', 'b')", "number expected"},
        {"msg:insert_header(-1, 'X-A', 'b')", "a position is 0"},
        {"msg:insert_header(2^40, 'X-A', 'b')", "a position is 0"},
        {"msg:insert_header(0.5, 'X-A', 'b')", "integer representation"},
        {"msg:set_header('X-A', 'b', 0)", "counted from 1"},
        {"msg:set_header('X-A', 'b', 'x')", "number expected"},
        {"msg:delete_header()", "string expected"},
        {"msg:delete_header('X-A', 0)", "counted from 1"},
        {"msg:delete_header('X-A', math.mininteger)", "counted from 1"},
        {"msg:header()", "string expected"},
        {"msg:headers({})", "string expected"},
        {"msg:raw_header()", "string expected"},
        {"msg.each_header()", "call it as msg:each_header"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        lapi_bad(rows[i].code, rows[i].part);
}

static void test_header_hook(void **state)
{
    (void)state;
    fixture_start(&lapi, lapi_plain);
    lapi.request.name = slice_text("X-Test");
    lapi.request.argument = slice_text(" =?utf-8?q?=C3=BC?=");
    fixture_lua(&lapi, HOOK_HEADER, "eq(name, 'X-Test') eq(value, '\xc3\xbc')");
    lapi.request.name = lapi.request.argument = slice_of(NULL, 0);
    fixture_start(&lapi, "Subject: x\n\none\ntwo\n");
    fixture_lua(&lapi, HOOK_BODY, "eq(chunk, 'one\\r\\ntwo\\r\\n')");
}

/* ---- whole message ---- */

static void test_bytes(void **state)
{
    (void)state;
    fixture_start(&lapi, "Subject: x\n\nhello\n");
    fixture_lua(&lapi, HOOK_MESSAGE,
        "eq(msg.size, 21) eq(msg:raw(), 'Subject: x\\r\\n\\r\\nhello\\r\\n')\n"
        "eq(msg:raw_headers(), 'Subject: x\\r\\n') eq(msg:raw_body(), 'hello\\r\\n')\n"
        "msg:set_header('Subject', 'y') msg:replace_body('bye\\0\\r\\n')\n"
        "eq(msg:raw(), 'Subject: x\\r\\n\\r\\nhello\\r\\n')\n"
        "eq(msg:to_eml(), 'Subject: y\\r\\n\\r\\nbye\\0\\r\\n')");
    fixture_lua(&lapi, HOOK_MESSAGE, "eq(msg:to_eml(), 'Subject: y\\r\\n\\r\\nbye\\0\\r\\n')");
    lapi_bad("return msg:header('Subject:')", "without colon");
    lapi_bad("return msg:headers('Subject:')", "without colon");
    lapi_bad("return msg:raw_header(':')", "without colon");
    lapi_good("eq(msg:header(''), nil) for n in msg:each_header() do msg:headers(n) end");
    lapi_bad("msg:replace_body()", "string expected");
    lapi_bad("msg:replace_body({})", "string expected");
}

static void test_content(void **state)
{
    (void)state;
    static const char multi[] =
        "Subject: x\n"
        "Content-Type: multipart/mixed; boundary=b\n"
        "\n"
        "--b\nContent-Type: text/plain; charset=utf-8\n\nsee http://example.org/ here\n"
        "--b\nContent-Type: application/zip; name=a.zip\n\nPK\n"
        "--b--\n";
    fixture_start(&lapi, multi);
    fixture_lua(&lapi, HOOK_MESSAGE,
        "eq(msg.root.type, 'multipart/mixed') local n = 0\n"
        "for part in msg:parts() do n = n + 1 end eq(n, 2) n = 0\n"
        "for part in msg:walk() do n = n + 1 end eq(n, 3)\n"
        "assert(msg:text():find('see http', 1, true)) eq(msg:urls()[1], 'http://example.org/')\n"
        "local found = false for _, c in ipairs(msg:charsets()) do found = found or c == 'utf-8' "
        "end eq(found, true)\n"
        "eq(#msg.defects, 0) eq(msg.ambiguous, false)\n"
        "eq(msg:append_text('x'), true)");
    fixture_start(
        &lapi, "Content-Type: multipart/mixed; boundary=b\nContent-Type: text/plain\n\n--b\n\nx\n");
    fixture_lua(&lapi, HOOK_MESSAGE,
        "assert(#msg.defects > 0) eq(msg.ambiguous, true) eq(type(msg.defects[1].kind), 'string') "
        "eq(type(msg.defects[1].detail), 'string')");
}

static void test_hold_and_log(void **state)
{
    (void)state;
    lapi_good(
        "msg:hold('looks odd') eq(msg:log('score', 5), true) eq(msg:log('x.y-z', 'a b'), true)\n"
        "eq(msg:log('flag', true), true)");
    static const char fields[] = "\0\0\0\5score\0\0\0\1"
                                 "5\0\0\0\5x.y-z\0\0\0\3a b\0\0\0\4flag\0\0\0\4true";
    assert_int_equal(lapi.reply.log_fields.len, sizeof(fields) - 1);
    assert_memory_equal(lapi.reply.log_fields.data, fields, sizeof(fields) - 1);
    lapi_good(
        "local full = false for i = 1, 1000 do full = full or not msg:log('k', ('x'):rep(100)) "
        "end eq(full, true)");
    assert_true(lapi.reply.log_fields.len <= 8192);
    lapi_bad("msg:log()", "string expected");
    lapi_bad("msg:log('a')", "value expected");
    lapi_bad("msg:log('a b', 1)", "a key has");
    lapi_bad("msg:log('', 1)", "a key has");
    lapi_bad("msg:hold()", "string expected");
    lapi_good("msg:hold('a\\nb\\0\\xff' .. ('x'):rep(600))"); /* may come out of the mail */
    const struct plan *plan = job_plan(&lapi.job);
    assert_int_equal(plan->hold_reason.len, 500);
    assert_memory_equal(plan->hold_reason.data, "a b \xef\xbf\xbdxxx", 10);
    lapi_good("msg:hold('')");
    assert_true(job_plan(&lapi.job)->has_hold);
}

static void test_append_text(void **state)
{
    (void)state;
    static const struct {
        const char *message, *text, *wanted;
    } rows[] = {
        {"Subject: x\n\nhello\n", "'bye'", "Subject: x\r\n\r\nhello\r\nbye\r\n"},
        {"Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; "
         "charset=us-ascii\n\nhello\n",
            "'\xc3\xb6'",
            "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
            "charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nhello\r\n\xc3\xb6\r\n"},
        {"Subject: x\n\nhello\n", "'\xc3\xb6'",
            "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r\n\r\nhello\r\n\xc3\xb6\r\n"},
        {"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: "
         "quoted-printable\n\na=E4\n",
            "'\xc3\xb6'",
            "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: "
            "quoted-printable\r\n\r\na=E4\r\n=F6\r\n"},
        {"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "
         "base64\n\naGVsbG8NCg==\n",
            "'bye'",
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
            "base64\r\n\r\naGVsbG8NCmJ5ZQ0K\r\n"},
    };
    char code[200];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_start(&lapi, rows[i].message);
        snprintf(code, sizeof(code), "eq(msg:append_text(%s), true)", rows[i].text);
        fixture_lua(&lapi, HOOK_MESSAGE, code);
        assert_string_equal(fixture_rendered(&lapi), rows[i].wanted);
    }
}

static void test_append_text_twice(void **state)
{
    (void)state;
    fixture_start(&lapi, "Subject: x\n\nhello\n");
    fixture_lua(&lapi, HOOK_MESSAGE,
        "eq(msg:append_text('one'), true) eq(msg:append_text('\xc3\xb6'), true) "
        "eq(msg:append_text('\xe2\x82\xac'), true)");
    const char *rendered = fixture_rendered(&lapi);
    assert_non_null(strstr(rendered, "\r\n\r\nhello\r\none\r\n\xc3\xb6\r\n\xe2\x82\xac\r\n"));
    fixture_lua(&lapi, HOOK_MESSAGE, "eq(msg:append_text('later'), true)");
    assert_non_null(strstr(fixture_rendered(&lapi), "\xe2\x82\xac\r\nlater\r\n"));
    fixture_start(&lapi, "Subject: x\n\nhello\n");
    fixture_lua(&lapi, HOOK_MESSAGE,
        "msg:replace_body('other\\r\\n') eq(msg:append_text('end', { force = true }), true)");
    assert_string_equal(fixture_rendered(&lapi), "Subject: x\r\n\r\nother\r\nend\r\n");
}

static void test_append_text_refused(void **state)
{
    (void)state;
    static const struct {
        const char *message, *why;
    } rows[] = {
        {"Content-Type: application/zip\n\nPK\n", "no text part"},
        {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: "
         "application/zip\n\nPK\n--b--\n",
            "no text part"},
        {"Content-Type: text/plain\nContent-Disposition: attachment\n\nx\n", "no text part"},
        {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: "
         "message/rfc822\n\n\nx\n--b--\n",
            "no text part"},
        {"Content-Type: application/pkcs7-mime; smime-type=signed-data\n\nx\n", "signed"},
        {"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nx\n", "encrypted"},
        {"Subject: x\n\n-----BEGIN PGP SIGNED MESSAGE-----\nx\n", "signed"},
        {"Subject: x\n\n\n-----BEGIN PGP MESSAGE-----\nx\n", "encrypted"},
        {"Content-Type: multipart/signed; boundary=b; "
         "protocol=\"application/pgp-signature\"\n\n--b\n\nx\n--b\nContent-Type: "
         "application/pgp-signature\n\ny\n--b--\n",
            "signed"},
        {"Content-Type: multipart/encrypted; boundary=b; "
         "protocol=\"application/pgp-encrypted\"\n\n--b\nContent-Type: "
         "application/pgp-encrypted\n\nVersion: 1\n--b\nContent-Type: "
         "application/octet-stream\n\ny\n--b--\n",
            "encrypted"},
        {"Content-Type: text/plain\nContent-Transfer-Encoding: x-odd\n\nx\n", "encoding"},
    };
    char code[200];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_start(&lapi, rows[i].message);
        snprintf(code, sizeof(code),
            "local ok, why = msg:append_text('x') eq(ok, false) eq(why, '%s')", rows[i].why);
        fixture_lua(&lapi, HOOK_MESSAGE, code);
        assert_int_equal(lapi.reply.changes.len, 0);
    }
    fixture_start(&lapi, "Subject: x\n\nx\n");
    fixture_lua(&lapi, HOOK_MESSAGE,
        "local ok, why = msg:append_html('x') eq(ok, false) eq(why, 'no text part')");
    fixture_start(&lapi, "Content-Type: application/pkcs7-mime; smime-type=signed-data\n\nx\n");
    fixture_lua(&lapi, HOOK_MESSAGE,
        "local ok, why = msg:append_text('x', { force = true }) eq(ok, false) eq(why, 'no text "
        "part')");
    lapi_bad("msg:append_text()", "string expected");
    lapi_bad("msg:append_html()", "string expected");
    lapi_bad(
        "msg:append_html('a', { once = 1 })", "once is true, false, a marker, or a list of them");
    lapi_bad("msg:append_text('a', { once = '' })", "the marker is empty");
    lapi_bad("msg:append_text('a\\0')", "without NUL");
    lapi_bad("msg:append_text('\\xff')", "UTF-8 text");
    lapi_bad("msg:append_text('a', true)", "table expected");
    lapi_bad("msg:append_text('a', { forced = true })", "did you mean 'force'");
    lapi_bad("msg:append_text('a', { force = 1 })", "force is true or false");
}

/* All changes of one call, or none. */
static void test_append_text_is_whole(void **state)
{
    (void)state;
    fixture_start(&lapi, "Subject: x\n\nhello\n");
    lapi.request.capabilities = MTA_CAN_REPLACE_BODY;
    fixture_lua(&lapi, HOOK_MESSAGE,
        "local ok, why = pcall(msg.append_text, msg, '\xc3\xb6') eq(ok, false)\n"
        "assert(why:find('set_header', 1, true))\n"
        "eq(msg:to_eml(), 'Subject: x\\r\\n\\r\\nhello\\r\\n')");
    assert_int_equal(lapi.reply.changes.len, 0);
}

static void test_capabilities(void **state)
{
    (void)state;
    static const struct {
        const char *code, *part;
    } rows[] = {
        {"msg:set_header('X', 'y')", "set_header"},
        {"msg:delete_header('X')", "delete_header"},
        {"msg:set_sender('a@example.org')", "set_sender"},
        {"msg:add_recipient('a@example.org')", "add_recipient"},
        {"msg:delete_recipient('b@example.net')", "delete_recipient"},
        {"msg:hold('x')", "hold"},
        {"msg:replace_body('x')", "replace_body"},
        {"msg:append_text('x')", "replace_body"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_start(&lapi, lapi_plain);
        lapi.request.capabilities = MTA_CAN_ADD_HEADER;
        fixture_lua_error(&lapi, HOOK_MESSAGE, rows[i].code, rows[i].part);
        assert_non_null(strstr(lapi.error, "does not take this change"));
    }
    fixture_start(&lapi, lapi_plain);
    lapi.request.capabilities = MTA_CAN_ADD_HEADER;
    fixture_lua(&lapi, HOOK_MESSAGE, "msg:add_header('X', 'y') msg:insert_header(0, 'X', 'y')");
}

/* ---- rules ---- */

/* Rule 3: an error drops the changes and state writes of that hook, and of that hook alone. */
static void test_error_drops_changes(void **state)
{
    (void)state;
    fixture_start(&lapi, lapi_plain);
    fixture_lua(&lapi, HOOK_DATA, "msg:add_header('X-Kept', '1') msg.state.n = 1");
    fixture_lua_error(&lapi, HOOK_MESSAGE,
        "msg:add_header('X-Lost', '1') msg:set_sender('x@example.org') msg.state.n = 2 "
        "error('oops')",
        "oops");
    assert_int_equal(lapi.reply.changes.len, 0);
    assert_string_equal(verdict_name(lapi.reply.verdict), "tempfail");
    fixture_lua(&lapi, HOOK_MESSAGE,
        "eq(msg:header('X-Kept'), '1') eq(msg:header('X-Lost'), nil) eq(msg.state.n, 1) "
        "eq(msg.sender, 'a@example.org')");
}

static void test_state(void **state)
{
    (void)state;
    fixture_rewind(&lapi);
    fixture_connect(&lapi, '4', "192.0.2.1", 1, "x");
    fixture_lua(&lapi, HOOK_RELAY, "conn.state.seen = { 'a', x = 1 }");
    fixture_sender(&lapi, "<a@example.org>", "");
    fixture_recipient(&lapi, "<b@example.org>", "");
    fixture_lua(&lapi, HOOK_SENDER, "eq(msg.conn.state.seen.x, 1) msg.state.y = 'z'");
    fixture_lua(&lapi, HOOK_MESSAGE, "eq(msg.conn.state.seen[1], 'a') eq(msg.state.y, 'z')");
}

/* Objects end with their hook. */
static void test_boxes_end(void **state)
{
    (void)state;
    fixture_start(&lapi, lapi_plain);
    fixture_filter(&lapi,
        "local kept = {}\n"
        "function filter_data(msg) kept.msg = msg kept.conn = msg.conn kept.rcpt = "
        "msg.recipients[1] kept.macros = msg.macros end\n"
        "function filter_headers(msg) kept.next = msg:each_header() "
        "kept.next() end\n"
        "function filter_message(msg)\n"
        "  local function gone(f) local ok, why = pcall(f) assert(not ok and "
        "why:find('no longer available'), why) end\n"
        "  gone(function() return kept.msg.sender end)\n"
        "  gone(function() return kept.conn.ip end)\n"
        "  gone(function() return kept.rcpt.address end)\n"
        "  gone(function() return kept.macros.i end)\n"
        "  gone(function() return pairs(kept.macros) end)\n"
        "  gone(function() return kept.next() end)\n"
        "  gone(function() msg:delete_recipient(kept.rcpt) end)\n"
        "  gone(function() return kept.msg:add_header('X', 'y') end)\n"
        "end\n");
    fixture_run_ok(&lapi, HOOK_DATA, VERDICT_CONTINUE);
    fixture_run_ok(&lapi, HOOK_HEADERS, VERDICT_CONTINUE);
    fixture_run_ok(&lapi, HOOK_MESSAGE, VERDICT_CONTINUE);
}

/* Whatever is passed to whatever function: an error or a result, no crash. */
static void test_arguments_of_all_kinds(void **state)
{
    (void)state;
    fixture_start(&lapi, lapi_plain);
    fixture_filter(&lapi,
        "local methods = {'header','headers','raw_header','each_header','add_header',"
        "'insert_header','set_header','delete_header','set_sender','add_recipient',"
        "'delete_recipient','hold','replace_body','append_text','append_html','log','raw','raw_"
        "headers',"
        "'raw_body','to_eml','text','parts','walk','urls','charsets'}\n"
        "function filter_message(msg)\n"
        "  local values = {false, true, 0, -1, 1.5, math.maxinteger, 0/0, '', 'x', "
        "'\\0\\r\\n\\xff', ('y'):rep(5000), {}, {force = {}}, print, coroutine.create(print), "
        "msg, msg.conn, msg.recipients[1], msg.macros, io}\n"
        "  for _, m in ipairs(methods) do\n"
        "    local f = msg[m]\n"
        "    pcall(f)\n"
        "    for i = 1, 20 do\n"
        "      pcall(f, values[i]) pcall(f, msg, values[i])\n"
        "      for k = 1, 20 do\n"
        "        pcall(f, msg, values[i], values[k]) pcall(f, msg, 'x', values[i], values[k])\n"
        "      end\n"
        "    end\n"
        "  end\n"
        "  for _, o in ipairs{msg, msg.conn, msg.recipients[1], msg.macros} do\n"
        "    for i = 1, 20 do\n"
        "      pcall(function() return o[values[i]] end) pcall(function() o[values[i]] = 1 end)\n"
        "      pcall(function() return o .. values[i] end) pcall(function() return o == "
        "values[i] end)\n"
        "    end\n"
        "  end\n"
        "end\n");
    fixture_run(&lapi, HOOK_MESSAGE);
    assert_int_equal(lapi.reply.outcome, OUTCOME_OK);
}

/* More than Lua may hold: an error of that hook, and nothing leaks. */
static void test_memory(void **state)
{
    (void)state;
    static const char *const small[] = {"worker.lua_memory=4M", NULL};
    static char message[8 << 20];
    struct worker_fixture g;
    fixture_open(&g, small);
    memset(message, 'x', sizeof(message) - 1);
    memcpy(message, "S: x\r\n\r\n", 8);
    fixture_envelope(&g);
    fixture_message_bytes(&g, message, sizeof(message) - 1);
    static const char *const codes[] = {"return msg:raw()", "return msg:raw_body()",
        "return msg:to_eml()", "pcall(msg.to_eml, msg) pcall(msg.raw, msg) return msg:to_eml()"};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        fixture_filter(&g, arena_printf(g.texts, "function filter_message(msg) %s end", codes[i]));
        fixture_run(&g, HOOK_MESSAGE);
        assert_int_equal(g.reply.outcome, OUTCOME_MEMORY);
    }
    fixture_filter(&g, "function filter_message(msg) msg:append_text('x') end");
    fixture_run_ok(&g, HOOK_MESSAGE, VERDICT_CONTINUE);
    assert_true(g.reply.changes.len > sizeof(message));
    fixture_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_reads),
        cmocka_unit_test(test_header_changes),
        cmocka_unit_test(test_header_loop_may_change),
        cmocka_unit_test(test_header_in_early_hooks),
        cmocka_unit_test(test_header_wrong_use),
        cmocka_unit_test(test_header_hook),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_content),
        cmocka_unit_test(test_hold_and_log),
        cmocka_unit_test(test_append_text),
        cmocka_unit_test(test_append_text_twice),
        cmocka_unit_test(test_append_text_refused),
        cmocka_unit_test(test_append_text_is_whole),
        cmocka_unit_test(test_capabilities),
        cmocka_unit_test(test_error_drops_changes),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_boxes_end),
        cmocka_unit_test(test_arguments_of_all_kinds),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, lapi_setup, lapi_teardown);
}
