/* Tokens of HTML, its text, its links, the charset it names, references both ways; addresses in
 * plain text, and bodies with other addresses in their places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/html.h"
#include "worker/html_scan.h"
#include "worker/url_rewrite.h"
#include "worker/url_text.h"

static void equal(const char *what, struct slice got, const char *wanted)
{
    if (!slice_equal(got, slice_text(wanted)))
        fail_msg("%s: got \"%.*s\", wanted \"%s\"", what, (int)got.len, got.data, wanted);
}

/* ---- tokens ---- */

/* Each token as its kind, and a "!" when the input ended in it. */
static const struct {
    const char *html, *kinds;
} scans[] = {
    {"", ""},
    {"a", "t"},
    {"a<b>c</b>", "tstE"},
    {"a < b <", "ttt"},
    {"<<<", "ttt"},
    {"<!-- a > b -->c", "ct"},
    {"<!-->a<!--->b<!-- --!>c", "ctctct"},
    {"<!-- <b>", "c!"},
    {"<!-- a --", "c!"},
    {"<!doctype html><?x y><![CDATA[a]]></ b>", "cccc"},
    {"</", "t"},
    {"<b", "s!"},
    {"</b", "E!"},
    {"<a title='>'>b", "st"},
    {"<a title=\">b</a>", "stE"},
    {"<a title='x>b</a>", "stE"},
    {"<script>a<b>c</script>d", "srEt"},
    {"<SCRIPT>a</scripting></Script >d", "srEt"},
    {"<style></style>", "sE"},
    {"<title>a", "sr!"},
    {"<textarea><b></textarea>", "srE"},
    {"<plaintext>a</plaintext>", "sr!"},
    {"<br/><img src=a/>", "ss"},
};

static void test_scan(void **state)
{
    (void)state;
    static const char letters[] = {'t', 's', 'E', 'c', 'r'};
    for (size_t i = 0; i < sizeof(scans) / sizeof(scans[0]); i++) {
        struct html_scan scan;
        struct html_token token;
        char kinds[64];
        size_t n = 0, at = 0;
        html_scan_init(&scan, slice_text(scans[i].html));
        while (html_scan_next(&scan, &token)) {
            assert_int_equal(token.start, at);
            assert_true(token.end > token.start);
            at = token.end;
            kinds[n++] = letters[token.kind];
            if (token.is_open)
                kinds[n++] = '!';
        }
        assert_int_equal(at, strlen(scans[i].html));
        equal(scans[i].html, slice_of(kinds, n), scans[i].kinds);
    }
}

static void test_attributes(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
        char quote;
    } wanted[] = {{"a", "1", 0}, {"b", "2 3", '"'}, {"c", "4>5", '\''}, {"d", NULL, 0},
        {"=e", "6", 0}, {"f", "/x", 0}, {"g", "'open", 0}};
    struct html_attribute attribute;
    size_t pos = 0;
    const struct slice text = slice_text(" a=1 b = \"2 3\"c='4>5' / d =e=6 f=/x g='open >");
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        assert_true(html_attribute_next(text, &pos, &attribute));
        if (i == 3) { /* "d =e" is d with the value e=6 */
            equal("name", attribute.name, "d");
            equal("value", attribute.value, "e=6");
            i++;
            continue;
        }
        equal("name", attribute.name, wanted[i].name);
        equal("value", attribute.value, wanted[i].value);
        assert_int_equal(attribute.quote, wanted[i].quote);
    }
    assert_false(html_attribute_next(text, &pos, &attribute));
    assert_int_equal(text.data[pos], '>');
}

/* ---- text ---- */

