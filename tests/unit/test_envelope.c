/*
 * The envelope region: what writers put, readers find; macros replace each other; bad input is
 * refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/envelope.h"
#include "common/err.h"

#define MACRO(name, value)                                                                         \
    {                                                                                              \
        {name, sizeof(name) - 1},                                                                  \
        {                                                                                          \
            value, sizeof(value) - 1                                                               \
        }                                                                                          \
    }

static void assert_text(struct slice got, const char *want)
{
    if (!slice_equal(got, slice_text(want)))
        fail_msg("got %.*s, want %s", (int)got.len, got.data, want);
}

static void put_macros(struct buf *out, enum stage stage, const char *name, const char *value)
{
    const struct envelope_macro macro = {slice_text(name), slice_text(value)};

    assert_int_equal(envelope_put_macros(out, stage, &macro, 1), 0);
}

/* Puts a session with three recipients; offsets_out: where their entries start. */
static void put_session(struct buf *out, size_t *offsets_out)
{
    static const char *const addresses[] = {
        "<a@example.org>", "<b@example.org>", "<c@example.org>"};
    static const struct envelope_macro at_connect[] = {
        MACRO("j", "mx.example.org"), MACRO("{daemon_name}", "MTA")};

    assert_int_equal(envelope_put_connect(out, '6', slice_text("2001:db8::1"), 4711,
                         slice_text("client.example.net")),
        0);
    assert_int_equal(envelope_put_macros(out, STAGE_CONNECT, at_connect, 2), 0);
    assert_int_equal(envelope_put_helo(out, slice_text("first")), 0);
    put_macros(out, STAGE_HELO, "{tls_version}", "");
    assert_int_equal(envelope_put_helo(out, slice_text("second")), 0);
    put_macros(out, STAGE_HELO, "{tls_version}", "TLSv1.3");
    assert_int_equal(envelope_put_sender(
                         out, slice_text("<s@example.net>"), slice_text("SIZE=10 BODY=8BITMIME")),
        0);
    put_macros(out, STAGE_MAIL, "i", "QUEUEID");
    for (int i = 0; i < 3; i++) {
        offsets_out[i] = out->len;
        assert_int_equal(envelope_put_recipient(out, slice_text(addresses[i]),
                             slice_text(i == 1 ? "NOTIFY=NEVER" : "")),
            0);
        if (i > 0)
            put_macros(out, STAGE_RCPT, "{rcpt_mailer}", i == 1 ? "local" : "esmtp");
        if (i == 1)
            put_macros(out, STAGE_RCPT, "{rcpt_host}", "example.org");
    }
    assert_int_equal(envelope_put_refused(out, 1), 0);
    put_macros(out, STAGE_DATA, "i", "LATER");
}

static void assert_front(const struct envelope *envelope)
{
    assert_int_equal(envelope->family, '6');
    assert_text(envelope->ip, "2001:db8::1");
    assert_int_equal(envelope->port, 4711);
    assert_text(envelope->hostname, "client.example.net");
    assert_int_equal(envelope->n_macros[STAGE_CONNECT], 2);
    assert_text(envelope->macros[STAGE_CONNECT][1].name, "{daemon_name}");
    assert_text(envelope->macros[STAGE_CONNECT][1].value, "MTA");
    assert_true(envelope->has_helo);
    assert_text(envelope->helo, "second");
    assert_int_equal(envelope->n_macros[STAGE_HELO], 1);
    assert_text(envelope->macros[STAGE_HELO][0].value, "TLSv1.3");
    assert_true(envelope->has_sender);
    assert_text(envelope->sender, "<s@example.net>");
    assert_text(envelope->sender_args, "SIZE=10 BODY=8BITMIME");
    assert_text(envelope->macros[STAGE_MAIL][0].value, "QUEUEID");
}

