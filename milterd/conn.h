/*
 * One connection of an MTA: what was negotiated, who the SMTP client is, the parcel, the state that
 * hooks share, and the message under way. Owned by libmilter's context (its private pointer); used
 * by one thread at a time, shares only what front.h holds.
 */
#ifndef POSTERN_MILTERD_CONN_H
#define POSTERN_MILTERD_CONN_H

#include <libmilter/mfapi.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/buf.h"
#include "common/hook.h"
#include "milterd/generation.h"
#include "milterd/message.h"

struct front;
struct parcel;

enum { CONN_LEAD_MAX = 1 << 20, CONN_TEXT_MAX = 255 };

struct conn {
    struct front *front;
    SMFICTX *ctx;
    int fd; /* libmilter's, watched only; -1 when it is not known */
    char id[24];

    /* Negotiated with the MTA, for the life of its connection to us. */
    struct hook_needs stages; /* sees, answers */
    struct generation_claim claim;
    uint32_t no_reply;      /* stage bits: the MTA does not wait for an answer there */
    uint32_t capabilities;  /* enum mta_capability */
    bool has_skip;          /* the MTA understands SMFIS_SKIP */
    bool has_leading_space; /* values come as sent, and we supply the space of those we add */

    uint32_t n_clients; /* SMTP connections so far: an MTA may reuse its connection to us */

    /* The SMTP client; anew with each CONNECT. */
    bool is_connected;
    bool is_accepted; /* no more filtering for the connection */
    bool has_state;
    uint32_t n_messages;
    struct buf lead; /* envelope entries CONNECT, HELO and their macros: the start of each message's
                        region */
    size_t lead_connect_bytes; /* of it, without HELO */
    struct buf state;
    char client_ip[INET6_ADDRSTRLEN]; /* "" when there is none */
    char client_name[CONN_TEXT_MAX + 1];
    char helo[CONN_TEXT_MAX + 1];

    struct parcel *parcel; /* NULL between messages */
    bool is_parcel_free;   /* nobody else can still be reading it */

    struct message message;
};

/* front and ctx are borrowed for its life. */
struct conn *conn_new(struct front *front, SMFICTX *ctx, int fd);
void conn_free(struct conn *conn); /* NULL is fine */

/* CONNECT: forgets the client before, if there was one, and notes this one.
 */
void conn_begin(struct conn *conn, const char *hostname, const struct sockaddr *address);
/* HELO or EHLO, also again after STARTTLS. */
void conn_put_helo(struct conn *conn, const char *helo);
/* The end of the SMTP connection: forgets the client; what was negotiated stays. */
void conn_end(struct conn *conn);

/* Makes sure that there is a parcel that begins with the lead. 0 or -ERR_SYSTEM, -ERR_TOOBIG. */
int conn_need_parcel(struct conn *conn);
/* Gives the parcel back unless a message is open. */
void conn_return_parcel(struct conn *conn);

#endif
