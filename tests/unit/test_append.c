/* Text at the end of a body in each transfer encoding and charset; the Content-Type that goes with
 * it; Received fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/append.h"
#include "worker/content_type.h"
#include "worker/received.h"

struct row {
    const char *body, *charset, *encoding, *text;
    const char *wanted; /* the new body; or, when refused is set, why not */
    bool refused, needs_utf8, needs_8bit, needs_quoted;
    bool is_html, is_flowed, has_delsp, is_nested, has_lf;
};

#define FIFTY "01234567890123456789012345678901234567890123456789"

static const struct row rows[] = {
    /* raw */
    {"hello\r\n", "", "", "bye", "hello\r\nbye\r\n"},
    {"hello", "us-ascii", "7bit", "bye\n", "hello\r\nbye\r\n"},
    {"", "utf-8", "8bit", "one\ntwo\r\nthree\rfour", "one\r\ntwo\r\nthree\r\nfour\r\n"},
    {"hello\n", "utf-8", "8bit", "", "hello\n\r\n"},
    {"\xc3\xa4\r\n", "utf-8", "8bit", "\xc3\xb6", "\xc3\xa4\r\n\xc3\xb6\r\n"},
    {"a\r\n", "", "", "\xc3\xb6", "a\r\n\xc3\xb6\r\n", .needs_utf8 = true, .needs_8bit = true},
    {"a\r\n", "us-ascii", "8bit", "\xc3\xb6", "a\r\n\xc3\xb6\r\n", .needs_utf8 = true},
    /* said to be ASCII, and is not */
    {"\xe4\r\n", "us-ascii", "8bit", "x\xc3\xb6y\xe2\x82\xac", "\xe4\r\nx?y?\r\n"},
    {"\xe4\r\n", "iso-8859-1", "8bit", "\xc3\xb6", "\xe4\r\n\xf6\r\n"},
    {"a\r\n", "iso-8859-1", "7bit", "\xc3\xb6", "a\r\n\xf6\r\n", .needs_8bit = true},
    {"a\r\n", "iso-8859-1", "8bit", "\xe2\x82\xac\xc3\xb6", "a\r\n?\xf6\r\n"},
    {"a\r\n", "iso-8859-15", "8bit", "\xe2\x82\xac", "a\r\n\xa4\r\n"},
    {"a\r\n", "koi8-r", "8bit", "\xd0\x94", "a\r\n\xe4\r\n"},
    {"a\r\n", "x-unheard-of", "8bit", "a\xf0\x9f\x98\x80z", "a\r\na?z\r\n"},
    {"a\r\n", "../../etc", "8bit", "\xc3\xb6", "a\r\n?\r\n"},
    {"a\r\n", "iso-2022-jp", "7bit", "\xe3\x81\x82", "a\r\n\x1b$B$\"\x1b(B\r\n"},
    {"YQ==\r\n", "utf-16", "base64", "x", "charset", .refused = true},
    {"a\r\n", "utf-8", "x-uuencode", "x", "encoding", .refused = true},
    /* quoted-printable */
    {"a=3D\r\n", "utf-8", "quoted-printable", "1=2 \t", "a=3D\r\n1=3D2 =09\r\n"},
    {"a", "utf-8", "quoted-printable", "\xc3\xb6", "a\r\n=C3=B6\r\n"},
    {"soft=\r\n", "utf-8", "quoted-printable", "x", "soft=\r\n\r\nx\r\n"},
    {"soft=", "utf-8", "quoted-printable", "x", "soft\r\nx\r\n"},
    {"soft=\r\n= \t", "utf-8", "quoted-printable", "x", "soft=\r\n\r\nx\r\n"},
    {"soft=\r", "utf-8", "quoted-printable", "x", "soft\r\nx\r\n"},
    {"", "utf-8", "quoted-printable",
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234",
        "012345678901234567890123456789012345678901234567890123456789012345678901234=\r\n"
        "5678901234\r\n"},
    {"a\r\n", "iso-8859-1", "quoted-printable", "\xc3\xb6\n\nz", "a\r\n=F6\r\n\r\nz\r\n"},
    {"a\r\n", "us-ascii", "quoted-printable", "\xc3\xb6", "a\r\n=C3=B6\r\n", .needs_utf8 = true},
    /* base64: "hello\r\n" is aGVsbG8NCg== */
    {"aGVsbG8NCg==\r\n", "utf-8", "base64", "bye", "aGVsbG8NCmJ5ZQ0K\r\n"},
    {"aGVsbG8=\r\n", "utf-8", "base64", "bye", "aGVsbG8NCmJ5ZQ0K\r\n"},
    {"aGVsbG8K\r\n", "utf-8", "base64", "bye", "aGVsbG8K\r\nYnllDQo=\r\n"},
    {"aGVsbG8K", "utf-8", "base64", "bye", "aGVsbG8KYnllDQo=\r\n"},
    {"aGVs\r\nbG8h\r\n", "utf-8", "base64", "bye", "aGVs\r\nbG8h\r\nDQpieWUNCg==\r\n"},
    {"aGVsbG8", "utf-8", "base64", "bye", "aGVsbG8NCmJ5ZQ0K\r\n"},
    {"", "utf-8", "base64", "bye", "YnllDQo=\r\n"},
    {"====\r\n", "utf-8", "base64", "bye", "YnllDQo=\r\n"},
    {"aGVsb\r\n", "utf-8", "base64", "bye", "encoding", .refused = true},
    {"aGVsbG8=\r\n-- footer\r\n", "utf-8", "base64", "bye", "encoding", .refused = true},
    {"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\r\n", "utf-8",
        "base64", "b",
        "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWEN\r\n"
        "CmINCg==\r\n"},
    /* nested: what is around it says 7bit */
    {"a=b\r\n", "iso-8859-1", "7bit", "\xc3\xb6", "a=3Db\r\n=F6\r\n", .needs_quoted = true,
        .is_nested = true},
    {"a\n", "", "", "\xc3\xb6", "a\n=C3=B6\n", .needs_utf8 = true, .needs_quoted = true,
        .is_nested = true, .has_lf = true},
    {"a\r\n", "utf-8", "8bit", "\xc3\xb6", "a\r\n\xc3\xb6\r\n", .is_nested = true},
    {"a", "utf-8", "8bit", "b", "a\r\nb", .is_nested = true},
    {"YQ==", "utf-8", "base64", "b", "YQ0KYg==\r\n", .is_nested = true},
    {"", "utf-8", "8bit", "b", "b\r\n", .is_nested = true},
    {"<p>a", "utf-8", "8bit", "b", "<p>ab", .is_html = true, .is_nested = true},
    {"a</body>", "", "", "b", "ab\r\n</body>", .is_html = true, .is_nested = true},
    {"a\n", "utf-8", "8bit", "b\r\nc", "a\nb\nc\n", .has_lf = true},
    {"a=\n", "utf-8", "quoted-printable", "b", "a=\n\nb\n", .has_lf = true},
    {"YQ==\n", "utf-8", "base64", "b", "YQ0KYg0K\n", .has_lf = true},
    /* a stray "=" must not take what follows it */
    {"a=zz", "utf-8", "quoted-printable", "b", "a=3Dzz\r\nb\r\n"},
    {"a=", "utf-8", "quoted-printable", "41", "a\r\n41\r\n"},
    /* wide charsets: "a\n" and "a" */
    {"YQAKAA==", "utf-16le", "base64", "b\xc3\xb6", "YQAKAGIA9gANAAoA\r\n"},
    {"//5hAAoA", "utf-16", "base64", "b", "//5hAAoAYgANAAoA\r\n"},
    {"AGE=", "utf-16", "base64", "b", "AGEADQAKAGIADQAK\r\n"},
    {"AAAAYQ==", "utf-32be", "base64", "b", "AAAAYQAAAA0AAAAKAAAAYgAAAA0AAAAK\r\n"},
    {"YQBi", "utf-16le", "base64", "b", "charset", .refused = true},
    {"a\0", "utf-16le", "8bit", "b", "charset", .refused = true},
    {"a", "ibm037", "base64", "b", "encoding", .refused = true},
    {"gQ==", "ibm037", "base64", "b", "charset", .refused = true},
    {"gQ==", "cp500", "base64", "b", "charset", .refused = true},
    {"gQ==", "ebcdic-cp-us", "base64", "b", "charset", .refused = true},
    {"a", "utf-7", "7bit", "b", "charset", .refused = true},
    {"a", "iso-2022-kr", "7bit", "b", "charset", .refused = true},
    {"a", "hz-gb-2312", "7bit", "b", "charset", .refused = true},
    {"a", "ibm850", "7bit", "b", "a\r\nb\r\n"},
    /* ISO-2022-JP that does not end in ASCII */
    {"\x1b$B$\"", "iso-2022-jp", "7bit", "b", "\x1b$B$\"\x1b(B\r\nb\r\n"},
    /* format=flowed */
    {"a\r\n", "", "", "b  \n> c\n from\nFrom me\n-- \nx",
        "a\r\nb\r\n > c\r\n  from\r\n"
        " From me\r\n-- \r\nx\r\n",
        .is_flowed = true},
    {"a \r\n", "", "", "b", "a \r\n\r\nb\r\n", .is_flowed = true},
    {"a \r\n", "", "", "b", "a \r\nb\r\n"},
    {"a\r\n-- \r\n", "", "", "b", "a\r\n-- \r\nb\r\n", .is_flowed = true},
    {"", "", "", FIFTY "word " FIFTY, FIFTY "word \r\n" FIFTY "\r\n", .is_flowed = true},
    {"", "", "", FIFTY "word " FIFTY, FIFTY "word  \r\n" FIFTY "\r\n", .is_flowed = true,
        .has_delsp = true},
    /* HTML */
    {"<p>a</p>", "utf-8", "8bit", "<i>b</i>", "<p>a</p><i>b</i>\r\n", .is_html = true},
    {"<body>a</body></html>\r\n", "utf-8", "8bit", "<i>b</i>",
        "<body>a<i>b</i>\r\n</body></html>\r\n", .is_html = true},
    {"a</HTML >", "", "", "\xc3\xb6", "a&#246;\r\n</HTML >", .is_html = true},
    {"a<!-- </body> --><script>'</body>'</script><a title='</body>'>", "", "", "b",
        "a<!-- </body> --><script>'</body>'</script><a title='</body>'>b\r\n", .is_html = true},
    {"a</body>b</body>c", "", "", "x", "a</body>bx\r\n</body>c", .is_html = true},
    {"a</body><!-- </body>", "", "", "x", "ax\r\n</body><!-- </body>", .is_html = true},
    {"a<!-- open", "", "", "x", "ax\r\n<!-- open", .is_html = true},
    {"a<style>open", "", "", "x", "ax\r\n<style>open", .is_html = true},
    {"a<a href=\"open", "", "", "x", "ax\r\n<a href=\"open", .is_html = true},
    {"a=3D</bo=\r\ndy>", "utf-8", "quoted-printable", "<i title=\"1\">b</i>",
        "a=3D<i title=3D\"1\">b</i>\r\n</bo=\r\ndy>", .is_html = true},
    {"PGI+YTwvYm9keT4=", "utf-8", "base64", "x", "PGI+YXgNCjwvYm9keT4=\r\n", .is_html = true},
    {"PABiAD4APAAvAGIAbwBkAHkAPgA=", "utf-16le", "base64", "x\xc3\xb6",
        "PABiAD4AeAAmACMAMgA0ADYAOwANAAoAPAAvAGIAbwBkAHkAPgA=\r\n", .is_html = true},
    /* "</body>" among the double bytes of ISO-2022-JP is none */
    {"\x1b$B</body>\x1b(B</p>", "iso-2022-jp", "7bit", "x", "\x1b$B</body>\x1b(B</p>x\r\n",
        .is_html = true},
};

