/* Header values both ways, charsets, HTML, the text of a message, addresses, transfer encodings,
 * types by content. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/mime_fixture.h"
#include "worker/mime_impl.h"

struct pair {
    const char *in, *out;
};

static void equal(struct slice got, const char *wanted)
{
    struct slice text = slice_text(wanted);
    if (!slice_equal(got, text))
        print_message("got \"%.*s\", wanted \"%s\"\n", (int)got.len, got.data, wanted);
    assert_true(slice_equal(got, text));
}

static const struct pair decoded[] = {
    {" plain", "plain"},
    {" folded\r\n\tvalue\r\n", "folded\tvalue"},
    {"=?utf-8?Q?a_=3D_b?=", "a = b"},
    {"=?UTF-8?B?w6Q=?= x =?iso-8859-1?q?=e4?=", "\xc3\xa4 x \xc3\xa4"},
    {"=?utf-8?Q?a?= =?utf-8?Q?b?=\r\n =?utf-8?Q?c?=", "abc"},
    {"=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "\xc3\xa4"},
    {"=?utf-8*en?Q?x?=", "x"},
    {"=?windows-1252?Q?=80?=", "\xe2\x82\xac"},
    {"=?koi8-r?Q?=C4?=", "\xd0\xb4"},
    {"=?iso-2022-jp?B?GyRCJCIbKEI=?=", "\xe3\x81\x82"},
    {"=?x-nonsense?Q?a?=", "a"},
    {"=?../../etc?Q?a?=", "a"},
    {"=?utf-8?Q?a", "=?utf-8?Q?a"},
    {"=?utf-8?X?a?=", "=?utf-8?X?a?="},
    {"=?utf-8?Q?=FF?=", "\xef\xbf\xbd"},
    {"raw \xc3\xa4", "raw \xc3\xa4"},
    {"raw \xe4", "raw \xc3\xa4"},
    {"a\rb", "a b"},
    {"", ""},
};

static void values_are_decoded(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    mime_start();
    for (size_t i = 0; i < sizeof(decoded) / sizeof(decoded[0]); i++)
        equal(mime_decode_header(slice_text(decoded[i].in), arena), decoded[i].out);
    arena_free(arena);
}

/* name_len 7, as of "Subject". */
static const struct pair encoded[] = {
    {"plain", "plain"},
    {"\xc3\xa4", "=?UTF-8?B?w6Q=?="},
    {"a \xc3\xa4 b", "a =?UTF-8?B?w6Q=?= b"},
    {"\xc3\xa4 \xc3\xb6", "=?UTF-8?B?w6Qgw7Y=?="},
    {"J\xc3\xb6rg <j@example.org>", "=?UTF-8?B?SsO2cmc=?= <j@example.org>"},
    {"one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
        "one two three four five six seven eight nine ten eleven twelve\n thirteen fourteen"},
    {"", ""},
};

static void values_are_encoded(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    for (size_t i = 0; i < sizeof(encoded) / sizeof(encoded[0]); i++)
        equal(mime_encode_header(slice_text(encoded[i].in), 7, arena), encoded[i].out);
    arena_free(arena);
}

/* Whatever is encoded is decoded to the same, in lines of at most 76 columns that begin with a
 * blank. */
static void encoding_comes_back(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    char text[600];
    for (size_t len = 1; len < sizeof(text) - 4; len++) {
        size_t n = 0;
        while (n < len) { /* "ab€cd €…" */
            static const char unit[] = "ab\xe2\x82\xac"
                                       "cd \xe2\x82\xac\xc3\xa4";
            memcpy(text + n, unit, sizeof(unit) - 1 < sizeof(text) - n ? sizeof(unit) - 1 : 1);
            n += sizeof(unit) - 1 < sizeof(text) - n ? sizeof(unit) - 1 : 1;
        }
        size_t cut = n - 2;
        struct slice value = mime_encode_header(slice_of(text, cut), len % 90, arena);
        assert_true(slice_equal(mime_decode_header(value, arena), slice_of(text, cut)));
        const char *line = value.data, *end = value.data + value.len;
        for (const char *lf; (lf = memchr(line, '\n', (size_t)(end - line))) != NULL;
             line = lf + 1) {
            assert_true(lf + 1 < end && lf[1] == ' ');
            assert_true(lf - line <= 76);
        }
        arena_reset(arena);
    }
    arena_free(arena);
}