static const struct {
    const char *html, *text;
} texts[] = {
    {"<p>a &amp; b</p><p>c&nbsp;d</p>", "a & b\nc d"},
    {"<title>t</title><style>x{}</style>a<script>if (1<2) x()</script>b<!-- c -->d", "abd"},
    {"<html><head>shown</head><body>too", "shown\ntoo"},
    {"a<template>b<template>c</template>d</template>e", "ae"},
    {"<textarea>a</textarea><xmp><b></xmp>", "a<b>"},
    {"<pre>a\n  b\n</pre>", "a\nb"},
    {"<table><tr><td>a<td>b<tr><td>c</table>", "a b\nc"},
    {"x<br>y<BR/>z", "x\ny\nz"},
    {"a<a title='>'>b</a>", "ab"},
    {"&lt;b&gt; &#x41;&#66;&bogus; &copy &#128;", "<b> AB&bogus; \xc2\xa9 \xe2\x82\xac"},
    {"&#0;&#xd800;&#1114112;", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"<b", ""},
    {"a<!-- b", "a"},
};

static void test_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct arena *arena = arena_new();
        equal(
            texts[i].html, html_text(slice_text(texts[i].html), 1000, arena, NULL), texts[i].text);
        arena_free(arena);
    }
}

static void test_text_limit(void **state)
{
    (void)state;
    static const struct {
        const char *html;
        size_t max;
        const char *text;
        bool is_cut;
    } rows[] = {
        {"<!-- a comment --><p title='padding'>abc", 3, "ab", true},
        {"<!-- a comment --><p title='padding'>abc", 4, "abc", false},
        {"one two three", 9, "one two t", true},
        {"abcdefgh", 5, "abcd", true},
        {"ab\xc3\xa4\xc3\xa4", 4, "ab", true},
        {"ab\xc3\xa4\xc3\xa4", 5, "ab\xc3\xa4", true},
        {"abc<!-- nothing more --> ", 4, "abc", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena *arena = arena_new();
        bool is_cut = !rows[i].is_cut;
        equal(rows[i].html, html_text(slice_text(rows[i].html), rows[i].max, arena, &is_cut),
            rows[i].text);
        assert_int_equal(is_cut, rows[i].is_cut);
        arena_free(arena);
    }
}

static void test_meta_charset(void **state)
{
    (void)state;
    static const struct {
        const char *html, *charset;
    } rows[] = {
        {"<meta charset=KOI8-R>", "koi8-r"},
        {"<head><meta name=x><meta charset=\"utf-8\">", "utf-8"},
        {"<meta http-equiv=Content-Type content='text/html; charset=iso-8859-2'>", "iso-8859-2"},
        {"<meta content='text/html; charset=iso-8859-2'>", ""},
        {"<meta http-equiv=content-type content='text/html; charset = \"big5\"; x'>", "big5"},
        {"<meta charset=utf-16>", "utf-8"},
        {"<!-- <meta charset=x> -->", ""},
        {"<script><meta charset=x></script>", ""},
        {"<meta charset=>", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena *arena = arena_new();
        assert_string_equal(html_meta_charset(slice_text(rows[i].html), arena), rows[i].charset);
        arena_free(arena);
    }
}

static void test_escape(void **state)
{
    (void)state;
    struct buf out;
    struct arena *arena = arena_new();
    buf_init(&out, 1000);
    assert_int_equal(html_escape(slice_text("<a b=\"c\">'&'\xc3\xb6"), false, &out), 0);
    equal("escape", buf_slice(&out), "&lt;a b=&quot;c&quot;&gt;&#39;&amp;&#39;\xc3\xb6");
    equal("decoded", html_decode(buf_slice(&out), arena), "<a b=\"c\">'&'\xc3\xb6");
    buf_reset(&out);
    assert_int_equal(
        html_to_ascii(slice_text("<b>\xc3\xb6\xe2\x82\xac\xf0\x9f\x98\x80&"), &out), 0);
    equal("ascii", buf_slice(&out), "<b>&#246;&#8364;&#128512;&");
    equal(
        "decoded", html_decode(buf_slice(&out), arena), "<b>\xc3\xb6\xe2\x82\xac\xf0\x9f\x98\x80&");
    /* as in attributes: "&copy=" is no reference */
    equal("query", html_decode(slice_text("?a=1&copy=2&amp;lt=3"), arena), "?a=1&copy=2&lt=3");
    buf_clear(&out);
    arena_free(arena);
}

/* ---- links ---- */

struct joined {
    struct buf out;
    struct arena *arena;
    struct slice html;
};

static void on_link(const struct html_link *link, void *context)
{
    struct joined *joined = context;
    assert_true(link->from < link->to && link->to <= joined->html.len);
    assert_true(link->url_from < link->url_to && link->url_to <= link->value.len);
    if (joined->out.len > 0)
        assert_int_equal(buf_put(&joined->out, " ", 1), 0);
    const struct slice url = url_without_blanks(link->url, joined->arena);
    assert_int_equal(buf_put(&joined->out, url.data, url.len), 0);
}

static const struct {
    const char *html, *links;
} links[] = {
    {"<a href=http://a/>x</a><img src='b'>", "http://a/ b"},
    {"<a HREF = \" http://a/?b=1&amp;c=2 \">", "http://a/?b=1&c=2"},
    {"<a href='h&#116;tp://a&#x2f;b'>", "http://a/b"},
    {"<a href='ht\ntp://\ta/b'>", "http://a/b"},
    {"<a href='java&Tab;script:x'>", "javascript:x"},
    {"<a title=\"href='no'\" href=yes>", "yes"},
    {"<a data-href=no name=no href=yes>", "yes"},
    {"<img srcset='a.png 1x, b.png 2x,c.png'>", "a.png b.png c.png"},
    {"<img srcset=',a.png, b.png,'>", "a.png b.png"},
    {"<div style='background:url( \"a.png\" ) url(b.png)'>", "a.png b.png"},
    {"<div style=\"background:url(&quot;a.png&quot;)\">", "a.png"},
    {"<style>@import 'a.css'; p { background: URL(b.png) }</style>", "a.css b.png"},
    {"<p style='a:url(\\68ttp\\3a //a/) url( \"\\000068 ttp:\\/\\/b/\\\n\") \\75 R\\4c(c\\)d)'>",
        "http://a/ http://b/ c)d"},
    {"<style>@\\69mport 'a.css'; b{c:url('\\')url(x') url(\\</style>", "a.css ')url(x \\"},
    {"<p style='a:-webkit-image-set(\"a.png\" type(\"image/png\") 1x, url(\"b\") 2x, \"c\" 3x) "
     "\"d\"'>",
        "a.png b c"},
    {"<param name=movie value=a><param value=b name=' SRC '><param name=flag value=c><param "
     "value=d>",
        "a b"},
    {"<iframe srcdoc='<a href=&quot;http://a/?b&amp;amp;c&quot;></a><p "
     "style=\"x:url(d)\">http://e/'>",
        "http://a/?b&c d http://e/"},
    {"<iframe srcdoc='<iframe srcdoc=&quot;<a href=b>&quot; src=c>' src=d>", "c d"},
    {"<svg><a xlink:href=a></svg>", "a"},
    {"<meta http-equiv=refresh content='0; url=http://a/'>", "http://a/"},
    {"<meta http-equiv=refresh content='0;http://a/'>", "http://a/"},
    {"<meta http-equiv=refresh content=' .5, \"http://a/\" x'>", "http://a/"},
    {"<meta http-equiv=refresh content='1 http://a/'><meta content='5'><meta content=x>",
        "http://a/"},
    {"<form action=a><button formaction=b>", "a b"},
    {"<!--[if mso]><a href=a><![endif]-->", "a"},
    {"<script>x = '<a href=a>'</script>", "a"},
    {"http://a/ <a href=b>http://c/</a> http://d/.", "http://a/ b http://d/"},
    {"http://a/&nbsp;http://b/&lt;c http://d/?e&amp;f", "http://a/ http://b/ http://d/?e&f"},
    {"<p>&#104;ttp://a/?b&amp;c http&colon;//b&sol; x&amp;y ht&#116;p:&#47;/c/&#46;",
        "http://a/?b&c http://b/ http://c/"},
    {"http://a/&amp;", "http://a/&"},
    {"<a ping='a b' href=''>", "a b"},
    {"<a href=a><a href=b></a> http://c/", "a b http://c/"},
    {"<a name=x>http://a/</a><a href=b>http://c/</b></a>", "http://a/ b"},
};

static void test_links(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        struct joined joined = {.arena = arena_new(), .html = slice_text(links[i].html)};
        buf_init(&joined.out, 1000);
        html_links_each(joined.html, true, joined.arena, on_link, &joined);
        equal(links[i].html, buf_slice(&joined.out), links[i].links);
        buf_clear(&joined.out);
        arena_free(joined.arena);
    }
}

static void test_url_of_attribute(void **state)
{
    (void)state;
    static const struct {
        const char *value, *url; /* NULL: none */
    } rows[] = {
        {"http://a", "http://a"},
        {"HTTPS://a", "HTTPS://a"},
        {"mailto:a@b", "mailto:a@b"},
        {"  http://a \n", "http://a"},
        {"ht\ttp\n://a", "http://a"},
        {"\x01http://a", "http://a"},
        {"http:\\\\a", "http://a"},
        {"http:/a", "http://a"},
        {"https:a", "https://a"},
        {"http:////a", "http://a"},
        {"//a/b", "http://a/b"},
        {"\\\\a", "http://a"},
        {"/a", NULL},
        {"a", NULL},
        {"#a", NULL},
        {"", NULL},
        {"http://", NULL},
        {"javascript:x", NULL},
        {"hxxp://a", NULL},
        {"cid:a", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena *arena = arena_new();
        const struct slice url = url_of_attribute(slice_text(rows[i].value), arena);
        if ((url.data == NULL) != (rows[i].url == NULL))
            fail_msg("\"%s\": %s", rows[i].value, url.data != NULL ? "an address" : "none");
        if (url.data != NULL)
            equal(rows[i].value, url, rows[i].url);
        arena_free(arena);
    }
}

static void test_nul_hides_no_address(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "http://a\0b", "ht\0tp://ab", "\0http://ab", "http://ab\0\0"};
    static const size_t sizes[] = {10, 10, 10, 11};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena *arena = arena_new();
        equal(rows[i], url_of_attribute(slice_of(rows[i], sizes[i]), arena), "http://ab");
        arena_free(arena);
    }
}

