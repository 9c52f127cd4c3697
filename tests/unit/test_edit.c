/* Changes of parts, from a filter's call to the message as it would leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/worker_fixture.h"

#define TOP   "From: a@example.org\nMIME-Version: 1.0\n"
#define MIXED TOP "Content-Type: multipart/mixed; boundary=b\n\n"

/* Finds a part by its path. */
#define FIND                                                                                       \
    "local function at(path) for p in msg:walk() do if p.path == path then return p end end "      \
    "error('no part ' .. path) end "

static const char two[] = MIXED "preamble\n--b\nContent-Type: text/plain\nX-Odd:  kept \n\nhello\n"
                                "--b\nContent-Type: application/zip; name=\"a.zip\"\n"
                                "Content-Transfer-Encoding: base64\n\nUEsDBA==\n--b--\nepilogue\n";
static const char three[] = MIXED "--b\n\none\n--b\n\ntwo\n--b\n\nthree\n--b--\n";
static const char four[] = MIXED "--b\n\none\n--b\n\ntwo\n--b\n\nthree\n--b\n\nfour\n--b--\n";

static void text_lines(struct worker_fixture *f, const char *text, char *out)
{
    (void)f;
    for (; *text != '\0'; text++) {
        if (*text != '\r')
            *out++ = *text;
    }
    *out = '\0';
}

/* Runs the code and compares the message as it leaves; line ends are written as LF here. */
static void becomes(const char *message, const char *code, const char *wanted)
{
    static char got[1 << 16];
    struct worker_fixture f;
    fixture_open(&f, NULL);
    fixture_start(&f, message);
    fixture_lua(&f, HOOK_MESSAGE, arena_printf(f.texts, FIND "%s", code));
    text_lines(&f, fixture_rendered(&f), got);
    assert_string_equal(got, wanted);
    fixture_close(&f);
}

static void fails(const char *message, const char *code, const char *part)
{
    struct worker_fixture f;
    fixture_open(&f, NULL);
    fixture_start(&f, message);
    fixture_lua_error(&f, HOOK_MESSAGE, arena_printf(f.texts, FIND "%s", code), part);
    fixture_close(&f);
}

static void a_part_goes(void **state)
{
    (void)state;
    becomes(three, "at('1.1'):drop()", MIXED "--b\n\ntwo\n--b\n\nthree\n--b--\n");
    becomes(three, "at('1.2'):drop()", MIXED "--b\n\none\n--b\n\nthree\n--b--\n");
    becomes(three, "at('1.3'):drop()", MIXED "--b\n\none\n--b\n\ntwo\n--b--\n");
    /* nothing but the parts and their boundaries goes */
    becomes(MIXED "--b\n\none\n--b  \nX: y\n\ntwo\n--b\n\nthree\n", "at('1.3'):drop()",
        MIXED "--b\n\none\n--b  \nX: y\n\ntwo");
    becomes(MIXED "--b\n\none\n--b\n\ntwo\n--b\n\nthree\n--b\nX: y\n--b--\n",
        "at('1.4'):drop() at('1.2'):drop()", MIXED "--b\n\none\n--b\n\nthree\n--b--\n");
}

/* A line that only some readers take for a boundary: the part behind it is within the one before.
 */
static void a_part_of_another_reading_goes(void **state)
{
    (void)state;
    static const char odd[] = MIXED "--b\n\nhello\n--b text\nX: y\n\nEVIL\n--b--\n";
    becomes(odd, "eq(at('1.2'):content(), 'EVIL') at('1.2'):drop()", TOP "\nhello\n");
    becomes(odd, "at('1.2'):drop('gone')",
        MIXED "--b\n\nhello\n--b text\nContent-Type: text/plain; charset=us-ascii\n"
              "Content-Transfer-Encoding: 7bit\n\ngone\n\n--b--\n");
}

