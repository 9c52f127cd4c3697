/*
 * The question that a connection asks about one hook, and what can come of it. The one interface
 * between the connection's life (conn, message, consult) and whoever answers: the multiplexor
 * (mux_client.h), or a stand-in when the stages are fuzzed.
 */
#ifndef POSTERN_MILTERD_ASK_H
#define POSTERN_MILTERD_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire.h"

struct mux_link;

struct ask {
    struct wire_request
        request; /* slices borrowed until the answer; budget_ms and attempt are set by the asker */
    int parcel_fd;       /* -1: the hook sees neither envelope nor message */
    int64_t deadline_ms; /* monotonic clock; when it passes the request is cancelled */
    int gone_fd;     /* the MTA's descriptor, watched for a client that left; -1: nobody to watch */
    bool may_repeat; /* whether the hook may run again when nobody answered the first time */
    int64_t progress_ms;               /* call on_progress so often while waiting; 0: never */
    int (*on_progress)(void *context); /* not 0: the MTA is gone */
    void *context;
};

enum ask_result {
    ASK_ANSWERED = 0,
    ASK_NOBODY,      /* no multiplexor, or it went away on both attempts */
    ASK_LATE,        /* the deadline passed; the request is cancelled */
    ASK_CLIENT_GONE, /* the MTA closed its connection; the request is cancelled */
};

struct ask_reply {
    struct wire_reply reply; /* slices live until the release */
    struct mux_link *link;   /* private to the one who answered */
    struct slice annex;      /* private too */
    unsigned attempts;       /* how often the request was sent, whatever came of it */
    bool is_parcel_free;     /* nobody can still be reading the parcel */
};

struct ask_ops {
    /* Fills out in every case (reply only for ASK_ANSWERED, and then release must follow). Called
     * on the connection's own thread. */
    enum ask_result (*ask)(void *context, const struct ask *ask, struct ask_reply *out);
    void (*release)(void *context, struct ask_reply *reply);
    /* What the filter needs, asked for now; waits at most timeout_ms. 0 or -ERR_TIMEOUT, -ERR_PEER.
     */
    int (*ask_needs)(void *context, int timeout_ms, struct wire_needs *out);
    void *context;
};

#endif
