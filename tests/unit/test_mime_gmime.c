/*
 * Compares with GMime's own parser: each file name that it finds in a mail, changed in thousands of
 * ways, is a name of some part of ours, or an ambiguous defect says that there is more than one
 * reading.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "common/text.h"
#include "tests/unit/mail_mutator.h"
#include "tests/unit/mime_fixture.h"

enum { MUTANTS = 4000, MAIL_BYTES = 1 << 20 };

struct comparison {
    struct mime_fixture *f;
    uint32_t n_names, n_missing, n_unexplained;
};

/* As names are compared: without blanks around. GMime writes "?" for what it cannot convert; such
 * names are left out. */
static void compare_name(struct comparison *c, const char *name)
{
    char text[4096];
    if (name == NULL || strlen(name) >= sizeof(text) || !text_is_utf8(slice_text(name)) ||
        strchr(name, '?') != NULL)
        return;
    name += strspn(name, " \t\r\n");
    snprintf(text, sizeof(text), "%s", name);
    for (size_t len = strlen(text); len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL; len--)
        text[len - 1] = '\0';
    if (*text == '\0')
        return;
    c->n_names++;
    if (mime_fixture_has_name(c->f, text))
        return;
    c->n_missing++;
    if (mime_fixture_is_ambiguous(c->f))
        return;
    c->n_unexplained++;
    print_message("not found: \"%s\" in %s\n----\n%.*s\n----\n", text, mime_fixture_tree(c->f),
        (int)c->f->message.len, c->f->message.data);
}

static void on_part(GMimeObject *parent, GMimeObject *part, gpointer context)
{
    (void)parent;
    struct comparison *c = context;
    GMimeContentType *type = g_mime_object_get_content_type(part);
    GMimeContentDisposition *disposition = g_mime_object_get_content_disposition(part);
    if (type != NULL)
        compare_name(c, g_mime_content_type_get_parameter(type, "name"));
    if (disposition != NULL)
        compare_name(c, g_mime_content_disposition_get_parameter(disposition, "filename"));
    if (GMIME_IS_PART(part))
        compare_name(c, g_mime_part_get_filename(GMIME_PART(part)));
    if (GMIME_IS_MESSAGE_PART(part)) {
        GMimeMessage *message = g_mime_message_part_get_message(GMIME_MESSAGE_PART(part));
        if (message != NULL)
            g_mime_message_foreach(message, on_part, context);
    }
}

static void compare(struct comparison *c, const struct buf *mail)
{
    mime_fixture_read(c->f, mail->data, mail->len);
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer((const char *)mail->data, mail->len);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
    if (message != NULL) {
        g_mime_message_foreach(message, on_part, c);
        g_object_unref(message);
    }
    g_object_unref(parser);
    g_object_unref(stream);
}

static void samples_agree(void **state)
{
    (void)state;
    struct mime_fixture f;
    struct buf mail;
    mime_fixture_open(&f, NULL);
    buf_init(&mail, MAIL_BYTES);
    for (uint32_t i = 0; i < n_mail_samples; i++) {
        struct comparison c = {.f = &f};
        mail_sample(i, &mail);
        compare(&c, &mail);
        assert_int_equal(c.n_missing, 0);
    }
    buf_clear(&mail);
    mime_fixture_close(&f);
}

static void mutants_agree(void **state)
{
    (void)state;
    struct mime_fixture f;
    struct buf mail;
    const char *wanted = getenv("POSTERN_MUTANTS");
    uint32_t n = wanted != NULL ? (uint32_t)atoi(wanted) : MUTANTS;
    mime_fixture_open(&f, NULL);
    buf_init(&mail, MAIL_BYTES);
    struct comparison c = {.f = &f};
    for (uint32_t i = 0; i < n; i++) {
        mail_mutate(i, &mail);
        compare(&c, &mail);
    }
    print_message("%u names, %u of them only behind a defect\n", c.n_names, c.n_missing);
    assert_int_equal(c.n_unexplained, 0);
    assert_true(c.n_names > n / 2);
    assert_true(c.n_missing * 100 < c.n_names); /* a defect is the exception, not the answer */
    buf_clear(&mail);
    mime_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_agree),
        cmocka_unit_test(mutants_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