static const struct pair texts[] = {
    {"Content-Type: text/plain; charset=iso-8859-1\n\n\xe4\n", "\xc3\xa4\r\n"},
    {"Content-Type: text/plain; charset=utf-8\n\n\xe4\n", "\xef\xbf\xbd\r\n"},
    {"Content-Type: text/plain\n\n\xe4\n", "\xc3\xa4\r\n"},
    {"Content-Type: text/plain; charset=koi8-r\n\n\xc4", "\xd0\xb4"},
    {"Content-Type: text/plain; charset=x-none\n\n\xe4", "\xc3\xa4"},
    {"Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: base64\n\nYQBiAA==",
        "ab"},
    {"Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\nYQBiAA==",
        "ab"},
    {"Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\nAGEAYg==",
        "ab"},
    {"Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n//5hAGIA",
        "ab"},
    {"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\na=3Db=\nc  \nd",
        "a=bc  \r\nd"},
    {"Content-Type: text/html\n\n<p>a &amp; b</p><p>c&nbsp;d</p>", "a & b\nc d"},
    {"Content-Type: text/html\n\n<head><title>t</title></head><style>x{}</style>a<script>if (1<2) "
     "x()</script>b<!-- c -->d",
        "abd"},
    {"Content-Type: text/html\n\na < b &lt; c &#x41;&#66;&bogus; <b x='>'>d</b>",
        "a < b < c AB&bogus; d"},
    {"Content-Type: text/html\n\nx<br>y<td>z<td>", "x\ny z"},
    {"Content-Type: image/png\n\nx", ""},
    {"Content-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n--b\nContent-Type: "
     "text/html\n\n<b>html</b>\n--b--\n",
        "plain"},
    {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: "
     "text/html\n\n<b>html</b>\n--b\nContent-Type: text/html\n\nmore\n--b--\n",
        "html\nmore"},
    {"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Disposition: "
     "attachment\n\nnot this\n--b--\n",
        "one"},
};

static void texts_are_read(void **state)
{
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        mime_fixture_read_text(&f, texts[i].in);
        mime_fixture_check(&f);
        equal(mime_message_text(f.mime), texts[i].out);
    }
    mime_fixture_close(&f);
}

static const char *joined(struct mime_fixture *f, const char *const *list, uint32_t n)
{
    const char *text = "";
    for (uint32_t i = 0; i < n; i++)
        text = arena_printf(f->arena, "%s%s%s", text, i > 0 ? " " : "", list[i]);
    return text;
}

static const struct pair urls[] = {
    {"\nsee http://a.example/x, (https://b.example/y) and ftp://c.example.\n",
        "http://a.example/x https://b.example/y ftp://c.example"},
    {"\nhttp://a.example http://a.example HTTP://a.example/\n",
        "http://a.example HTTP://a.example/"},
    {"\nxhttp://a.example <mailto:a@b.example> http:// http:x\n",
        "http://a.example mailto:a@b.example"},
    {"\nhttp://a.example/(x) \"http://b.example\"\n", "http://a.example/(x) http://b.example"},
    {"Content-Type: text/html\n\n<a "
     "href=\"http://a.example/?x=1&amp;y=2\">https://b.example</a><img src='ftp://c.example'><a "
     "HREF = mailto:x@y>",
        "http://a.example/?x=1&y=2 ftp://c.example mailto:x@y https://b.example"},
    {"Content-Type: text/html\n\n<a href=\"/local\"><a title=\"http://no.example\"><a "
     "href=\"javascript:x\">",
        ""},
    {"Content-Type: image/png\n\nhttp://a.example", ""},
};

static void urls_are_found(void **state)
{
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        uint32_t n;
        mime_fixture_read_text(&f, urls[i].in);
        const char *const *list = mime_urls(f.mime, &n);
        assert_string_equal(joined(&f, list, n), urls[i].out);
    }
    mime_fixture_close(&f);
}

static void charsets_are_listed(void **state)
{
    (void)state;
    struct mime_fixture f;
    uint32_t n;
    mime_fixture_open(&f, NULL);
    mime_fixture_read_text(&f,
        "Subject: =?KOI8-R?Q?x?= =?koi8-r?Q?x?=\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
        "Content-Type: text/plain; charset=UTF-8; name=\"=?big5*zh?Q?x?=\"\n\nx\n--b--\n");
    const char *const *list = mime_charsets(f.mime, &n);
    assert_string_equal(joined(&f, list, n), "koi8-r utf-8 big5");
    mime_fixture_close(&f);
}

static const struct pair contents[] = {
    {"base64\n\naGVs\nbG8=", "hello"},
    {"base64\n\n  aGVs bG8", "hello"},
    {"base64\n\naA==aQ==", "hi"},
    {"base64\n\n", ""},
    {"BASE64\n\naGk=", "hi"},
    {"quoted-printable\n\n=41=\n=42 \t\n=4", "AB \t\r\n=4"},
    {"x-uuencode\n\nbegin 644 x\n#0V%T\n`\nend\n", "Cat"},
    {"7bit\n\n=41", "=41"},
    {"unheard-of\n\n=41", "=41"},
};

