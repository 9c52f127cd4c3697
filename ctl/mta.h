/*
 * Plays the mail server for one message over one milter connection: negotiates, sends each stage
 * that the milter wants, waits for an answer where one comes, collects the changes asked for at the
 * end.
 */
#ifndef POSTERN_CTL_MTA_H
#define POSTERN_CTL_MTA_H

#include <jansson.h>

#include "common/sock.h"
#include "ctl/mail_file.h"
#include "ctl/transaction.h"

enum { MTA_CONNECT_MS = 10000, MTA_REPLY_MS = 30000, MTA_END_MS = 300000, MTA_ACTIONS_MAX = 20000 };

/*
 * Sends a message.
 *
 * report  gets members verdict, reply, actions, recipients, stages and error (report.h); verdict
 * "error" when the conversation broke off. Returns 0, or -ERR_SYSTEM, -ERR_TIMEOUT when nobody
 * answers at the socket (errno says why; the report is left alone).
 */
int mta_send(const struct sock_spec *spec, const struct transaction *transaction,
    const struct mail_file *mail, json_t *report);

#endif
