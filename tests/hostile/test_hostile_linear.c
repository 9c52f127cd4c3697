/*
 * Time and memory grow with the message and no faster: each shape of mail is read, with everything
 * that a filter may ask about it, at one size and at eight times that size. Work that grew with the
 * square would be sixty-four times as much; the bounds lie between the two, far above what other
 * work on the machine does to them. The limits are as wide as they go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <malloc.h>

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

enum {
    GROWTH = 8,         /* the large one, in small ones */
    TIME_FACTOR = 24,   /* what it may take: three times as much as linear */
    MEMORY_FACTOR = 16, /* buffers double */
    TRIES = 3,          /* of each, of which the fastest counts */
    MAIL_MAX = 160 << 20,
    SLICE_MS = 4, /* a shorter time is none to compare with */
};

#define MULTI "Content-Type: multipart/mixed; boundary=b\r\n\r\n"

static const struct row {
    const char *what;
    const char *front, *again, *back; /* "%u" in again: the number */
    uint32_t n;
} rows[] = {
    {"parts", MULTI, "--b\r\nContent-Type: text/plain; name=%u.txt\r\n\r\nx\r\n", "--b--\r\n",
        100000},
    {"empty parts", MULTI, "--b\r\n", "", 100000},
    {"parts behind the end", MULTI, "--b\r\n\r\nx\r\n--b--\r\n", "", 50000},
    {"parts outside", MULTI, "--x%u\r\nContent-Type: text/html\r\n\r\n--b--\r\n", "", 20000},
    {"ends", MULTI, "--b--\r\n", "", 1000000},
    {"indented boundaries", MULTI "--b\r\n\r\n", " --b\r\n\r\nx\r\n", "", 50000},
    {"beginnings of a boundary", MULTI "--b\r\n\r\n", "--b%u\r\n\r\nx\r\n", "", 50000},
    {"levels of multipart", "", "Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n",
        "x\r\n", 20000},
    {"levels of one boundary", "", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
        "x\r\n", 20000},
    {"levels of message", "", "Content-Type: message/rfc822\r\n\r\n", "\r\nx\r\n", 20000},
    {"headers", "", "X-%u: y\r\n", "\r\nx\r\n", 1000000},
    {"headers in a part", MULTI "--b\r\n", "X-%u: y\r\n", "\r\nx\r\n--b--\r\n", 1000000},
    {"content types", "", "Content-Type: multipart/mixed; boundary=b%u\r\n",
        "\r\n--b1\r\n\r\nx\r\n", 100000},
    {"odd field names", "", "Content- Type: text/plain\r\n", "\r\nx\r\n", 100000},
    {"lines that are no fields", "Subject: x\r\n", "no field\r\n", "\r\nx\r\n", 200000},
    {"folds", "Content-Type: text/plain", ";\r\n a%u=b", "\r\n\r\nx\r\n", 100000},
    {"names", "Content-Disposition: attachment", "; filename=%u.exe", "\r\n\r\nx\r\n", 100000},
    {"sections", "Content-Disposition: attachment", "; filename*%u=x", "\r\n\r\nx\r\n", 100000},
    {"comments", "Content-Type: text/plain; name=x", "(", "\r\n\r\nx\r\n", 1000000},
    {"name and comment", "Content-Type: text/plain", "; name(", "\r\n\r\nx\r\n", 100000},
    {"quotes", "Content-Type: text/plain", "; name=\"%u\\\"", "\r\n\r\nx\r\n", 100000},
    {"boundaries", "Content-Type: multipart/mixed", "; boundary=b%u", "\r\n\r\n--b1\r\n\r\nx\r\n",
        100000},
    {"encoded words", "Subject:", " =?utf-8?q?=C3=A4?=", "\r\n\r\nx\r\n", 100000},
    {"words without end", "Subject:", " =?utf-8?q?", "\r\n\r\nx\r\n", 200000},
    {"charsets", "", "X: =?x-%u?q?a?=\r\n", "\r\nx\r\n", 100000},
    {"bare CR", MULTI, "--b\r\rx\r", "--b--\r", 50000},
    {"two encodings", MULTI,
        "--b\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: "
        "base64\r\n\r\nQUJD\r\n",
        "--b--\r\n", 4000}, /* contents for libmagic, 1 ms each */
    {"HTML", "Content-Type: text/html\r\n\r\n",
        "<p title='%u'>&amp; <a href='http://x/%u'>http://y/%u</a><!-- <b> -->\r\n", "", 200000},
    {"HTML in an attribute", "Content-Type: text/html\r\n\r\n<p style='", "url(http://x/%u) ",
        "'>x", 500000},
    {"HTML that is one comment", "Content-Type: text/html; charset=koi8-r\r\n\r\n<!-- ",
        "<b title=%u> \xc1 ", "", 500000},
    {"100 MiB of text", "\r\n", "the quick brown fox jumps over the lazy dog, number %u\r\n", "",
        1820000},
    {"100 MiB of base64", "Content-Transfer-Encoding: base64\r\n\r\n",
        "QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD\r\n", "",
        1340000},
    {"100 MiB of quoted-printable", "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
        "caf=C3=A9 =3D =\r\n", "", 6000000},
    {"100 MiB of dashes", MULTI "--b\r\n\r\n", "--\r\n- --\r\n------------\r\n", "\r\n--b--\r\n",
        4400000},
    {"100 MiB of empty lines", MULTI, "\r\n", "", 52000000},
};

