/*
 * Connections as the shadow sees them (shadow_talk.c) and one hook of them after the other
 * (shadow_run.c). Nobody else includes it: shadow.h has what others call. Calls go from the
 * connection to its runs; a run says when it is through.
 */
#ifndef POSTERN_MULTIPLEXOR_SHADOW_TALK_H
#define POSTERN_MULTIPLEXOR_SHADOW_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "common/sock.h"
#include "multiplexor/shadow_answer.h"

struct client;
struct mux;
struct request;
struct wire_reply;

TAILQ_HEAD(run_list, shadow_run);

struct shadow_run {
    TAILQ_ENTRY(shadow_run) entry;
    struct talk *talk;
    struct request *request; /* whose answer is awaited; NULL: it has come, or never will */
    bool has_live, has_shadow, is_through; /* through: the shadow has answered, or will not */
    struct shadow_sample sample;
    int64_t deadline_ms;
    int fds[SOCK_MAX_FDS]; /* of the record, until it is put */
    int n_fds;
    size_t len;
    uint8_t *record; /* as it came; NULL when it has been put */
};

/* A message: what milterd keeps of one (milterd/consult.c). */
struct talk_message {
    char uid[49];
    bool is_accepted, has_state, has_no_changes;
    struct buf state, changes;
};

struct talk {
    TAILQ_ENTRY(talk) entry;
    TAILQ_ENTRY(talk) bucket_entry;
    struct talk_list *bucket;
    struct mux *mux;
    char conn_id[33];
    struct client *client;
    struct run_list runs;
    struct shadow_run *running; /* one of runs; NULL: none */
    bool is_putting;            /* in put_next: answers may come within it */
    bool is_lost;               /* a hook of the connection was not run: no more of it are */
    bool is_over;               /* filter_close has had its turn */
    bool is_accepted, has_state;
    struct buf state;
    struct talk_message message;
    char begun_uid[49], lost_uid[49]; /* the message seen from its start; the one given up */
    int64_t used_ms;
    size_t bytes;
};

/* shadow_talk.c */
/* The message at hand, or the whole connection (uid ""), is given up: what comes of it is not run.
 */
void talk_lose(struct talk *talk, const char *uid);
bool talk_is_lost(const struct talk *talk, const char *uid);
/* Whether it was forgotten, since its connection has ended and nothing of it is awaited. */
bool talk_forget_if_over(struct talk *talk);
/* Counts what the connection takes, and forgets those unused for longest when all take too much:
 * this one too, perhaps. */
void talk_account(struct talk *talk);

/* shadow_run.c */
/* A copy of the request, last in its connection's list. */
struct shadow_run *shadow_run_new(struct talk *talk, struct request *request);
void shadow_run_free(struct shadow_run *run);
/* Puts all whose turn has come; answers may come within it. */
void talk_put_next(struct talk *talk);
/* The callback of the connection's client. The connection may be gone afterwards. */
void talk_on_answer(const struct wire_reply *reply, void *context);

#endif
