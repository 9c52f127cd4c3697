/*
 * Verdicts and the replies that go with them: which verdict fits which subject, which reply fits
 * which verdict, what a failure answers.
 */
#include "common/verdict.h"

#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "common/text.h"

static const char *const names[VERDICT_COUNT] = {
    [VERDICT_CONTINUE] = "continue",
    [VERDICT_ACCEPT] = "accept",
    [VERDICT_REJECT] = "reject",
    [VERDICT_TEMPFAIL] = "tempfail",
    [VERDICT_DISCARD] = "discard",
};

#define BIT(verdict)    (1U << (verdict))
#define GO_OR_REFUSE    (BIT(VERDICT_CONTINUE) | BIT(VERDICT_REJECT) | BIT(VERDICT_TEMPFAIL))
#define ACCEPT_OR_ABOVE (GO_OR_REFUSE | BIT(VERDICT_ACCEPT))

/* The verdicts a hook may give, by what it judges. */
static const unsigned allowed[] = {
    [SUBJECT_NONE] = BIT(VERDICT_CONTINUE),
    [SUBJECT_CONNECTION] = ACCEPT_OR_ABOVE,
    [SUBJECT_MESSAGE] = ACCEPT_OR_ABOVE | BIT(VERDICT_DISCARD),
    [SUBJECT_RECIPIENT] = ACCEPT_OR_ABOVE,
    [SUBJECT_COMMAND] = GO_OR_REFUSE,
};

const char *verdict_name(enum verdict verdict)
{
    return verdict < VERDICT_COUNT ? names[verdict] : "?";
}

int verdict_from_name(const char *name, enum verdict *out)
{
    for (int i = 0; i < VERDICT_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (enum verdict)i;
            return 0;
        }
    }
    return -ERR_BAD;
}

bool verdict_is_allowed(enum verdict verdict, enum subject subject, bool whole_message)
{
    if (verdict >= VERDICT_COUNT || subject > SUBJECT_COMMAND)
        return false;
    if (verdict == VERDICT_DISCARD && subject == SUBJECT_RECIPIENT)
        return whole_message;
    return (allowed[subject] & BIT(verdict)) != 0;
}

/*
 * One part of an enhanced code (RFC 3463 section 2): one to three digits. Returns what follows, or
 * NULL.
 */
static const char *dsn_number(const char *p)
{
    int n = 0;

    while (p[n] >= '0' && p[n] <= '9')
        n++;
    return n >= 1 && n <= 3 ? p + n : NULL;
}

static bool dsn_is_valid(const char *dsn)
{
    const char *p = dsn;

    if ((p[0] != '4' && p[0] != '5') || p[1] != '.')
        return false;
    p = dsn_number(p + 2);
    if (p == NULL || *p != '.')
        return false;
    p = dsn_number(p + 1);
    return p != NULL && *p == '\0';
}

/* Control characters other than LF, DEL, and the C1 range as UTF-8 (C2 80 … C2 9F). */
static bool text_has_control(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if ((c < 0x20 && c != '\n') || c == 0x7f)
            return true;
        if (c == 0xc2 && i + 1 < text.len && (unsigned char)text.data[i + 1] < 0xa0)
            return true;
    }
    return false;
}

static const char *reply_lines_check(struct slice text)
{
    size_t n_lines = 1, line_bytes = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\n') {
            n_lines++;
            line_bytes = 0;
        } else if (++line_bytes > REPLY_LINE_MAX) {
            return "a line of the text is longer than 900 bytes";
        }
    }
    return n_lines > REPLY_LINES_MAX ? "the text has more than 32 lines" : NULL;
}
_Static_assert(REPLY_LINE_MAX == 900 && REPLY_LINES_MAX == 32, "texts of reply_lines_check");

static const char *reply_text_check(struct slice text)
{
    if (text.len > REPLY_TEXT_MAX)
        return "the text is longer than 8000 bytes";
    if (text_has_control(text))
        return "the text contains a control character";
    if (!text_is_utf8(text))
        return "the text is not valid UTF-8";
    return reply_lines_check(text);
}
_Static_assert(REPLY_TEXT_MAX == 8000, "text of reply_text_check");