/* ---- other addresses ---- */

/* Addresses with an "a" become "http://new/&'x", others stay. */
static void rewrite(struct url_rewrite *r, struct buf *out)
{
    assert_true(url_rewrite_open(r));
    for (size_t i = 0; i < r->n_places; i++) {
        if (memchr(r->places[i].url.data + 7, 'a', r->places[i].url.len - 7) != NULL)
            r->places[i].new_url = url_to_ascii(slice_text("http://new/&'\xc3\xb6"), r->arena);
    }
    assert_int_equal(url_rewrite_put(r, out), 0);
}

static const struct {
    const char *body, *charset, *encoding;
    bool is_html;
    const char *wanted;
} rewrites[] = {
    {"x http://a/ y http://b/.", "", "", false, "x http://new/&'%C3%B6 y http://b/."},
    {"x", "utf-8", "8bit", false, "x"},
    {"\xe4 http://a/\xe4 \xe4", "iso-8859-1", "8bit", false, "\xe4 http://new/&'%C3%B6 \xe4"},
    {"<a href=http://a/ title=x>http://a/</a> http://a/ <b>", "", "", true,
        "<a href=\"http://new/&amp;&#39;%C3%B6\" title=x>http://a/</a> http://new/&amp;&#39;%C3%B6 "
        "<b>"},
    {"<a href='\thttp://a/&quot;'>", "", "", true, "<a href=\"http://new/&amp;&#39;%C3%B6\">"},
    {"<p>x&nbsp;&#104;ttp&colon;//&#97;/&amp;y z", "", "", true,
        "<p>x&nbsp;http://new/&amp;&#39;%C3%B6 z"},
    {"<a href=http://b/><a href=http://b/></a> http://a/", "", "", true,
        "<a href=http://b/><a href=http://b/></a> http://new/&amp;&#39;%C3%B6"},
    {"<img srcset='http://a/ 1x, http://b/ 2x'>", "", "", true,
        "<img srcset=\"http://new/&amp;%27%C3%B6 1x, http://b/ 2x\">"},
    {"<p style=\"a:url('http://a/')\">", "", "", true,
        "<p style=\"a:url(&#39;http://new/&amp;%27%C3%B6&#39;)\">"},
    {"<style>a{b:url(http://a/)} c{d:url(http://b/)}</style>", "", "", true,
        "<style>a{b:url(http://new/&%27%C3%B6)} c{d:url(http://b/)}</style>"},
    {"<style>a{b:url(\\68ttp://a/)}</style><p style='c:url(\\68 ttp://a/) url(d)'>", "", "", true,
        "<style>a{b:url(http://new/&%27%C3%B6)}</style>"
        "<p style=\"c:url(http://new/&amp;%27%C3%B6) url(d)\">"},
    {"<iframe srcdoc='<a href=http://a/>' src=http://a/>", "", "", true,
        "<iframe srcdoc='<a href=http://a/>' src=\"http://new/&amp;&#39;%C3%B6\">"},
    {"=41 http:=\r\n//a/=20 =41", "utf-8", "quoted-printable", false,
        "=41 http://new/&'%C3%B6=20 =41"},
    {"eCBodHRwOi8vYS8geQ==", "utf-8", "base64", false, "eCBodHRwOi8vbmV3LyYnJUMzJUI2IHk=\r\n"},
    {"aAB0AHQAcAA6AC8ALwBhAC8A", "utf-16", "base64", false,
        "aAB0AHQAcAA6AC8ALwBuAGUAdwAvACYAJwAlAEMAMwAlAEIANgA=\r\n"},
    {"aAB0AHQAcAA6AC8ALwBhAC8A", "utf-16le", "base64", false,
        "aAB0AHQAcAA6AC8ALwBuAGUAdwAvACYAJwAlAEMAMwAlAEIANgA=\r\n"},
};