static int64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void put_again(struct buf *out, const char *text, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const char *rest = text;
        for (const char *mark; (mark = strstr(rest, "%u")) != NULL; rest = mark + 2) {
            (void)buf_put(out, rest, (size_t)(mark - rest));
            (void)buf_printf(out, "%u", i);
        }
        (void)buf_put(out, rest, strlen(rest));
    }
}

struct cost {
    int64_t us;
    size_t bytes; /* of memory, the message itself left out */
};

static struct cost read_once(struct mime_fixture *f, const struct buf *mail)
{
    static const char nothing[] = "\r\n";
    mime_fixture_read(f, nothing, 2); /* frees what was read before */
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    int64_t start = cpu_us();
    mime_fixture_read(f, mail->data, mail->len);
    mime_fixture_check(f);
    struct cost cost = {.us = cpu_us() - start};
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    cost.bytes = after > before + mail->len ? after - before - mail->len : 0;
    return cost;
}

static struct cost cost_of(struct mime_fixture *f, const struct row *row, uint32_t n)
{
    struct buf mail;
    struct cost best = {0};
    buf_init(&mail, MAIL_MAX);
    (void)buf_put(&mail, row->front, strlen(row->front));
    put_again(&mail, row->again, n);
    (void)buf_put(&mail, row->back, strlen(row->back));
    for (int i = 0; i < TRIES; i++) {
        struct cost cost = read_once(f, &mail);
        if (i == 0 || cost.us < best.us)
            best = cost;
        if (cost.us > 100000)
            break; /* long enough for noise not to count */
    }
    buf_clear(&mail);
    return best;
}

static void check_row(struct mime_fixture *f, const struct row *row)
{
    uint32_t n = IS_SANITIZED ? row->n / 8 : row->n;
    struct cost small = cost_of(f, row, n / GROWTH), large = cost_of(f, row, n);
    int64_t base = small.us > SLICE_MS * 1000 ? small.us : SLICE_MS * 1000;
    print_message("%-28s %8u: %7.1f ms, %7zu KB; an eighth %7.1f ms, %7zu KB\n", row->what, n,
        (double)large.us / 1000, large.bytes >> 10, (double)small.us / 1000, small.bytes >> 10);
    assert_true(large.us < base * TIME_FACTOR);
    assert_true(large.bytes < (small.bytes + (1 << 20)) * MEMORY_FACTOR);
}

static void costs_grow_with_the_mail(void **state)
{
    (void)state;
    static const char *const limits[] = {"worker.max_parts=100000", "worker.max_depth=500",
        "worker.max_headers=1000000", "worker.max_header_line=64M", "worker.max_decoded=1G",
        "worker.max_text=128M", NULL};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mime_fixture f;
        mime_fixture_open(&f, limits);
        check_row(&f, &rows[i]);
        mime_fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(costs_grow_with_the_mail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
