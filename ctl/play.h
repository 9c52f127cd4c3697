/*
 * Plays one message through a filter, with no server, in a process of its own: whatever the filter
 * or the mail does there ends in a report.
 */
#ifndef POSTERN_CTL_PLAY_H
#define POSTERN_CTL_PLAY_H

#include <jansson.h>
#include <stdbool.h>

#include "common/conf.h"
#include "common/hook.h"
#include "ctl/isolate.h"
#include "ctl/mail_file.h"
#include "ctl/transaction.h"

/* One message on its way. Everything is borrowed. */
struct playing {
    const struct conf *conf;
    const char *filter;
    const char *file; /* as the report names it */
    int output_fd;    /* where the message as it would leave goes; -1: nowhere */
    const struct transaction *transaction;
    const struct mail_file *mail;
    enum hook last_hook;     /* nothing is asked after it; HOOK_NONE: all */
    bool does_deeds;         /* deeds.h: for real; else they are told */
    struct store *store;     /* for the filter's postern.store; NULL: one of its own */
    struct lua_State *world; /* of the test that plays it; NULL: the real one */
};

/* The report (report.h), a new reference. A process that died is told in its error: the step it was
 * at, and how it ended. */
json_t *play_message(struct playing *playing);

/* The same within a child that stands already (isolate.h, after mime_start), without what is logged
 * meanwhile: the filter is loaded, plays the message, and is gone. */
json_t *play_in_child(struct isolate *isolate, const struct playing *playing);
/* Puts lines logged (borrowed) before the msg:log pairs that a report holds already. */
void play_add_log(json_t *report, json_t *lines);

#endif