static void contents_are_decoded(void **state)
{
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        mime_fixture_read_text(
            &f, arena_printf(
                    f.arena, "Content-Type: x/y\nContent-Transfer-Encoding: %s", contents[i].in));
        assert_int_equal(mime_content_size(f.mime, mime_root(f.mime)), strlen(contents[i].out));
        equal(mime_content(f.mime, mime_root(f.mime)), contents[i].out);
    }
    mime_fixture_close(&f);
}

static const struct pair types[] = {
    {"MZ\x90", "application/x-msdownload"},
    {"PK\x03\x04", "application/zip"},
    {"%PDF-1.4", "application/pdf"},
    {"\xef\xbb\xbf \r\n<!DOCTYPE HTML>", "text/html"},
    {"just text", "text/plain"}, /* from here on libmagic's word */
    {"{\"a\": [1, 2, {\"b\": null}]}", "application/json"},
    {"\x01\x02\x03\xfe", ""},
    {"", ""},
};

/* What our table says, and libmagic: the same, or another name for it. */
static const struct {
    const char *bytes, *ours, *magic;
} both[] = {
    {"%PDF-1.4\n", "application/pdf", "application/pdf"},
    {"GIF89a\x01\x02\x01\x02", "image/gif", "image/gif"},
    {"\xff\xd8\xff\xe0", "image/jpeg", "image/jpeg"},
    {"\x1f\x8b\x08\x08", "application/gzip", "application/gzip"},
    {"BZh91AY&SY", "application/x-bzip2", "application/x-bzip2"},
    {"{\\rtf1 hello}", "application/rtf", "text/rtf"},
    {"%!PS-Adobe-3.0\n", "application/postscript", "application/postscript"},
    {"<!DOCTYPE html><html></html>", "text/html", "text/html"},
    {"#!/bin/sh\necho\n", "text/x-script", "text/x-shellscript"},
    {"-----BEGIN PGP MESSAGE-----\n", "application/pgp-encrypted", "application/pgp-encrypted"},
    {"BEGIN:VCARD\r\nVERSION:3.0\r\n", "text/vcard", "text/vcard"},
    {"BEGIN:VCALENDAR\r\n", "text/calendar", "text/calendar"},
};

static void both_agree(void **state)
{
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++) {
        mime_fixture_read_text(&f, arena_printf(f.arena, "\n%s", both[i].bytes));
        assert_string_equal(mime_detected_type(f.mime, mime_root(f.mime)), both[i].ours);
        const char *magic = mime_magic_type(slice_text(both[i].bytes), f.arena);
        if (strcmp(magic, both[i].magic) != 0)
            print_message("%s: libmagic says \"%s\"\n", both[i].ours, magic);
        assert_string_equal(magic, both[i].magic);
    }
    mime_fixture_close(&f);
}

static void types_are_detected(void **state)
{
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        mime_fixture_read_text(&f, arena_printf(f.arena, "\n%s", types[i].in));
        assert_string_equal(mime_detected_type(f.mime, mime_root(f.mime)), types[i].out);
    }
    mime_fixture_read_text(&f, "Content-Transfer-Encoding: base64\n\nTVqQAAMAAAAEAAAA\n");
    assert_string_equal(mime_detected_type(f.mime, mime_root(f.mime)), "application/x-msdownload");
    mime_fixture_close(&f);
}