static void a_warning_takes_its_place(void **state)
{
    (void)state;
    becomes(two, "at('1.2'):drop('gone')",
        MIXED "preamble\n--b\nContent-Type: text/plain\nX-Odd:  kept \n\nhello\n"
              "--b\nContent-Type: text/plain; charset=us-ascii\n"
              "Content-Transfer-Encoding: 7bit\n\ngone\n\n--b--\nepilogue\n");
    becomes(three, "at('1.2'):drop('f\xc3\xa4llt weg\\n--b\\n')",
        MIXED "--b\n\none\n--b\nContent-Type: text/plain; charset=utf-8\n"
              "Content-Transfer-Encoding: quoted-printable\n\nf=C3=A4llt weg\n=2D-b\n\n"
              "--b\n\nthree\n--b--\n");
    fails(three, "at('1.2'):drop('\\xff')", "UTF-8");
    fails(three, "at('1.2'):drop(true)", "string expected");
}

static void what_is_single_is_no_multipart(void **state)
{
    (void)state;
    becomes(two, "at('1.2'):drop()", TOP "Content-Type: text/plain\n\nhello");
    becomes(two, "at('1.1'):drop()",
        "From: a@example.org\nMIME-Version: 1.0\n"
        "Content-Type: application/zip; name=\"a.zip\"\n"
        "Content-Transfer-Encoding: base64\n\nUEsDBA==");
    /* without fields of its own it has none */
    becomes(MIXED "--b\n\none\n--b\n\ntwo\n--b--\n", "at('1.1'):drop()", TOP "\ntwo");
    /* within another */
    becomes(MIXED "--b\nContent-Type: multipart/alternative; boundary=c\n\n"
                  "--c\nContent-Type: text/plain\n\nplain\n--c\nContent-Type: text/html\n\n<p>\n"
                  "--c--\n--b\n\nlast\n--b--\n",
        "at('1.1.1'):drop()", MIXED "--b\nContent-Type: text/html\n\n<p>\n--b\n\nlast\n--b--\n");
    /* both levels */
    becomes(MIXED "--b\nContent-Type: multipart/alternative; boundary=c\n\n"
                  "--c\nContent-Type: text/plain\n\nplain\n--c\nContent-Type: text/html\n\n<p>\n"
                  "--c--\n--b\n\nlast\n--b--\n",
        "at('1.1.1'):drop() at('1.2'):drop()", TOP "Content-Type: text/html\n\n<p>");
    /* a digest's parts are messages */
    becomes(TOP "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\nx\n--b\n\n"
                "Subject: y\n\ny\n--b--\n",
        "at('1.1'):drop()", TOP "Content-Type: message/rfc822\n\nSubject: y\n\ny");
    /* one that came single stays as it is */
    becomes(
        MIXED "--b\n\none\n--b--\n", "at('1.1'):set_content('two')", MIXED "--b\n\ntwo\n--b--\n");
}

static void what_is_empty_is_a_text(void **state)
{
    (void)state;
    static const char empty[] = TOP "Content-Type: text/plain; charset=us-ascii\n"
                                    "Content-Transfer-Encoding: 7bit\n\n";
    becomes(three, "for p in msg:parts() do p:drop() end", empty);
    becomes(three, "msg.root:drop()", empty);
    becomes(TOP "\nhello\n", "msg.root:drop()", empty);
    becomes(TOP "Content-Type: text/html\nContent-ID: <x>\n\n<p>\n",
        "msg.root:drop('nothing here')",
        TOP "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n"
            "nothing here\n");
    becomes(MIXED
        "--b\nContent-Type: message/rfc822\n\nSubject: in\nContent-Type: text/html\n\n<p>\n"
        "--b\n\nlast\n--b--\n",
        "at('1.1.1'):drop('away')",
        MIXED "--b\nContent-Type: message/rfc822\n\nSubject: in\n"
              "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n"
              "away\n\n--b\n\nlast\n--b--\n");
}

