/* Handing released mail on: by SMTP to notify.server, or into the command trap.release_command. */
#ifndef POSTERN_CTL_TRAP_DELIVER_H
#define POSTERN_CTL_TRAP_DELIVER_H

#include "common/conf.h"
#include "worker/smtp_send.h"

/*
 * Hands it on within trap.release_time. Result and answers as smtp_send; a command takes it for all
 * recipients, or for none. *reached_out: whether a server, or the command, was there at all.
 */
int trap_deliver(const struct conf *conf, const struct smtp_send_mail *mail,
    struct smtp_send_result *out, bool *reached_out);

#endif