static struct append append_of(const struct row *row)
{
    return (struct append){.body = slice_text(row->body),
        .charset = row->charset,
        .encoding = row->encoding,
        .line_end = row->has_lf ? "\n" : "\r\n",
        .is_html = row->is_html,
        .is_flowed = row->is_flowed,
        .has_delsp = row->has_delsp,
        .is_top = !row->is_nested,
        .text = slice_text(row->text)};
}

static const char *or_none(const char *s)
{
    return s != NULL ? s : "none";
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct arena *arena = arena_new();
        struct buf out;
        struct append append = append_of(row);
        buf_init(&out, 1 << 20);
        const char *why = append_to_body(&append, arena, &out);
        const char *got = why != NULL ? why : arena_memdup0(arena, out.data, out.len);
        if ((why != NULL) != row->refused || strcmp(got, row->wanted) != 0)
            fail_msg("row %zu: got \"%s\", wanted \"%s\"", i, got, row->wanted);
        if (!row->refused) {
            assert_string_equal(or_none(append.new_charset), row->needs_utf8 ? "utf-8" : "none");
            assert_string_equal(or_none(append.new_encoding), row->needs_8bit ? "8bit"
                                                              : row->needs_quoted
                                                                  ? "quoted-printable"
                                                                  : "none");
        }
        buf_clear(&out);
        arena_free(arena);
    }
}