static void content_is_replaced(void **state)
{
    (void)state;
    becomes(TOP "\nhello\n", "msg.root:set_content('new\\n')", TOP "\nnew\n");
    /* base64 where the encoding cannot carry it */
    becomes(TOP "\nhello\n", "msg.root:set_content('\xc3\xa4')",
        TOP "Content-Transfer-Encoding: base64\n\nw6Q=\n");
    becomes(two, "at('1.2'):set_content('MZ')",
        MIXED "preamble\n--b\nContent-Type: text/plain\nX-Odd:  kept \n\nhello\n"
              "--b\nContent-Type: application/zip; name=\"a.zip\"\n"
              "Content-Transfer-Encoding: base64\n\nTVo=\n\n--b--\nepilogue\n");
    /* a line that would be a boundary */
    becomes(three, "at('1.1'):set_content('--b--')",
        MIXED "--b\nContent-Transfer-Encoding: base64\n\nLS1iLS0=\n\n--b\n\ntwo\n--b\n\nthree\n"
              "--b--\n");
    becomes(TOP "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "
                "Quoted-Printable\n\nx\n",
        "msg.root:set_content('a = \xc3\xa4\\n')",
        TOP "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "
            "Quoted-Printable\n\na =3D =C3=A4\n");
    becomes(three, "at('1.2'):set_content('a') at('1.2'):set_content('b')",
        MIXED "--b\n\none\n--b\n\nb\n--b\n\nthree\n--b--\n");
    /* in UTF-16 these bytes are no line ends */
    becomes(TOP
        "Content-Type: text/plain; charset=UTF-16\nContent-Transfer-Encoding: base64\n\n/v8AYQ==\n",
        "msg.root:set_content('\\xfe\\xff\\x0a\\x0a')",
        TOP "Content-Type: text/plain; charset=UTF-16\nContent-Transfer-Encoding: "
            "base64\n\n/v8KCg==\n");
    /* a header that ends at the boundary */
    becomes(MIXED "--b\nX: y\n--b--\n", "at('1.1'):set_content('new\\n')",
        MIXED "--b\nX: y\n\nnew\n\n--b--\n");
    fails(three, "msg.root:set_content('x')", "holds other parts");
}

static void parts_are_replaced_and_defanged(void **state)
{
    (void)state;
    becomes(three,
        "at('1.2'):replace{ type = 'application/x-y', body = 'PK', filename = 'n\xc3\xa4.y' }",
        MIXED "--b\n\none\n--b\nContent-Type: application/x-y\n"
              "Content-Transfer-Encoding: base64\nContent-Disposition: attachment;\n"
              " filename*=utf-8''n%C3%A4.y\n\nUEs=\n\n--b\n\nthree\n--b--\n");
    becomes(two, "at('1.2'):defang('safe.bin')",
        MIXED "preamble\n--b\nContent-Type: text/plain\nX-Odd:  kept \n\nhello\n"
              "--b\nContent-Transfer-Encoding: base64\nContent-Type: application/octet-stream\n"
              "Content-Disposition: attachment;\n filename=\"safe.bin\"\n\nUEsDBA==\n--b--\n"
              "epilogue\n");
    becomes(TOP "Content-Type: application/x-msdownload; name=a.exe; name*0=b; name*1=.exe\n"
                "Content-Description: a.exe\nContent-Disposition: attachment; "
                "filename*=utf-8''a.exe\nX-Other: y\n\nMZ\n",
        "msg.root:defang()",
        TOP "Content-Type: application/octet-stream\nContent-Disposition: attachment;\n "
            "filename=\"attachment-1.bin\"\nX-Other: y\n\nMZ\n");
    fails(three, "at('1.1'):replace{ type = 'text', body = '' }", "media type");
    fails(three, "at('1.1'):replace{ type = 'multipart/mixed', body = '' }", "multipart");
    fails(three, "at('1.1'):replace{ typ = 'x' }", "did you mean");
    fails(three, "at('1.1'):replace{ type = 'text/plain' }", "body is a string");
}

static void headers_of_parts_change(void **state)
{
    (void)state;
    becomes(two, "at('1.1'):set_header('X-Odd', 'new') at('1.1'):set_header('X-More', '\xc3\xa4')",
        MIXED "preamble\n--b\nContent-Type: text/plain\nX-Odd: new\nX-More: =?UTF-8?B?w6Q=?=\n\n"
              "hello\n--b\nContent-Type: application/zip; name=\"a.zip\"\n"
              "Content-Transfer-Encoding: base64\n\nUEsDBA==\n--b--\nepilogue\n");
    becomes(three, "at('1.1'):set_header('X', 'y') at('1.1'):set_header('X', nil)", three);
    becomes(TOP "X: 1\nX: 2\n\nhello\n", "msg.root:set_header('X', '3')", TOP "X: 3\n\nhello\n");
    fails(three, "at('1.1'):set_header('a:b', 'x')", "header");
    fails(three, "at('1.1'):set_header('a')", "value expected");
    fails(three, "at('1.1'):set_header('a', 'b\\n c')", "must not have CR, LF or NUL");
    fails(three, "at('1.1'):set_header('a', '\\xff')", "must be UTF-8");
}

