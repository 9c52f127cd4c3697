/* Nothing is decoded before somebody asks, and nothing twice, in whatever order it is asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/xalloc.h"
#include "tests/unit/mime_fixture.h"

enum { LINES = 8000, LINE_BYTES = 57, MAIL_MAX = 1 << 21, QUOTED_LINES = 5000 };

static const char line[] =
    "VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZyBhbmQgcnVucyBvbiEh\r\n";

/* Text in quoted-printable, an attachment in base64, one in uuencode, one as it is. */
static void read_mail(struct mime_fixture *f)
{
    struct buf mail;
    buf_init(&mail, MAIL_MAX);
    (void)buf_printf(&mail,
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; "
        "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n");
    for (int i = 0; i < QUOTED_LINES; i++)
        (void)buf_printf(&mail, "caf=C3=A9 http://example.org/=\r\n%d\r\n", i);
    (void)buf_printf(&mail, "--b\r\nContent-Type: application/zip; "
                            "name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    for (int i = 0; i < LINES; i++)
        (void)buf_put(&mail, line, sizeof(line) - 1);
    (void)buf_printf(&mail, "--b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 "
                            "a.txt\r\n#0V%%T\r\n`\r\nend\r\n"
                            "--b\r\nContent-Type: image/png\r\n\r\nplain\r\n--b--\r\n");
    mime_fixture_read(f, mail.data, mail.len);
    buf_clear(&mail);
}

/* What can be asked about one part. */
typedef void (*ask)(struct mime *mime, const struct mime_part *part);

static void ask_size(struct mime *mime, const struct mime_part *part)
{
    (void)mime_content_size(mime, part);
}

static void ask_content(struct mime *mime, const struct mime_part *part)
{
    (void)mime_content(mime, part);
}

static void ask_type(struct mime *mime, const struct mime_part *part)
{
    (void)mime_detected_type(mime, part);
}

static void ask_text(struct mime *mime, const struct mime_part *part)
{
    (void)mime_text(mime, part);
}

static void ask_message(struct mime *mime, const struct mime_part *part)
{
    uint32_t n;
    (void)part;
    (void)mime_message_text(mime);
    (void)mime_urls(mime, &n);
    (void)mime_charsets(mime, &n);
}

static void ask_defects(struct mime *mime, const struct mime_part *part)
{
    uint32_t n;
    (void)part;
    (void)mime_defects(mime, &n);
}

static const ask asks[] = {ask_size, ask_content, ask_type, ask_text, ask_message, ask_defects};
enum { N_ASKS = sizeof(asks) / sizeof(asks[0]) };

static void ask_all(struct mime_fixture *f, ask about)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(f->mime, &n);
    for (uint32_t i = 0; i < n; i++)
        about(f->mime, parts[i]);
}

/* Decoded bytes of all parts that have an encoding. */
static uint64_t encoded_sum(struct mime_fixture *f)
{
    uint32_t n;
    uint64_t sum = 0;
    const struct mime_part *const *parts = mime_parts(f->mime, &n);
    for (uint32_t i = 0; i < n; i++)
        sum += *parts[i]->encoding != '\0' ? mime_content(f->mime, parts[i]).len : 0;
    return sum;
}

