/*
 * Plays the front end for one message without any server: the stages in order, over the hooks that
 * the filter defines, with states and changes carried between hooks exactly as milterd carries
 * them. Runs in a process that may die (see isolate.h).
 *
 * One difference from a server: the first hook that fails ends the session, so that its error is
 * what the author reads.
 */
#ifndef POSTERN_CTL_SESSION_H
#define POSTERN_CTL_SESSION_H

#include <stdbool.h>

#include "common/conf.h"
#include "common/verdict.h"
#include "ctl/mail_file.h"
#include "ctl/transaction.h"
#include "worker/script.h"

struct session_refusal { /* of one recipient */
    struct slice address;
    enum verdict verdict;
    struct smtp_reply reply;
    const char *where;
};

struct session {
    /* Set by the caller, borrowed. */
    const struct conf *conf;
    struct script *script;
    const struct transaction *transaction;
    const struct mail_file *mail;
    struct arena *arena; /* texts of the result live here */
    enum hook last_hook; /* the stages after its own are not played; HOOK_NONE: all are */
    void (*on_hook)(enum hook hook, int64_t limit_ms, void *context); /* before each hook runs */
    void *on_hook_context;

    /* The result. */
    enum verdict verdict;
    struct smtp_reply reply; /* code 0: none */
    uint32_t delay_ms;
    const char *where;                /* "filter.lua:12"; "" when no hook made the verdict */
    const char *error;                /* NULL, or the text of the hook that failed */
    enum hook hook;                   /* that made the verdict or failed */
    struct session_refusal *refusals; /* one place for each recipient */
    uint32_t n_refusals;
    struct buf changes;    /* pending: actions in order */
    struct buf log_fields; /* msg:log pairs */

    /* What milterd holds between hooks. */
    struct buf region, conn_state, msg_state;
    bool has_conn_state, has_msg_state, drops_changes;
    bool is_over;
};

/* Plays it all; the result is in the session. */
void session_play(struct session *session);
/* Frees what session_play made; what the caller set stays. */
void session_clear(struct session *session);
/*
 * A request over the whole message with all pending changes, as filter_message gets it: for
 * rendering what would leave. Slices point into the session.
 */
struct wire_request session_final_request(const struct session *session);

#endif