static void parts_are_added(void **state)
{
    (void)state;
    becomes(three, "msg:add_part{ body = 'four\\n' }",
        MIXED "--b\n\none\n--b\n\ntwo\n--b\n\nthree\n--b\n"
              "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n"
              "four\n\n--b--\n");
#define FOUR                                                                                       \
    "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\nfour\n\n"
    becomes(three, "msg:add_part{ body = 'four\\n', position = 1 }",
        MIXED "--b\n" FOUR "--b\n\none\n--b\n\ntwo\n--b\n\nthree\n--b--\n");
    becomes(three,
        "msg:add_part{ body = 'four\\n', position = 3 } at('1.2'):drop() at('1.3'):drop()",
        MIXED "--b\n\none\n--b\n" FOUR "--b--\n");
    becomes(three,
        "msg:add_part{ body = 'x', position = 2 } msg:add_part{ body = 'four\\n', position = 2 }",
        MIXED "--b\n\none\n--b\nContent-Type: text/plain; charset=us-ascii\n"
              "Content-Transfer-Encoding: 7bit\n\nx\n--b\n" FOUR
              "--b\n\ntwo\n--b\n\nthree\n--b--\n");
    becomes(three, "msg:add_part{ body = 'four\\n', position = 9 }",
        MIXED "--b\n\none\n--b\n\ntwo\n--b\n\nthree\n--b\n" FOUR "--b--\n");
    fails(three, "msg:add_part{ body = 'x', position = 0 }", "whole number from 1");
    fails(three, "msg:add_part{ body = 'x', position = 1.5 }", "whole number from 1");
    fails(three, "at('1.1'):replace{ body = 'x', position = 1 }", "position");
    becomes(three, "for p in msg:parts() do p:drop() end msg:add_part{ body = 'alone\\n' }",
        TOP "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n"
            "alone\n");
    struct worker_fixture f;
    fixture_open(&f, NULL);
    fixture_start(&f, TOP "Content-Type: text/html\nContent-Transfer-Encoding: 8bit\n\n<p>\n");
    fixture_lua(&f, HOOK_MESSAGE,
        "msg:add_part{ type = 'image/png', body = 'P', filename = 'p.png', inline = true }");
    const char *got = fixture_rendered(&f);
    assert_non_null(strstr(got, "Content-Type: multipart/mixed; boundary=\"=_postern_"));
    assert_non_null(strstr(got, "\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: "
                                "8bit\r\n\r\n<p>\r\n\r\n--=_postern_"));
    assert_non_null(strstr(got, "Content-Disposition: inline;\r\n filename=\"p.png\"\r\n"));
    fixture_close(&f);
}

