/*
 * Notices: mail of our own about a mail, to the administrator or to its sender (msg:notify_admin,
 * msg:notify_sender). A notice is claimed once for each mail (notify_ledger.h), written into a
 * queue in the state folder, and sent by whichever worker finds nobody else sending: never by two
 * at a time, since the server that takes them may ask this very system about each, and all workers
 * would wait for one another.
 */
#ifndef POSTERN_WORKER_NOTIFY_H
#define POSTERN_WORKER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/conf.h"

struct deeds_notice;
struct job;
struct tally;

enum {
    NOTIFY_SUBJECT_MAX = 200,
    NOTIFY_TEXT_MAX = 65536,
    NOTIFY_QUEUE_MAX = 1000,
    /* Senders get none while so many wait, so that there is room for the administrator's. */
    NOTIFY_QUEUE_SENDERS = 500
};

/* The field by which a notice is known when it comes through the filter, as trap.h has it. */
#define NOTIFY_MARK_NAME "X-Postern-Notice"

/* Whether a mail is a notice of ours, so that there is none about it. */
bool notify_is_own(struct job *job);
/*
 * NULL, or why the sender of this mail must not be told anything: "null sender", "list",
 * "automatic", "virus" (RFC 3834 section 2). Needs the header to be known.
 */
const char *notify_why_not_sender(struct job *job);
/* NULL, or "off": notify.from, or for the administrator notify.admin, is empty. */
const char *notify_why_off(const struct conf *conf, bool is_to_sender);

/* Makes the notices of job->deeds, and sends what is in the queue until deadline_ms (monotonic) or
 * notify.timeout. What fails is logged and counted, and changes nothing for the mail. */
void notify_do(struct job *job, int64_t deadline_ms, struct tally *tally);

/* ---- notify_mail.c ---- */

struct notify_mail {
    const char *from, *to;
    const char *name;      /* of its Message-ID, unguessable; TRAP_ID_CHARS characters */
    const uint8_t *secret; /* for its mark */
    struct slice subject, text;
    struct slice answers; /* Message-ID of the mail that it is about, as received; empty: none */
};

/* A whole message with CRLF line ends (RFC 5322; Auto-Submitted, RFC 3834). Appended to out. 0 or
 * -ERR_TOOBIG. */
int notify_mail_put(struct buf *out, const struct notify_mail *mail, int64_t time_secs);

#endif