static void limits_cut(void **state)
{
    (void)state;
    static const char *const limits[] = {"worker.max_decoded=65536", "worker.max_text=1024", NULL};
    struct mime_fixture f;
    struct buf mail;
    mime_fixture_open(&f, limits);
    buf_init(&mail, 1 << 20);
    (void)buf_printf(
        &mail, "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    for (int i = 0; i < 4000; i++)
        (void)buf_put(&mail, "w6TDpMOkw6TDpMOkw6TDpMOkw6Q=\r\n", 30);
    mime_fixture_read(&f, mail.data, mail.len);
    size_t size = mime_content_size(f.mime, mime_root(f.mime));
    assert_true(size > 50000 && size <= 65536);
    assert_int_equal(mime_content(f.mime, mime_root(f.mime)).len, size);
    assert_true(mime_text(f.mime, mime_root(f.mime)).len <= 1024);
    mime_fixture_check(&f);
    assert_true(mime_fixture_has_defect(&f, "too-much-decoded"));
    assert_true(mime_fixture_has_defect(&f, "text-too-long"));
    buf_clear(&mail);
    mime_fixture_close(&f);
}

/* Padding takes nothing from the limit, addresses are found behind it, and a cut text counts. */
static void padding_hides_nothing(void **state)
{
    (void)state;
    static const char *const limits[] = {"worker.max_text=1024", NULL};
    static const struct {
        const char *front, *padding, *back; /* of a message */
        const char *text_end, *defects, *urls;
    } rows[] = {
        {"Content-Type: text/html\r\n\r\n<!--", "padding\r\n", "--><a href='http://x/'>LAST</a>",
            "LAST", "", "http://x/"},
        {"Content-Type: text/html\r\n\r\n<img src='data:", "x\r\n", "'>LAST http://x/ ",
            "LAST http://x/", "", "http://x/"},
        {"Content-Type: text/html\r\n\r\n", "<b></b>\r\n", "<a href='http://x/?", "", "", ""},
        {"Content-Type: text/html\r\n\r\n<a href='http://x/?", "<b></b>\r\n", "'>LAST</a>", "LAST",
            "", "http://x/?<b></b>"},
        {"Content-Type: text/html\r\n\r\n<p>", "word\r\n", "<a href='http://x/'>http://y/",
            "word word", "text-too-long", "http://x/ http://y/"},
        {"Content-Type: text/plain\r\n\r\n", "word\r\n", "http://x/\r\n", "word\r\nword",
            "text-too-long", "http://x/"},
        {"Content-Type: text/plain; charset=koi8-r\r\n\r\n", "\xc1\r\n", " http://x/\r\n",
            "\xd0\xb0", "text-too-long", "http://x/"},
        {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\n",
            "word\r\n", "\r\n--b\r\n\r\nhttp://x/\r\n--b--\r\n", "word", "text-too-long",
            "http://x/"},
    };
    enum { TIMES = 20000 };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mime_fixture f;
        struct buf mail;
        uint32_t n;
        mime_fixture_open(&f, limits);
        buf_init(&mail, 1 << 20);
        (void)buf_put(&mail, rows[i].front, strlen(rows[i].front));
        for (int k = 0; k < TIMES; k++)
            (void)buf_put(&mail, rows[i].padding, strlen(rows[i].padding));
        (void)buf_put(&mail, rows[i].back, strlen(rows[i].back));
        mime_fixture_read(&f, mail.data, mail.len);
        const char *const *found = mime_urls(f.mime, &n);
        const char *list = joined(&f, found, n);
        assert_int_equal(strncmp(list, rows[i].urls, strlen(rows[i].urls)), 0);
        assert_int_equal(n > 0, rows[i].urls[0] != '\0');
        const struct slice text = mime_message_text(f.mime);
        const char *copy = arena_memdup0(f.arena, text.data, text.len);
        assert_true(text.len <= 1024);
        assert_non_null(strstr(copy, rows[i].text_end));
        assert_string_equal(mime_fixture_defects(&f), rows[i].defects);
        assert_int_equal(mime_fixture_is_ambiguous(&f), rows[i].defects[0] != '\0');
        buf_clear(&mail);
        mime_fixture_close(&f);
    }
}

static void texts_together_are_limited(void **state)
{
    (void)state;
    static const char *const limits[] = {"worker.max_text=1024", NULL};
    struct mime_fixture f;
    struct buf mail;
    mime_fixture_open(&f, limits);
    buf_init(&mail, 1 << 20);
    (void)buf_printf(&mail, "Content-Type: multipart/mixed; boundary=b\r\n");
    for (int i = 0; i < 11; i++)
        (void)buf_printf(&mail, "\r\n--b\r\n\r\n%0100d\r\n", i);
    mime_fixture_read(&f, mail.data, mail.len);
    assert_true(mime_message_text(f.mime).len <= 1024);
    assert_true(mime_message_text(f.mime).len > 1000);
    assert_true(mime_fixture_has_defect(&f, "text-too-long"));
    assert_true(mime_fixture_is_ambiguous(&f));
    buf_clear(&mail);
    mime_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_decoded),
        cmocka_unit_test(values_are_encoded),
        cmocka_unit_test(encoding_comes_back),
        cmocka_unit_test(texts_are_read),
        cmocka_unit_test(urls_are_found),
        cmocka_unit_test(charsets_are_listed),
        cmocka_unit_test(contents_are_decoded),
        cmocka_unit_test(types_are_detected),
        cmocka_unit_test(both_agree),
        cmocka_unit_test(limits_cut),
        cmocka_unit_test(padding_hides_nothing),
        cmocka_unit_test(texts_together_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