static void test_read_all(void **state)
{
    struct arena *arena = arena_new();
    struct envelope envelope;
    struct buf region;
    size_t offsets[3];

    (void)state;
    buf_init(&region, 65536);
    put_session(&region, offsets);
    assert_int_equal(envelope_read_all(buf_slice(&region), arena, &envelope), 0);
    assert_front(&envelope);
    assert_int_equal(envelope.n_recipients, 3);
    assert_text(envelope.recipients[0].address, "<a@example.org>");
    assert_int_equal(envelope.recipients[0].n_macros, 0);
    assert_text(envelope.recipients[1].args, "NOTIFY=NEVER");
    assert_false(envelope.recipients[0].is_refused);
    assert_true(envelope.recipients[1].is_refused);
    assert_int_equal(envelope.recipients[1].n_macros, 2);
    assert_text(envelope.recipients[1].macros[0].value, "local");
    assert_text(envelope.recipients[1].macros[1].value, "example.org");
    assert_int_equal(envelope.recipients[2].n_macros, 1);
    assert_text(envelope.macros[STAGE_RCPT][0].value, "esmtp");
    assert_int_equal(envelope.n_macros[STAGE_RCPT], 1);
    assert_text(envelope.macros[STAGE_DATA][0].value, "LATER");
    buf_clear(&region);
    arena_free(arena);
}

static void test_read_front(void **state)
{
    struct arena *arena = arena_new();
    struct envelope envelope;
    struct buf region;
    size_t offsets[3];

    (void)state;
    buf_init(&region, 65536);
    put_session(&region, offsets);
    assert_int_equal(envelope_read_front(buf_slice(&region), 0, arena, &envelope), 0);
    assert_front(&envelope);
    assert_int_equal(envelope.n_recipients, 0);
    assert_int_equal(envelope.n_macros[STAGE_RCPT], 0);

    assert_int_equal(envelope_read_front(buf_slice(&region), offsets[1], arena, &envelope), 0);
    assert_front(&envelope);
    assert_int_equal(envelope.n_recipients, 1);
    assert_text(envelope.recipients[0].address, "<b@example.org>");
    assert_int_equal(envelope.recipients[0].n_macros, 2);
    assert_int_equal(envelope.n_macros[STAGE_RCPT], 2);
    assert_int_equal(envelope.n_macros[STAGE_DATA], 0);

    /* An offset that is no recipient's. */
    assert_int_equal(
        envelope_read_front(buf_slice(&region), offsets[1] + 1, arena, &envelope), -ERR_BAD);
    assert_int_equal(envelope_read_front(buf_slice(&region), 5, arena, &envelope), -ERR_BAD);
    assert_int_equal(
        envelope_read_front(buf_slice(&region), region.len, arena, &envelope), -ERR_BAD);
    assert_int_equal(envelope_read_front(buf_slice(&region), SIZE_MAX, arena, &envelope), -ERR_BAD);
    assert_int_equal(envelope_read_front(slice_of(NULL, 0), 0, arena, &envelope), 0);
    buf_clear(&region);
    arena_free(arena);
}

/* A region cut anywhere is read up to an entry's end, or refused. */
static void test_every_cut(void **state)
{
    struct arena *arena = arena_new();
    struct envelope envelope;
    struct buf region;
    size_t offsets[3], n_whole = 0;

    (void)state;
    buf_init(&region, 65536);
    put_session(&region, offsets);
    for (size_t n = 0; n < region.len; n++) {
        int err = envelope_read_all(slice_of(region.data, n), arena, &envelope);
        assert_true(err == 0 || err == -ERR_BAD);
        n_whole += err == 0;
        arena_reset(arena);
    }
    assert_int_equal(n_whole, 16); /* as many as there are entries */
    buf_clear(&region);
    arena_free(arena);
}

static void test_bad_input(void **state)
{
#define BYTES(s)                                                                                   \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
    static const struct {
        const char *what;
        struct slice region;
        int err;
    } rows[] = {
        {"an unknown kind", BYTES("\x63\0\0\0\x02xx"), 0},
        {"a length past the end", BYTES("\x02\0\0\0\x09\0\0\0\x04"), -ERR_BAD},
        {"a huge length", BYTES("\x02\xff\xff\xff\xff"), -ERR_BAD},
        {"a text past its entry", BYTES("\x02\0\0\0\x05\0\0\0\x02x"), -ERR_BAD},
        {"bytes left over in an entry", BYTES("\x02\0\0\0\x06\0\0\0\x01xy"), -ERR_BAD},
        {"an empty payload", BYTES("\x01\0\0\0\0"), -ERR_BAD},
        {"a NUL in a text", BYTES("\x02\0\0\0\x05\0\0\0\x01\0"), -ERR_BAD},
        {"a refusal of nobody", BYTES("\x05\0\0\0\x04\0\0\0\0"), -ERR_BAD},
        {"macros of no stage", BYTES("\x06\0\0\0\x01\x0c"), -ERR_BAD},
        {"macros without stage", BYTES("\x06\0\0\0\0"), -ERR_BAD},
        {"a name without value", BYTES("\x06\0\0\0\x06\0\0\0\0\x01i"), -ERR_BAD},
        {"no macros", BYTES("\x06\0\0\0\x01\0"), 0},
    };
    struct arena *arena = arena_new();
    struct envelope envelope;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int err = envelope_read_all(rows[i].region, arena, &envelope);
        if (err != rows[i].err)
            fail_msg("%s: %d", rows[i].what, err);
    }
    arena_free(arena);
}