/* RFC 2046 section 5.2.1: as they are, so that boundaries around them must not be in them. */
static void messages_are_added(void **state)
{
    (void)state;
    const char *mixed = TOP "Content-Type: multipart/mixed; boundary=outer\n\n--outer\n\none\n"
                            "--outer--\n";
    becomes(mixed, "msg:add_part{ type = 'message/rfc822', body = 'Subject: in\\r\\n\\nhello\\n' }",
        TOP "Content-Type: multipart/mixed; boundary=outer\n\n--outer\n\none\n--outer\n"
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n"
            "Content-Disposition: attachment\n\nSubject: in\n\nhello\n\n--outer--\n");
    struct worker_fixture f;
    fixture_open(&f, NULL);
    fixture_start(&f, mixed);
    fixture_lua(&f, HOOK_MESSAGE,
        "msg:add_part{ type = 'Message/RFC822', filename = 'a.eml', position = 1,"
        " body = 'Subject: in\\n\\n--outer--\\n' }");
    const char *got = fixture_rendered(&f);
    assert_non_null(strstr(got, "Content-Type: multipart/mixed; boundary=\"=_postern_"));
    assert_non_null(strstr(got, "\r\n\r\nSubject: in\r\n\r\n--outer--\r\n\r\n--=_postern_"));
    assert_null(strstr(got, "Content-Transfer-Encoding: 8bit"));
    fixture_close(&f);
    fixture_open(&f, NULL);
    fixture_start(&f, mixed);
    fixture_lua(&f, HOOK_MESSAGE,
        "msg:add_part{ type = 'message/rfc822', body = 'Subject: in\\n\\n\xc3\xa4\\n' }");
    got = fixture_rendered(&f);
    assert_non_null(strstr(got, "Content-Type: multipart/mixed; boundary=\"=_postern_"));
    assert_non_null(strstr(got, "Content-Transfer-Encoding: 8bit\r\n\r\n--=_postern_"));
    assert_non_null(strstr(got, "message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n"));
    fixture_close(&f);
    fails(mixed, "msg:add_part{ type = 'message/rfc822', body = 'hello' }", "its header");
    fails(mixed, "msg:add_part{ type = 'message/rfc822', body = 'A: b\\n\\n\\0' }",
        "cannot be encoded");
    fails(mixed, "msg:add_part{ type = 'message/rfc822', body = 'A: b\\n\\n' .. ('x'):rep(999) }",
        "cannot be encoded");
    fails(mixed, "msg:add_part{ type = 'message/partial', body = 'A: b\\n\\n' }", "neither");
    fails(mixed, "at('1.1'):replace{ type = 'message/rfc822', body = 'A: b\\n\\n' }", "neither");
}

static void changes_of_what_is_gone_change_nothing(void **state)
{
    (void)state;
    becomes(three,
        "local p = at('1.2') p:drop() p:defang() p:set_content('x') p:set_header('a', 'b') "
        "p:drop()",
        MIXED "--b\n\none\n--b\n\nthree\n--b--\n");
    becomes(three, "msg.root:drop() for p in msg:parts() do p:set_content('x') end",
        TOP "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n");
    fails(three, "msg:replace_body('x') at('1.1'):drop()", "replaced");
    becomes(three, "at('1.1'):drop() msg:replace_body('x')", MIXED "x");
    becomes(three, "at('1.1'):set_content('one')", three);
}

static void the_message_can_be_seen(void **state)
{
    (void)state;
    becomes(three,
        "at('1.2'):drop() local eml = msg:to_eml() eq(eml:find('two'), nil) "
        "eq(eml:find('three') ~= nil, true) eq(msg:to_eml(), eml)",
        MIXED "--b\n\none\n--b\n\nthree\n--b--\n");
}

static void a_message_is_replaced(void **state)
{
    (void)state;
    static const char mail[] =
        "Received: one\nReceived: two\nFrom: a@example.org\nX-Old: x\n\nold\n";
    becomes(mail, "at('1'):drop() msg:replace_message(msg:raw())", mail);
    becomes(mail,
        "msg:replace_message('Received: one\\nReceived: 2\\nReceived: 3\\nFrom: b@example.org\\n"
        "Subject: new\\n folded\\n\\nnew\\n')",
        "Received: one\nReceived: 2\nFrom: b@example.org\nReceived: 3\nSubject: new\n folded\n\n"
        "new\n");
    becomes(mail,
        "msg:add_header('X-A', '1') msg:set_header('X-Old', 'y') "
        "msg:replace_message('Received: one\\r\\nX-Old: z\\r\\nX-A: 1\\r\\nX-A: 2\\r\\n\\r\\n')",
        "Received: one\nX-Old: z\nX-A: 1\nX-A: 2\n\n");
    fails(mail, "msg:replace_message('no header')", "header expected");
    fails(mail, "msg:replace_message('')", "header expected");
    fails(mail, "msg:replace_message('A: b\\n\\n') msg.root:drop()", "replaced");
}

static void decoded_content_is_encoded_again(void **state)
{
    (void)state;
    /* "Subject: in\r\n\r\nhello\r\n" */
    static const char nested[] =
        MIXED "--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
              "U3ViamVjdDogaW4NCg0KaGVsbG8NCg==\n--b\n\nlast\n--b--\n";
    becomes(nested, "at('1.1.1'):set_content('hullo\\n')",
        MIXED "--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
              "U3ViamVjdDogaW4NCg0KaHVsbG8NCg==\n\n--b\n\nlast\n--b--\n");
}