static void test_too_big(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct buf out;
    struct append append = append_of(&(struct row){"0123456789", "", "", "x", ""});
    buf_init(&out, 10);
    assert_string_equal(append_to_body(&append, arena, &out), "size");
    buf_clear(&out);
    arena_free(arena);
}

/* No line over the 998 bytes of RFC 5322, broken at a blank or between characters. */
static void test_long_lines(void **state)
{
    (void)state;
    enum { LEN = 5000 };
    struct arena *arena = arena_new();
    char *text = arena_alloc(arena, LEN + 1);
    for (size_t i = 0; i < LEN; i += 2)
        memcpy(text + i, "\xc3\xb6", 2);
    memset(text + 700, ' ', 2);
    text[LEN] = '\0';
    struct buf out;
    struct append append = append_of(&(struct row){"", "utf-8", "8bit", text, ""});
    buf_init(&out, 1 << 20);
    assert_null(append_to_body(&append, arena, &out));
    size_t start = 0, lines = 0;
    for (size_t i = 0; i < out.len; i++) {
        if (out.data[i] != '\n')
            continue;
        assert_true(i - start < 998);
        assert_true((out.data[start] & 0xc0) != 0x80);
        start = i + 1;
        lines++;
    }
    assert_int_equal(lines, 6);
    assert_int_equal(out.len, LEN + 2 * lines);
    buf_clear(&out);
    arena_free(arena);
}