const char *smtp_reply_check(enum verdict verdict, const struct smtp_reply *reply)
{
    bool is_reject = verdict == VERDICT_REJECT;
    bool has_dsn = reply->dsn[0] != '\0';

    if (!is_reject && verdict != VERDICT_TEMPFAIL)
        return reply->code == 0 && !has_dsn && reply->text.len == 0 ? NULL
                                                                    : "this verdict takes no reply";
    if (reply->code == 0)
        return !has_dsn && reply->text.len == 0 ? NULL : "a reply needs a code";
    if (reply->code / 100 != (is_reject ? 5 : 4))
        return is_reject ? "the code does not fit reject: it must be 5yz"
                         : "the code does not fit tempfail: it must be 4yz";
    if (memchr(reply->dsn, '\0', sizeof(reply->dsn)) == NULL ||
        (has_dsn && !dsn_is_valid(reply->dsn)))
        return "dsn is not an enhanced status code such as 5.7.1";
    if (has_dsn && reply->dsn[0] != (is_reject ? '5' : '4'))
        return is_reject ? "dsn does not fit reject: it must begin with 5."
                         : "dsn does not fit tempfail: it must begin with 4.";
    return reply_text_check(reply->text);
}

struct slice smtp_text_clean(struct slice text, char *out)
{
    static const struct text_bounds bounds = {REPLY_TEXT_MAX, REPLY_LINE_MAX, REPLY_LINES_MAX};

    if (reply_text_check(text) == NULL)
        return text;
    return slice_of(out, text_clean(out, text, &bounds));
}

struct smtp_reply smtp_reply_default(enum verdict verdict)
{
    static const struct smtp_reply none;

    if (verdict == VERDICT_REJECT)
        return (struct smtp_reply){550, "5.7.1", slice_text("Refused by local policy")};
    if (verdict == VERDICT_TEMPFAIL)
        return (struct smtp_reply){451, "4.7.1", slice_text("Not now, please try again later")};
    return none;
}

struct failure_reply {
    uint16_t code;
    char dsn[REPLY_DSN_MAX + 1];
    const char *text;
};

#define LATER  "Mail cannot be processed now, please try again later"
#define BUSY   "Too busy now, please try again later"
#define NEVER  "Mail cannot be processed"
#define TOOBIG "Message is too large"

/* By cause and answer; accept has no reply. */
static const struct failure_reply failures[FAILURE_CAUSE_COUNT][2] = {
    [FAILURE_CAUSE_NOBODY] = {{451, "4.3.0", LATER}, {554, "5.3.0", NEVER}},
    [FAILURE_CAUSE_ERROR] = {{451, "4.3.0", LATER}, {554, "5.3.0", NEVER}},
    [FAILURE_CAUSE_OVERLOAD] = {{451, "4.3.2", BUSY}, {554, "5.3.0", NEVER}},
    [FAILURE_CAUSE_POISON] = {{451, "4.3.0", LATER}, {554, "5.3.0", NEVER}},
    [FAILURE_CAUSE_OVERSIZE] = {{452, "4.3.4", TOOBIG}, {552, "5.3.4", TOOBIG}},
};
_Static_assert(FAILURE_TEMPFAIL == 0 && FAILURE_REJECT == 1, "columns of failures");

enum verdict failure_verdict(enum failure_cause cause, enum failure_answer answer, const char *uid,
    struct smtp_reply *reply_out, char *text_out, size_t text_bytes)
{
    bool has_uid = uid != NULL && uid[0] != '\0';

    LOG_INVARIANT(cause < FAILURE_CAUSE_COUNT && answer <= FAILURE_ACCEPT && text_bytes > 0);
    memset(reply_out, 0, sizeof(*reply_out));
    text_out[0] = '\0';
    if (answer == FAILURE_ACCEPT)
        return VERDICT_ACCEPT;

    const struct failure_reply *row = &failures[cause][answer];
    snprintf(text_out, text_bytes, "%s%s%s", row->text, has_uid ? ": " : "", has_uid ? uid : "");
    reply_out->code = row->code;
    memcpy(reply_out->dsn, row->dsn, sizeof(row->dsn));
    reply_out->text = slice_text(text_out);
    return answer == FAILURE_REJECT ? VERDICT_REJECT : VERDICT_TEMPFAIL;
}