/* The parts that are looked at end with worker.max_parts: one that is taken out uncovers another.
 */
static void run_refused(const char *option, const char *code, enum verdict verdict, bool changes)
{
    struct worker_fixture f;
    const char *options[] = {"worker.max_parts=4", option, NULL};
    fixture_open(&f, options);
    fixture_start(&f, four);
    fixture_filter(
        &f, arena_printf(f.texts,
                "function filter_message(msg) " FIND " msg:add_header('X-A', 'b') %s end", code));
    fixture_run_ok(&f, HOOK_MESSAGE, verdict);
    assert_int_equal(f.reply.flags & REPLY_REWRITE_FAILED, REPLY_REWRITE_FAILED);
    assert_int_equal(f.reply.changes.len > 0, changes);
    if (verdict == VERDICT_TEMPFAIL) {
        assert_int_equal(f.reply.code, 451);
        assert_memory_equal(f.reply.dsn.data, "4.3.0", 5);
    }
    assert_non_null(strstr(fixture_rendered(&f), "\r\none\r\n"));
    fixture_close(&f);
}

static void the_guard_refuses(void **state)
{
    (void)state;
    const char *drop = "at('1.1'):drop()";
    run_refused("worker.on_rewrite_failure=tempfail", drop, VERDICT_TEMPFAIL, false);
    run_refused("worker.on_rewrite_failure=reject", drop, VERDICT_REJECT, false);
    run_refused("worker.on_rewrite_failure=accept", drop, VERDICT_CONTINUE, true);
    /* a part that is added hides the one behind those that are looked at */
    const char *add = "msg:add_part{ body = 'x' }";
    run_refused("worker.on_append_failure=accept", add, VERDICT_CONTINUE, true);
    run_refused("worker.on_append_failure=tempfail", add, VERDICT_TEMPFAIL, false);
    run_refused("worker.on_append_failure=tempfail", "msg:add_part{ body = 'x' } at('1.1'):drop()",
        VERDICT_TEMPFAIL, false);
}

/* What is a field for some programs only would be none of the message. */
static void a_multipart_of_one_stays_where_it_must(void **state)
{
    (void)state;
    becomes(MIXED "--b\n\none\n--b\nContent-Type\x01: application/zip; name=a.zip\n\nPK\n--b--\n",
        "at('1.1'):drop()",
        MIXED "--b\nContent-Type\x01: application/zip; name=a.zip\n\nPK\n--b--\n");
}

static void a_container_that_holds_outer_boundaries_is_encoded(void **state)
{
    (void)state;
    becomes(MIXED "--b\n\none\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\ntwo\n"
                  "--bb--\n--b--\n",
        "at('1.2'):defang()",
        MIXED "--b\n\none\n--b\nContent-Type: application/octet-stream\n"
              "Content-Disposition: attachment;\n filename=\"attachment-1.2.bin\"\n"
              "Content-Transfer-Encoding: base64\n\nLS1iYg0KDQp0d28NCi0tYmItLQ==\n\n--b--\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_goes),
        cmocka_unit_test(a_part_of_another_reading_goes),
        cmocka_unit_test(a_warning_takes_its_place),
        cmocka_unit_test(what_is_single_is_no_multipart),
        cmocka_unit_test(what_is_empty_is_a_text),
        cmocka_unit_test(content_is_replaced),
        cmocka_unit_test(parts_are_replaced_and_defanged),
        cmocka_unit_test(headers_of_parts_change),
        cmocka_unit_test(parts_are_added),
        cmocka_unit_test(messages_are_added),
        cmocka_unit_test(changes_of_what_is_gone_change_nothing),
        cmocka_unit_test(the_message_can_be_seen),
        cmocka_unit_test(a_message_is_replaced),
        cmocka_unit_test(decoded_content_is_encoded_again),
        cmocka_unit_test(the_guard_refuses),
        cmocka_unit_test(a_multipart_of_one_stays_where_it_must),
        cmocka_unit_test(a_container_that_holds_outer_boundaries_is_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
