/*
 * One message of a connection, from MAIL to its end: its bytes in the parcel, what hooks left
 * behind (state, pending changes), and what its log line will say. Cleared in one place, so that
 * nothing of one message is in the next.
 */
#ifndef POSTERN_MILTERD_MESSAGE_H
#define POSTERN_MILTERD_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/verdict.h"
#include "milterd/decision.h"

struct conn;

enum {
    MESSAGE_STATE_MAX = 32768,
    MESSAGE_CHANGES_MAX = 402653184,
    MESSAGE_LOG_MAX = 16384,
    MESSAGE_TO_MAX = 1024,
    MESSAGE_ID_MAX = 250
};

/* Why milterd itself will refuse the message at the next stage that answers. */
enum refusal {
    REFUSAL_NONE = 0,
    REFUSAL_OVERSIZE,   /* on_oversize decides */
    REFUSAL_PARCEL,     /* its bytes could not be kept; on_failure decides */
    REFUSAL_RECIPIENTS, /* 452 4.5.3 */
    REFUSAL_ADDRESS,    /* 553 5.1.7: an envelope address that nobody could carry */
    REFUSAL_DRAINING,   /* 421 4.3.2 */
};

struct message {
    bool is_open;
    bool is_accepted;    /* no more hooks; pending changes are still applied at the end */
    bool has_no_changes; /* drops what is pending and takes no more (on_error = accept) */
    bool is_asked;       /* the first request went out */
    bool has_state;
    bool has_eoh; /* the empty line after the header is in the parcel */
    enum refusal refusal;
    char uid[48];
    char queue_id[64];
    char id_header[MESSAGE_ID_MAX + 1]; /* the first Message-ID field as received, cut; "" none */
    uint32_t generation;                /* it counts there; 0: not yet known */
    uint32_t n_recipients, n_refused;
    char first_domain[256], last_domain[256]; /* of its recipients, in lower case */
    uint64_t header_bytes;
    uint64_t body_bytes;
    struct buf state;
    struct buf changes;
    /* for the log line */
    int64_t start_us;
    struct buf from, to; /* as received, with brackets; recipients separated by commas */
    struct buf log_fields;
    uint64_t queue_us, hook_us; /* of all its requests */
    uint32_t attempts;          /* the most that one request needed */
    struct decision decision;   /* what was decided last */
};

void message_init(struct message *message);
/* Begins one: takes a parcel, stamps it with a generation. Never fails; what went wrong is
 * remembered as refusal. */
void message_open(struct conn *conn);
/* Forgets it: parcel back, generation dropped, buffers emptied. Nothing when none is open. */
void message_close(struct conn *conn);
void message_clear(struct message *message); /* frees buffers */

/* The envelope so far. Each remembers a refusal when it does not fit. */
void message_put_sender(struct conn *conn, char **argv);
/* Returns where the recipient's entry starts in the envelope region; false when it was not taken
 * (too many, too long). */
bool message_put_recipient(struct conn *conn, char **argv, uint32_t *offset_out);
void message_put_refused(struct conn *conn, uint32_t number);

/* The macros of DATA, EOH and EOM, and the queue id if the MTA has told it meanwhile. */
void message_put_macros(struct conn *conn, enum stage stage);
/* Takes the queue id anew. */
void message_note_id(struct conn *conn);

/* Bytes as libmilter hands them over, into the form of the parcel (parcel.h). */
void message_put_header(struct conn *conn, const char *name, const char *value);
void message_put_eoh(struct conn *conn);
/* offset_out: where the chunk starts in the message. */
void message_put_body(
    struct conn *conn, const unsigned char *data, size_t len, uint64_t *offset_out);

/* Remembers the first reason. */
void message_refuse(struct message *message, enum refusal refusal);

#endif
