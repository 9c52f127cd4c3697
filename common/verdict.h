/* Verdicts, the replies that go with them, where each is allowed, and the answers when something failed. */
#ifndef POSTERN_VERDICT_H
#define POSTERN_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/hook.h"

/* The numbers are on the wire. */
enum verdict { VERDICT_CONTINUE = 0, VERDICT_ACCEPT, VERDICT_REJECT, VERDICT_TEMPFAIL, VERDICT_DISCARD, VERDICT_COUNT };

const char *verdict_name(enum verdict verdict); /* "continue" … */
int verdict_from_name(const char *name, enum verdict *out);

enum { REPLY_TEXT_MAX = 8000, REPLY_LINES_MAX = 32, REPLY_LINE_MAX = 900, REPLY_DSN_MAX = 12 };

/* An SMTP reply (RFC 5321 section 4.2, RFC 3463). code 0: the MTA's own. */
struct smtp_reply {
    uint16_t code;               /* 4yz or 5yz */
    char dsn[REPLY_DSN_MAX + 1]; /* "5.7.1", or "" */
    struct slice text;           /* lines separated by "\n"; borrowed */
};

/*
 * Checks a reply against its verdict: class of code and dsn, dsn syntax, number and length of lines, printable UTF-8 or ASCII
 * without control characters other than LF, 421 allowed for tempfail. Returns NULL, or what is wrong as a borrowed text
 * ("the code does not fit reject: it must be 5yz").
 */
const char *smtp_reply_check(enum verdict verdict, const struct smtp_reply *reply);
/*
 * Makes any text fit for a reply, since it may come out of a mail, whose sender must not turn a refusal into an error: text_clean
 * with the bounds above. out has REPLY_TEXT_MAX bytes; the result points into it, or is text itself when nothing is wrong with it.
 */
struct slice smtp_text_clean(struct slice text, char *out);
/* 550 5.7.1 for reject, 451 4.7.1 for tempfail; text is the verdict's neutral one. */
struct smtp_reply smtp_reply_default(enum verdict verdict);

/* Whether a hook with this subject may give this verdict (discard of a recipient only with whole_message). */
bool verdict_is_allowed(enum verdict verdict, enum subject subject, bool whole_message);

/* Where the store keeps its entries. */
enum store_place { STORE_IN_SQLITE = 0, STORE_IN_REDIS };

/* What is answered when something failed. Same numbers on the wire. */
/* What becomes of mail that a back end should have judged and could not. */
enum backend_policy {
    BACKEND_TEMPFAIL = 0, /* the hook ends with it */
    BACKEND_CONTINUE,     /* a result that says so */
    BACKEND_RETURN,       /* nil and why: the filter decides */
    BACKEND_OF_ALL,       /* of one section: what [backend] says */
};

enum failure_answer { FAILURE_TEMPFAIL = 0, FAILURE_REJECT, FAILURE_ACCEPT };
enum failure_cause { FAILURE_CAUSE_NOBODY = 0, FAILURE_CAUSE_ERROR, FAILURE_CAUSE_OVERLOAD, FAILURE_CAUSE_POISON, FAILURE_CAUSE_OVERSIZE, FAILURE_CAUSE_COUNT };

/*
 * The verdict and reply for a failure, as design of "failure answers" has them (451 4.3.0, 4.3.2, 552 5.3.4 …; reject of a
 * cause that is temporary by nature is 554 5.3.0). The neutral text ends in uid and is written into text_out.
 */
enum verdict failure_verdict(enum failure_cause cause, enum failure_answer answer, const char *uid, struct smtp_reply *reply_out, char *text_out, size_t text_bytes);

#endif
