/*
 * Verdicts: every cell of verdict and subject, the reply checks, every cell of failure cause and
 * answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/verdict.h"

static void test_names(void **state)
{
    enum verdict verdict;

    (void)state;
    for (int i = 0; i < VERDICT_COUNT; i++) {
        assert_int_equal(verdict_from_name(verdict_name((enum verdict)i), &verdict), 0);
        assert_int_equal(verdict, i);
    }
    assert_true(verdict_from_name("Accept", &verdict) < 0);
    assert_true(verdict_from_name("", &verdict) < 0);
    assert_string_equal(verdict_name((enum verdict)77), "?");
}

static void test_every_cell(void **state)
{
    /* Columns: none, connection, message, recipient, command. */
    static const char rows[VERDICT_COUNT][6] = {
        [VERDICT_CONTINUE] = "yyyyy",
        [VERDICT_ACCEPT] = "-yyy-",
        [VERDICT_REJECT] = "-yyyy",
        [VERDICT_TEMPFAIL] = "-yyyy",
        [VERDICT_DISCARD] = "--yw-", /* w: with whole_message only */
    };

    (void)state;
    for (int v = 0; v < VERDICT_COUNT; v++) {
        for (int s = SUBJECT_NONE; s <= SUBJECT_COMMAND; s++) {
            char cell = rows[v][s];
            assert_int_equal(
                verdict_is_allowed((enum verdict)v, (enum subject)s, false), cell == 'y');
            assert_int_equal(
                verdict_is_allowed((enum verdict)v, (enum subject)s, true), cell != '-');
        }
    }
    assert_false(verdict_is_allowed((enum verdict)VERDICT_COUNT, SUBJECT_MESSAGE, true));
    assert_false(verdict_is_allowed(VERDICT_CONTINUE, (enum subject)99, true));
}