#define W(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static void test_once(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct slice wanted;
        bool is_there;
    } texts[] = {
        {"a\r\nb c\r\nd", W("b c"), true},
        {"> a\n> b\n> > c", W("a b c"), true},
        {">> b\n>> c", W("b  c\n"), true},
        {"b\xc2\xa0"
         "c",
            W("b c"), true},
        {"b > c", W("b c"), false},
        {"bc", W("b c"), false},
        {"", W("b"), false},
        {"b", W(""), false},
        {"b", W(" \n"), false},
        {"b", W("\0 \0"), false},
        {"> by Ann on\r\n> Monday.", W("by \0 on \0."), true},
        {"by on .", W("by \0 on \0."), true},
        {"by Ann, on", W("by \0 on \0."), false},
        {"on Monday by Ann.", W("by \0 on"), false},
        {"by by Ann on", W("\0by Ann\0"), true},
        {"by Ann and by Bob on x", W("by Bob \0 x"), true},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct arena *arena = arena_new();
        if (append_is_there(slice_text(texts[i].text), &texts[i].wanted, 1, arena) !=
            texts[i].is_there)
            fail_msg("\"%s\" in \"%s\"", texts[i].wanted.data, texts[i].text);
        arena_free(arena);
    }
}

/* What a NUL stands for has an end; of a place where it is too long the search goes on. */
static void test_once_gap(void **state)
{
    (void)state;
    enum { GAPS = 3 };
    static const struct slice wanted = W("from \0 till");
    static const struct {
        size_t gap;
        bool is_there;
    } gaps[GAPS] = {{10, true}, {APPEND_GAP_BYTES - 2, true}, {APPEND_GAP_BYTES + 1, false}};
    for (size_t i = 0; i < GAPS; i++) {
        struct arena *arena = arena_new();
        const char *text = arena_printf(arena, "from %0*d till", (int)gaps[i].gap, 0);
        assert_int_equal(append_is_there(slice_text(text), &wanted, 1, arena), gaps[i].is_there);
        text = arena_printf(arena, "%s, from 1 till", text);
        assert_true(append_is_there(slice_text(text), &wanted, 1, arena));
        const struct slice two[] = {W("nothing"), wanted};
        assert_true(append_is_there(slice_text(text), two, 2, arena));
        assert_false(append_is_there(slice_text(text), two, 1, arena));
        arena_free(arena);
    }
}

