/*
 * The stages of an SMTP transaction as a filter's front end lives them: each takes in what the MTA
 * said, asks the hook that answers there, and says what the MTA gets. libmilter's callbacks
 * (callbacks.c) do nothing but call these.
 */
#ifndef POSTERN_MILTERD_STAGE_H
#define POSTERN_MILTERD_STAGE_H

#include "milterd/conn.h"

sfsistat stage_connect(struct conn *conn, const char *hostname, const struct sockaddr *address);
sfsistat stage_helo(struct conn *conn, const char *helo);
sfsistat stage_mail(struct conn *conn, char **argv);
sfsistat stage_rcpt(struct conn *conn, char **argv);
sfsistat stage_data(struct conn *conn);
sfsistat stage_header(struct conn *conn, const char *name, const char *value);
sfsistat stage_eoh(struct conn *conn);
sfsistat stage_body(struct conn *conn, const unsigned char *data, size_t len);
sfsistat stage_eom(struct conn *conn);
sfsistat stage_unknown(struct conn *conn, const char *command);
/* The message was given up: filter_abort runs, its log line is written. Nothing when none is open.
 */
void stage_abort(struct conn *conn);
void stage_close(struct conn *conn);

#endif
