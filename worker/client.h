/*
 * Who is at the other end of the connection: what the MTA told of the client, and which relay
 * brought the mail into our own machines.
 */
#ifndef POSTERN_WORKER_CLIENT_H
#define POSTERN_WORKER_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>

#include "worker/job.h"

/* The newest stage whose macros this hook may see: those without a message see connection and HELO.
 */
enum stage client_last_stage(struct job *job);
/* Such a macro; data NULL when it was not told. */
struct slice client_macro(struct job *job, const char *name);
struct slice client_macro_slice(struct job *job, struct slice name);
/* Writes the address as text without mapping or prefix; false when there is none. */
bool client_ip(struct job *job, char out[INET6_ADDRSTRLEN]);
/* The name whose address was looked up and agrees; empty when there is none. */
struct slice client_hostname(struct job *job);
/* "ok", "forged", "fail" or "temp". */
const char *client_rdns(struct job *job);
/* "sendmail", "postfix" or "?". */
const char *client_mta(struct job *job);
/* Submitted on this machine. */
bool client_is_local(struct job *job);
/* Local, authenticated, or in worker.trusted_networks. */
bool client_is_trusted(struct job *job);

struct client_origin {
    char ip[INET6_ADDRSTRLEN]; /* "": none */
    struct slice helo;
    struct slice hostname;
};
/* The value of Message-ID as received; empty when there is none, or before filter_headers. */
struct slice client_message_id(struct job *job);
/* Whether client_origin_get has to read the header: the client is one of worker.trusted_relays. */
bool client_is_relay(struct job *job);
/*
 * The first relay outside worker.trusted_relays: the client, or when that is one of ours, what the
 * topmost field of origin_mark.h says, if it is genuine, else what our relays wrote into the
 * Received fields, from the top down. A field that cannot be read ends the search at the last relay
 * known.
 */
void client_origin_get(struct job *job, struct client_origin *out);

#endif