static void test_writers_refuse_and_leave_nothing(void **state)
{
    static char long_text[ENVELOPE_TEXT_MAX + 1];
    static struct envelope_macro macros[ENVELOPE_MACROS_MAX + 1];
    struct slice too_long, longest;
    struct buf out;

    (void)state;
    memset(long_text, 'x', sizeof(long_text));
    too_long = slice_of(long_text, sizeof(long_text));
    longest = slice_of(long_text, sizeof(long_text) - 1);
    buf_init(&out, 20000);
    assert_int_equal(envelope_put_helo(&out, too_long), -ERR_TOOBIG);
    assert_int_equal(envelope_put_helo(&out, slice_of("a\0b", 3)), -ERR_BAD);
    assert_int_equal(envelope_put_sender(&out, longest, too_long), -ERR_TOOBIG);
    assert_int_equal(envelope_put_connect(&out, '4', slice_text(""), 1, too_long), -ERR_TOOBIG);
    assert_int_equal(
        envelope_put_macros(&out, STAGE_MAIL, macros, ENVELOPE_MACROS_MAX + 1), -ERR_TOOBIG);
    assert_int_equal(envelope_put_macros(&out, STAGE_MAIL, macros, ENVELOPE_MACROS_MAX), 0);
    out.len = 0;
    assert_int_equal(envelope_put_sender(&out, longest, longest), 0);
    size_t before = out.len;
    assert_int_equal(envelope_put_recipient(&out, longest, slice_text("")), -ERR_TOOBIG);
    assert_int_equal(out.len, before);
    buf_clear(&out);
}

static void test_too_many_macros(void **state)
{
    struct arena *arena = arena_new();
    struct envelope envelope;
    struct buf region;
    char name[16];

    (void)state;
    buf_init(&region, 65536);
    for (int i = 0; i < ENVELOPE_MACROS_MAX; i++) {
        snprintf(name, sizeof(name), "{m%d}", i);
        put_macros(&region, STAGE_EOM, name, "1");
    }
    assert_int_equal(envelope_read_all(buf_slice(&region), arena, &envelope), 0);
    assert_int_equal(envelope.n_macros[STAGE_EOM], ENVELOPE_MACROS_MAX);
    put_macros(&region, STAGE_EOM, "{one too many}", "1");
    assert_int_equal(envelope_read_all(buf_slice(&region), arena, &envelope), -ERR_TOOBIG);
    buf_clear(&region);
    arena_free(arena);
}

static void test_many_recipients(void **state)
{
    struct arena *arena = arena_new();
    struct envelope envelope;
    struct buf region;

    (void)state;
    buf_init(&region, 4 << 20);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(envelope_put_recipient(&region, slice_text("<x@y>"), slice_text("")), 0);
    for (uint32_t i = 0; i < 10000; i += 2)
        assert_int_equal(envelope_put_refused(&region, i), 0);
    assert_int_equal(envelope_read_all(buf_slice(&region), arena, &envelope), 0);
    assert_int_equal(envelope.n_recipients, 10000);
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(envelope.recipients[i].is_refused, i % 2 == 0);

    for (int i = 10000; i < ENVELOPE_RECIPIENTS_MAX; i++)
        assert_int_equal(envelope_put_recipient(&region, slice_text("<x@y>"), slice_text("")), 0);
    assert_int_equal(envelope_read_all(buf_slice(&region), arena, &envelope), 0);
    assert_int_equal(envelope_put_recipient(&region, slice_text("<x@y>"), slice_text("")), 0);
    assert_int_equal(envelope_read_all(buf_slice(&region), arena, &envelope), -ERR_TOOBIG);
    buf_clear(&region);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_all),
        cmocka_unit_test(test_read_front),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_writers_refuse_and_leave_nothing),
        cmocka_unit_test(test_too_many_macros),
        cmocka_unit_test(test_many_recipients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