static void nothing_is_decoded_unasked(void **state)
{
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    read_mail(&f);
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(f.mime, &n);
    assert_int_equal(n, 5);
    assert_true(mime_fixture_has_name(&f, "a.zip"));
    assert_true(mime_fixture_has_name(&f, "a.txt"));
    for (uint32_t i = 0; i < n; i++)
        (void)mime_part_header(f.mime, parts[i], slice_text("Content-Type"));
    assert_int_equal(mime_decoded_bytes(f.mime), 0);
    /* Sizes and defects come of one look at the encoded content. */
    assert_int_equal(mime_content_size(f.mime, parts[2]), LINES * LINE_BYTES);
    assert_true(mime_content_size(f.mime, parts[1]) > QUOTED_LINES);
    assert_int_equal(mime_decoded_bytes(f.mime), 0);
    /* Of text in UTF-8 what comes out is checked as well. */
    assert_string_equal(mime_fixture_defects(&f), "");
    uint64_t text = mime_content_size(f.mime, parts[1]);
    assert_int_equal(mime_decoded_bytes(f.mime), text);
    /* One part's content is that part's alone; the beginning of one is not all of it. */
    (void)mime_detected_type(f.mime, parts[2]);
    assert_in_range(mime_decoded_bytes(f.mime), text + 1, text + LINES * LINE_BYTES / 2);
    (void)mime_content(f.mime, parts[2]);
    assert_int_equal(mime_decoded_bytes(f.mime), text + LINES * LINE_BYTES);
    mime_fixture_close(&f);
}

/* Each pair of questions before all of them: what is decoded in the end is what there is. */
static void nothing_is_decoded_twice(void **state)
{
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    for (int first = 0; first < N_ASKS; first++) {
        for (int second = 0; second < N_ASKS; second++) {
            read_mail(&f);
            ask_all(&f, asks[first]);
            ask_all(&f, asks[second]);
            for (int i = 0; i < N_ASKS; i++)
                ask_all(&f, asks[i]);
            uint64_t decoded = mime_decoded_bytes(f.mime);
            assert_int_equal(decoded, encoded_sum(&f));
            assert_int_equal(mime_decoded_bytes(f.mime), decoded);
        }
    }
    mime_fixture_close(&f);
}

/* The same content, whether its beginning was looked at before or not. */
static void pieces_join(void **state)
{
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    for (int first = 0; first < N_ASKS; first++) {
        read_mail(&f);
        ask_all(&f, asks[first]);
        struct slice content = mime_content(f.mime, mime_fixture_part(&f, "1.2"));
        assert_int_equal(content.len, LINES * LINE_BYTES);
        for (size_t i = 0; i < content.len; i += LINE_BYTES)
            assert_memory_equal(content.data + i,
                "The quick brown fox jumps over the lazy dog and runs on!!", LINE_BYTES);
        assert_int_equal(mime_content_size(f.mime, mime_fixture_part(&f, "1.2")), content.len);
        content = mime_content(f.mime, mime_fixture_part(&f, "1.1"));
        assert_memory_equal(content.data, "caf\xc3\xa9 http://example.org/0\r\n", 27);
        assert_memory_equal(content.data + content.len - 5, "/4999", 5);
        assert_int_equal(mime_content_size(f.mime, mime_fixture_part(&f, "1.1")), content.len);
        assert_true(
            slice_equal(mime_content(f.mime, mime_fixture_part(&f, "1.3")), slice_text("Cat")));
    }
    mime_fixture_close(&f);
}

/* worker.max_decoded bounds what all parts give together, in each order, and sizes are those of
 * what is given. */
static void the_limit_holds(void **state)
{
    static const char *const limits[] = {"worker.max_decoded=65536", NULL};
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, limits);
    for (int first = 0; first < N_ASKS; first++) {
        for (int second = 0; second < N_ASKS; second++) {
            read_mail(&f);
            ask_all(&f, asks[first]);
            ask_all(&f, asks[second]);
            assert_in_range(encoded_sum(&f), 1, 65536);
            assert_in_range(mime_decoded_bytes(f.mime), 1, 65536);
            for (const char *const *path = (const char *const[]){"1.1", "1.2", "1.3", NULL};
                 *path != NULL; path++) {
                const struct mime_part *part = mime_fixture_part(&f, *path);
                size_t size = mime_content_size(f.mime, part);
                assert_int_equal(mime_content(f.mime, part).len, size);
            }
            assert_true(mime_fixture_has_defect(&f, "too-much-decoded"));
        }
    }
    mime_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_decoded_unasked),
        cmocka_unit_test(nothing_is_decoded_twice),
        cmocka_unit_test(pieces_join),
        cmocka_unit_test(the_limit_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