static void test_reply_check(void **state)
{
    static const struct {
        enum verdict verdict;
        uint16_t code;
        const char *dsn, *text;
        const char *wrong; /* NULL: fine; else part of the answer */
    } rows[] = {
        {VERDICT_REJECT, 550, "5.7.1", "no", NULL},
        {VERDICT_REJECT, 554, "", "", NULL},
        {VERDICT_REJECT, 599, "5.123.456", "two\nlines", NULL},
        {VERDICT_REJECT, 0, "", "", NULL},
        {VERDICT_REJECT, 0, "5.7.1", "", "needs a code"},
        {VERDICT_REJECT, 0, "", "text", "needs a code"},
        {VERDICT_REJECT, 250, "", "", "5yz"},
        {VERDICT_REJECT, 451, "", "", "5yz"},
        {VERDICT_REJECT, 600, "", "", "5yz"},
        {VERDICT_REJECT, 55, "", "", "5yz"},
        {VERDICT_REJECT, 550, "4.7.1", "", "must begin with 5."},
        {VERDICT_REJECT, 550, "5.7", "", "enhanced"},
        {VERDICT_REJECT, 550, "5.7.1.1", "", "enhanced"},
        {VERDICT_REJECT, 550, "5..1", "", "enhanced"},
        {VERDICT_REJECT, 550, "5.7.1234", "", "enhanced"},
        {VERDICT_REJECT, 550, "5.7.", "", "enhanced"},
        {VERDICT_REJECT, 550, "5", "", "enhanced"},
        {VERDICT_REJECT, 550, "2.0.0", "", "enhanced"},
        {VERDICT_REJECT, 550, "5.7.1 ", "", "enhanced"},
        {VERDICT_TEMPFAIL, 451, "4.7.1", "later", NULL},
        {VERDICT_TEMPFAIL, 421, "4.3.2", "", NULL},
        {VERDICT_TEMPFAIL, 550, "", "", "4yz"},
        {VERDICT_TEMPFAIL, 451, "5.7.1", "", "must begin with 4."},
        {VERDICT_REJECT, 550, "", "100% of it", NULL},
        {VERDICT_REJECT, 550, "", "gr\xc3\xbc\xc3\x9f", NULL},
        {VERDICT_REJECT, 550, "", "gr\xfc\xdf", "UTF-8"},
        {VERDICT_REJECT, 550, "", "a\rb", "control"},
        {VERDICT_REJECT, 550, "", "a\tb", "control"},
        {VERDICT_REJECT, 550, "", "a\x7f", "control"},
        {VERDICT_REJECT, 550, "", "a\xc2\x85", "control"},
        {VERDICT_CONTINUE, 0, "", "", NULL},
        {VERDICT_ACCEPT, 550, "", "", "takes no reply"},
        {VERDICT_CONTINUE, 0, "5.7.1", "", "takes no reply"},
        {VERDICT_DISCARD, 0, "", "text", "takes no reply"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct smtp_reply reply = {.code = rows[i].code, .text = slice_text(rows[i].text)};
        memcpy(reply.dsn, rows[i].dsn, strlen(rows[i].dsn));
        const char *wrong = smtp_reply_check(rows[i].verdict, &reply);
        if (rows[i].wrong == NULL && wrong != NULL)
            fail_msg("row %zu: %s", i, wrong);
        if (rows[i].wrong != NULL && (wrong == NULL || strstr(wrong, rows[i].wrong) == NULL))
            fail_msg("row %zu: got %s, expected %s", i, wrong != NULL ? wrong : "nothing",
                rows[i].wrong);
    }
}

static const char *check_text(const char *data, size_t len)
{
    struct smtp_reply reply = {.code = 550, .text = slice_of(data, len)};

    return smtp_reply_check(VERDICT_REJECT, &reply);
}

static void test_reply_bounds(void **state)
{
    static char text[REPLY_TEXT_MAX + 1];

    (void)state;
    memset(text, 'a', sizeof(text));
    assert_null(check_text(text, REPLY_LINE_MAX));
    assert_non_null(check_text(text, REPLY_LINE_MAX + 1));
    for (size_t i = 500; i < sizeof(text); i += 500)
        text[i] = '\n';
    assert_null(check_text(text, REPLY_TEXT_MAX));
    assert_non_null(check_text(text, REPLY_TEXT_MAX + 1));
    memset(text, '\n', sizeof(text));
    assert_null(check_text(text, REPLY_LINES_MAX - 1));
    assert_non_null(check_text(text, REPLY_LINES_MAX));
    assert_non_null(check_text("a\0b", 3));
}

/* Whatever comes out of a mail passes the check when it was cleaned; a good text is not copied. */
static void test_clean_text(void **state)
{
    static char bytes[3 * REPLY_TEXT_MAX];
    char out[REPLY_TEXT_MAX];
    static const char good[] = "good";
    struct smtp_reply reply = {.code = 550};
    uint32_t random = 1;

    (void)state;
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            random = random * 1103515245 + 12345;
            bytes[i] = (char)(random >> (round % 3 == 0 ? 16 : 20));
        }
        reply.text = smtp_text_clean(slice_of(bytes, sizeof(bytes) >> round % 12), out);
        assert_null(smtp_reply_check(VERDICT_REJECT, &reply));
    }
    memset(bytes, '\n', sizeof(bytes));
    reply.text = smtp_text_clean(slice_of(bytes, sizeof(bytes)), out);
    assert_int_equal(reply.text.len, REPLY_LINES_MAX - 1);
    assert_ptr_equal(smtp_text_clean(slice_of(good, 4), out).data, good);
}

static void test_unterminated_dsn(void **state)
{
    struct smtp_reply reply = {.code = 550};

    (void)state;
    memset(reply.dsn, '5', sizeof(reply.dsn));
    reply.dsn[1] = '.';
    assert_non_null(smtp_reply_check(VERDICT_REJECT, &reply));
}