static void test_content_type(void **state)
{
    (void)state;
    static const struct {
        const char *value, *charset, *changed;
        bool is_plain;
    } types[] = {
        {"", "", "text/plain; charset=utf-8", false},
        {" text/plain", "", "text/plain; charset=utf-8", true},
        {" Text/Plain; charset=US-ASCII", "us-ascii", "Text/Plain; charset=utf-8", true},
        {" text/plain;\r\n\tcharset=\"us-ascii\"; format=flowed", "us-ascii",
            "text/plain; format=flowed; charset=utf-8", true},
        {"text/plain; name=\"a;charset=x\"; charset = latin1 ;", "latin1",
            "text/plain; name=\"a;charset=x\"; charset=utf-8", true},
        {"text/plain; charset*=us-ascii''x; charset*0=y", "us-ascii''x",
            "text/plain; charset=utf-8", true},
        {"text/html; charset", "", "text/html; charset; charset=utf-8", false},
        {"text/plain; x=\"unended", "", "text/plain; x=\"unended; charset=utf-8", true},
        {";;;", "", "text/plain; charset=utf-8", false},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct arena *arena = arena_new();
        const struct slice value = slice_text(types[i].value);
        assert_int_equal(content_type_is(value, "text/plain"), types[i].is_plain);
        assert_string_equal(content_type_charset(value, arena), types[i].charset);
        const struct slice changed = content_type_with_charset(value, "utf-8", arena);
        assert_string_equal(arena_memdup0(arena, changed.data, changed.len), types[i].changed);
        arena_free(arena);
    }
}

static void test_received(void **state)
{
    (void)state;
    static const struct {
        const char *value, *ip, *helo, *hostname; /* ip NULL: unreadable */
    } fields[] = {
        /* sendmail */
        {" from helo.example (ptr.example [192.0.2.7])\r\n\tby us (8.17.1/8.17.1) with ESMTP id "
         "x",
            "192.0.2.7", "helo.example", "ptr.example"},
        {"from helo.example ([192.0.2.7]) by us", "192.0.2.7", "helo.example", ""},
        {"from [10.0.0.1] (ident@ptr.example [192.0.2.7] (may be forged)) by us", "192.0.2.7",
            "[10.0.0.1]", "ptr.example"},
        {"from h (IDENT:[10.9.9.9]@ptr.example [192.0.2.7]) by us", "192.0.2.7", "h",
            "ptr.example"},
        {"from h (p [IPv6:2001:db8::1]) by us", "2001:db8::1", "h", "p"},
        {"from h (p [::ffff:192.0.2.9]) by us", "192.0.2.9", "h", "p"},
        /* Postfix */
        {"from helo.example (unknown [192.0.2.8])\r\n\t(using TLSv1.3 with cipher X [10.1.1.1])\r\n"
         "\tby us (Postfix)",
            "192.0.2.8", "helo.example", ""},
        /* Exim */
        {"from [192.0.2.9] (helo=foo.example) by us", "192.0.2.9", "foo.example", ""},
        {"from name.example ([192.0.2.10] helo=foo.example) by us", "192.0.2.10", "foo.example",
            ""},
        {"from name.example ([192.0.2.10]:2525) by us", "192.0.2.10", "name.example", ""},
        /* qmail */
        {"from unknown (HELO foo.example) (192.0.2.11) by us", "192.0.2.11", "foo.example", ""},
        /* nothing there */
        {"by us with local id x", NULL, NULL, NULL},
        {"from localhost by us", NULL, NULL, NULL},
        {"from h (no address) by us", NULL, NULL, NULL},
        {"from h (p [999.1.1.1]) by us", NULL, NULL, NULL},
        {"from h (unended [192.0.2.1]", NULL, NULL, NULL},
        {"from", NULL, NULL, NULL},
        {"", NULL, NULL, NULL},
        {"(from h [192.0.2.1])", NULL, NULL, NULL},
        {"from h ()", NULL, NULL, NULL},
        {"from h (\\", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        struct received got;
        const bool is_read = received_from_text(slice_text(fields[i].value), &got);
        if (is_read != (fields[i].ip != NULL))
            fail_msg("%s: read: %d", fields[i].value, is_read);
        if (!is_read)
            continue;
        assert_string_equal(got.ip, fields[i].ip);
        if (!slice_equal(got.helo, slice_text(fields[i].helo)) ||
            !slice_equal(got.hostname, slice_text(fields[i].hostname)))
            fail_msg("%s: helo \"%.*s\", hostname \"%.*s\"", fields[i].value, (int)got.helo.len,
                got.helo.data, (int)got.hostname.len, got.hostname.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_too_big),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_once_gap),
        cmocka_unit_test(test_content_type),
        cmocka_unit_test(test_received),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