static void test_rewrite(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rewrites) / sizeof(rewrites[0]); i++) {
        struct url_rewrite r = {.body = {.encoded = slice_text(rewrites[i].body),
                                    .encoding = rewrites[i].encoding,
                                    .line_end = "\r\n"},
            .charset = rewrites[i].charset,
            .is_html = rewrites[i].is_html,
            .arena = arena_new()};
        struct buf out;
        buf_init(&out, 1 << 16);
        rewrite(&r, &out);
        equal(rewrites[i].body, buf_slice(&out), rewrites[i].wanted);
        buf_clear(&out);
        arena_free(r.arena);
    }
}

/* ---- time ---- */

/* Whatever is repeated, half a MiB is read in one go: a quadratic walk would take far too long. */
static void test_linear(void **state)
{
    (void)state;
    static const char *const units[] = {"<", "<a", "<a ", "<a b=\"", "<a b='x ", "<!--", "<!-- -- ",
        "<script>", "</script", "&", "&#", "http://", "http://a&nbsp;", "<b x=y", "<style>url(",
        "url('", "<title>", "<a href=http://a>", "<p style='url(", "=", "\"", "<template>",
        "<pre>\n", "<p style='image-set(\"", "<p style='image-set(", "<p style='\\75 \\72 ",
        "<p style=a:url(\\0>", "@import ", "<style>@import ", "<iframe srcdoc='<a href=b>",
        "<iframe srcdoc=\"<a href='b' ", "<param name=movie value=a ", "<param name=movie value=a>",
        "<param "};
    enum { BYTES = 1 << 19 };
    char *html = test_malloc(BYTES);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct joined joined = {.arena = arena_new(), .html = slice_of(html, BYTES)};
        const size_t len = strlen(units[i]);
        size_t n = 0;
        for (; n + len <= BYTES; n += len)
            memcpy(html + n, units[i], len);
        memset(html + n, ' ', BYTES - n);
        buf_init(&joined.out, SIZE_MAX / 2);
        assert_true(html_place(joined.html) <= BYTES);
        html_text(joined.html, BYTES, joined.arena, NULL);
        html_links_each(joined.html, true, joined.arena, on_link, &joined);
        buf_clear(&joined.out);
        arena_free(joined.arena);
    }
    test_free(html);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_limit),
        cmocka_unit_test(test_meta_charset),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_url_of_attribute),
        cmocka_unit_test(test_nul_hides_no_address),
        cmocka_unit_test(test_rewrite),
        cmocka_unit_test(test_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