static void test_defaults_pass_the_check(void **state)
{
    (void)state;
    for (int i = 0; i < VERDICT_COUNT; i++) {
        struct smtp_reply reply = smtp_reply_default((enum verdict)i);
        assert_null(smtp_reply_check((enum verdict)i, &reply));
        assert_int_equal(reply.code != 0, i == VERDICT_REJECT || i == VERDICT_TEMPFAIL);
    }
    assert_string_equal(smtp_reply_default(VERDICT_REJECT).dsn, "5.7.1");
    assert_int_equal(smtp_reply_default(VERDICT_TEMPFAIL).code, 451);
}

static void test_failures(void **state)
{
    static const struct {
        enum failure_cause cause;
        enum failure_answer answer;
        enum verdict verdict;
        uint16_t code;
        const char *dsn;
    } rows[] = {
        {FAILURE_CAUSE_NOBODY, FAILURE_TEMPFAIL, VERDICT_TEMPFAIL, 451, "4.3.0"},
        {FAILURE_CAUSE_ERROR, FAILURE_TEMPFAIL, VERDICT_TEMPFAIL, 451, "4.3.0"},
        {FAILURE_CAUSE_OVERLOAD, FAILURE_TEMPFAIL, VERDICT_TEMPFAIL, 451, "4.3.2"},
        {FAILURE_CAUSE_POISON, FAILURE_TEMPFAIL, VERDICT_TEMPFAIL, 451, "4.3.0"},
        {FAILURE_CAUSE_OVERSIZE, FAILURE_TEMPFAIL, VERDICT_TEMPFAIL, 452, "4.3.4"},
        {FAILURE_CAUSE_NOBODY, FAILURE_REJECT, VERDICT_REJECT, 554, "5.3.0"},
        {FAILURE_CAUSE_ERROR, FAILURE_REJECT, VERDICT_REJECT, 554, "5.3.0"},
        {FAILURE_CAUSE_OVERLOAD, FAILURE_REJECT, VERDICT_REJECT, 554, "5.3.0"},
        {FAILURE_CAUSE_POISON, FAILURE_REJECT, VERDICT_REJECT, 554, "5.3.0"},
        {FAILURE_CAUSE_OVERSIZE, FAILURE_REJECT, VERDICT_REJECT, 552, "5.3.4"},
        {FAILURE_CAUSE_NOBODY, FAILURE_ACCEPT, VERDICT_ACCEPT, 0, ""},
        {FAILURE_CAUSE_OVERSIZE, FAILURE_ACCEPT, VERDICT_ACCEPT, 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct smtp_reply reply;
        char text[200];
        enum verdict verdict =
            failure_verdict(rows[i].cause, rows[i].answer, "K7Q.1", &reply, text, sizeof(text));
        assert_int_equal(verdict, rows[i].verdict);
        assert_int_equal(reply.code, rows[i].code);
        assert_string_equal(reply.dsn, rows[i].dsn);
        assert_null(smtp_reply_check(verdict, &reply));
        if (verdict == VERDICT_ACCEPT)
            assert_int_equal(reply.text.len, 0);
        else
            assert_string_equal(text + strlen(text) - 7, ": K7Q.1");
    }
}

static void test_failure_text_is_bounded(void **state)
{
    struct smtp_reply reply;
    char text[8];

    (void)state;
    failure_verdict(FAILURE_CAUSE_ERROR, FAILURE_TEMPFAIL, "", &reply, text, sizeof(text));
    assert_int_equal(reply.text.len, 7);
    failure_verdict(FAILURE_CAUSE_ERROR, FAILURE_TEMPFAIL, NULL, &reply, text, sizeof(text));
    assert_int_equal(reply.text.len, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_every_cell),
        cmocka_unit_test(test_reply_check),
        cmocka_unit_test(test_reply_bounds),
        cmocka_unit_test(test_clean_text),
        cmocka_unit_test(test_unterminated_dsn),
        cmocka_unit_test(test_defaults_pass_the_check),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_failure_text_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
