/*
 * A small SMTP client (RFC 5321) for mail of our own making and for what was kept: one message, one
 * connection, bounded in time, no TLS, no queue. The server is one of ours, which queues.
 */
#ifndef POSTERN_WORKER_SMTP_SEND_H
#define POSTERN_WORKER_SMTP_SEND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/sock.h"

enum { SMTP_SEND_TEXT_MAX = 200 };

struct smtp_send_answer {
    uint16_t code;                 /* 0: it was not asked */
    char text[SMTP_SEND_TEXT_MAX]; /* one line, without control characters */
};

/* Everything is borrowed. */
struct smtp_send_mail {
    struct slice sender;            /* without brackets; "": the null sender */
    const struct slice *recipients; /* without brackets */
    uint32_t n_recipients;
    struct slice head;    /* header fields that go before the message's own, each with its CRLF */
    struct slice message; /* line ends that are no CRLF become one, so that no server can take a
                             line for the end where another does not */
};

struct smtp_send_result {
    struct smtp_send_answer last;     /* what was said last */
    struct smtp_send_answer *answers; /* the caller's: one for each recipient, zeroed */
    const char *stage; /* where it ended: "connect", "greeting", "EHLO", "MAIL" … */
    bool may_be_taken; /* the connection was lost after all was sent: it may be on its way */
};

/*
 * Sends it to those recipients that the server takes: their answers have code 250. An address that
 * is not valid (address.h), or not ASCII when the server does not offer SMTPUTF8, is not asked for
 * and gets code 553.
 *
 * deadline_ms  monotonic clock, for all of it.
 * Returns 0 when the server has taken the message; -ERR_DENIED (it refused: last says why, or no
 * recipient was taken), -ERR_PEER, -ERR_TIMEOUT, -ERR_BAD (it speaks no SMTP), -ERR_SYSTEM.
 */
int smtp_send(const struct sock_spec *server, const struct smtp_send_mail *mail,
    int64_t deadline_ms, struct smtp_send_result *out);
/* The same over a connection that stands already, and stays the caller's. */
int smtp_send_over(
    int fd, const struct smtp_send_mail *mail, int64_t deadline_ms, struct smtp_send_result *out);

#endif
