/*
 * Mails made to exhaust a reader: each must be read, with everything that a filter may ask about
 * it, within two seconds and 256 MB, and say what is wrong. Sanitizers get more of both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/mime_fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { IS_SANITIZED = 1 };
#else
enum { IS_SANITIZED = 0 };
#endif
#else
enum { IS_SANITIZED = 0 };
#endif

enum { MEMORY_BYTES = 256 << 20, SECONDS = IS_SANITIZED ? 30 : 2, MAIL_MAX = 64 << 20 };

/* Appends text n times; each "%u" in it becomes the number, from 0 or, going down, to 0. */
static void repeat(struct buf *out, const char *text, uint32_t n, bool is_down)
{
    for (uint32_t i = 0; i < n; i++) {
        const char *rest = text;
        for (const char *mark; (mark = strstr(rest, "%u")) != NULL; rest = mark + 2) {
            (void)buf_put(out, rest, (size_t)(mark - rest));
            (void)buf_printf(out, "%u", is_down ? n - 1 - i : i);
        }
        (void)buf_put(out, rest, strlen(rest));
    }
}

struct piece {
    const char *text;
    uint32_t n;
    bool is_down;
};

static const struct row {
    const char *what;
    struct piece pieces[6];
    const char *defect; /* one that must be there; NULL: none must */
    size_t n_zeros;     /* NUL bytes at the end */
} rows[] = {
    {"20,000 levels of multipart",
        {{"Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n", 20000, false},
            {"x\r\n", 1, false}, {"--b%u--\r\n", 20000, true}},
        "too-deep"},
    {"20,000 levels of message/rfc822",
        {{"Content-Type: message/rfc822\r\n\r\n", 20000, false}, {"\r\nx\r\n", 1, false}},
        "too-deep"},
    {"20,000 levels with one boundary",
        {{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", 20000, false},
            {"x\r\n--b--\r\n", 1, false}},
        "too-deep"},
    {"100,000 parts",
        {{"Content-Type: multipart/mixed; boundary=b\r\n\r\n", 1, false},
            {"--b\r\nContent-Type: text/plain; name=%u.txt\r\n\r\nx\r\n", 100000, false},
            {"--b--\r\n", 1, false}},
        "too-many-parts"},
    {"1,000,000 empty parts",
        {{"Content-Type: multipart/mixed; boundary=b\r\n\r\n", 1, false},
            {"--b\r\n", 1000000, false}},
        "too-many-parts"},
    {"1,000,000 ends",
        {{"Content-Type: multipart/mixed; boundary=b\r\n\r\n", 1, false},
            {"--b--\r\n", 1000000, false}},
        "empty-multipart"},
    {"100,000 headers", {{"X-%u: y\r\n", 100000, false}, {"\r\nx\r\n", 1, false}},
        "too-many-headers"},
    {"100,000 headers in a part",
        {{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", 1, false},
            {"X: y\r\n", 100000, false}, {"\r\nx\r\n--b--\r\n", 1, false}},
        "too-many-headers"},
    {"100,000 Content-Types",
        {{"Content-Type: multipart/mixed; boundary=b%u\r\n", 100000, false},
            {"\r\n--b1\r\n", 1, false}},
        "conflicting-content-type"},
    {"100,000 dispositions",
        {{"Content-Disposition: attachment; filename=\"%u.exe\"\r\n", 100000, false},
            {"\r\nx\r\n", 1, false}},
        "duplicate-content-disposition"},
    {"84 KB of nested groups",
        {{"Cc: ", 1, false}, {"a:", 42000, false}, {"\r\n\r\nx\r\n", 1, false}}, NULL},
    {"1 MB of nested comments",
        {{"Content-Type: text/plain; name=", 1, false}, {"(", 200000, false},
            {"\r\n\r\nx\r\n", 1, false}},
        NULL},
    {"comments behind each name",
        {{"Content-Type: text/plain;", 1, false}, {"name(", 40000, false},
            {"\r\n\r\nx\r\n", 1, false}},
        NULL},
    {"a 10 MB header",
        {{"Content-Type: text/plain; name=", 1, false}, {"xxxxxxxxxx", 1000000, false},
            {"\r\n\r\nx\r\n", 1, false}},
        "header-too-long"},
    {"100,000 parameters",
        {{"Content-Type: text/plain", 1, false}, {"; p%u=x", 30000, false},
            {"\r\n\r\nx\r\n", 1, false}},
        "too-many-parameters"},
    {"a name in 30,000 sections",
        {{"Content-Disposition: attachment", 1, false}, {"; filename*%u=x", 15000, true},
            {"\r\n\r\nx\r\n", 1, false}},
        "too-many-parameters"},
    {"many different names",
        {{"Content-Disposition: attachment", 1, false}, {"; filename=%u.exe", 15000, false},
            {"\r\n\r\nx\r\n", 1, false}},
        "too-many-names"},
    {"quotes without end",
        {{"Content-Type: text/plain", 1, false}, {"; name=\"%u\\\"", 15000, false},
            {"\r\n\r\nx\r\n", 1, false}},
        NULL},
    {"words without end",
        {{"Subject: ", 1, false}, {"=?utf-8?q?", 25000, false}, {"\r\n\r\nx\r\n", 1, false}}, NULL},
    {"words in many charsets",
        {{"Subject: ", 1, false}, {"=?iso-8859-2?q?=e4?= =?koi8-r?q?=e4?= ", 7000, false},
            {"\r\n\r\nx\r\n", 1, false}},
        NULL},
    {"8 MB of dashes",
        {{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n", 1, false},
            {"----------------", 500000, false}, {"\r\n--b--\r\n", 1, false}},
        NULL},
    {"4,000,000 lines of dashes",
        {{"Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n", 45, false},
            {"\r\n", 1, false}, {"--b\r\n", 4000000, false}},
        NULL},
    {"1,000,000 beginnings of a boundary",
        {{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n", 1, false},
            {"--b%u\r\n", 1000000, false}, {"--b--\r\n", 1, false}},
        "boundary-prefix"},
    {"8 MB of NUL", {{"Subject: x\r\n\r\n", 1, false}}, "nul-bytes", 8 << 20},
    {"1,000,000 tags",
        {{"Content-Type: text/html\r\n\r\n", 1, false},
            {"<a href=\"http://x/%u\"><b x='", 300000, false}},
        NULL},
    {"1,000,000 comments",
        {{"Content-Type: text/html\r\n\r\n", 1, false}, {"<!--", 1000000, false}}, NULL},
    {"1,000,000 scripts",
        {{"Content-Type: text/html\r\n\r\n", 1, false}, {"<script><!-- <", 500000, false}}, NULL},
    {"1,000,000 entities",
        {{"Content-Type: text/html\r\n\r\n", 1, false}, {"&#%u;&amp", 1000000, false}}, NULL},
    {"100,000 addresses", {{"\r\n", 1, false}, {"http://%u.example/ ", 100000, false}}, NULL},
    {"4 MB of colons", {{"\r\n", 1, false}, {"http:http:mailto:", 250000, false}}, NULL},
    {"broken UTF-7",
        {{"Content-Type: text/plain; charset=utf-7\r\n\r\n", 1, false},
            {"+\xff\xfe/v8-", 400000, false}},
        NULL},
    {"wrong UTF-16",
        {{"Content-Type: text/plain; charset=utf-16le\r\n\r\n", 1, false},
            {"\xff\xdf", 1000000, false}},
        NULL},
    {"16 MB of base64",
        {{"Content-Transfer-Encoding: base64\r\n\r\n", 1, false},
            {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\r\n",
                200000, false}},
        "broken-base64"},
    {"base64 around base64",
        {{"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n",
             1, false},
            {"Q29udGVudC1UeXBlOiBtZXNzYWdlL3JmYzgyMg0K\r\n", 100000, false}},
        "multipart-with-encoding"},
    {"only CR",
        {{"Content-Type: multipart/mixed; boundary=b\r\r--b\r", 1, false},
            {"A: b\r", 100000, false}, {"\r--b--\r", 1, false}},
        "bare-cr"},
    {"blank continuations",
        {{"Content-Type: text/plain\r\n", 1, false}, {" \r\n", 80000, false},
            {"\r\nx\r\n", 1, false}},
        NULL},
};

static int64_t cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Sanitizers make us ten times slower: a fifth is still over every limit. */
static uint32_t scaled(uint32_t n)
{
    return IS_SANITIZED && n >= 5 ? n / 5 : n;
}

static void limit_memory(void)
{
    struct rlimit limit = {MEMORY_BYTES, MEMORY_BYTES};
    if (!IS_SANITIZED)
        assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

static void each_is_answered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mime_fixture f;
        struct buf mail;
        buf_init(&mail, MAIL_MAX);
        for (const struct piece *piece = rows[i].pieces; piece->text != NULL; piece++)
            repeat(&mail, piece->text, scaled(piece->n), piece->is_down);
        static const char zeros[1 << 16];
        for (size_t n = 0; n < rows[i].n_zeros; n += sizeof(zeros))
            (void)buf_put(&mail, zeros, sizeof(zeros));
        mime_fixture_open(&f, NULL);
        int64_t start = cpu_ms();
        mime_fixture_read(&f, mail.data, mail.len);
        mime_fixture_check(&f);
        int64_t took = cpu_ms() - start;
        print_message("%-36s %8zu KB %6d ms: %s\n", rows[i].what, mail.len / 1024, (int)took,
            mime_fixture_defects(&f));
        assert_true(took < SECONDS * 1000);
        if (rows[i].defect != NULL)
            assert_true(mime_fixture_has_defect(&f, rows[i].defect));
        mime_fixture_close(&f);
        buf_clear(&mail);
    }
}

/* The group header must not reach a parser of addresses, whoever asks for it. */
static void groups_are_decoded_flat(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct buf value;
    buf_init(&value, MAIL_MAX);
    repeat(&value, "a:", 42000, false);
    struct slice text = mime_decode_header(buf_slice(&value), arena);
    assert_int_equal(text.len, 84000);
    buf_clear(&value);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_answered),
        cmocka_unit_test(groups_are_decoded_flat),
    };
    limit_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
