/*
 * The SMTP transaction around a message file, as run and send play it: client, HELO, envelope,
 * macros; from the command line, else from the message's own header, else documented defaults.
 */
#ifndef POSTERN_CTL_TRANSACTION_H
#define POSTERN_CTL_TRANSACTION_H

#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/envelope.h"
#include "ctl/args.h"
#include "ctl/mail_file.h"

struct transaction_address {
    struct slice address;                /* as it goes over the wire: with angle brackets */
    struct slice args;                   /* "SIZE=10 BODY=8BITMIME", or empty */
    const struct envelope_macro *macros; /* of a recipient; NULL: those of the stage RCPT */
    uint32_t n_macros;
};

struct transaction_macros {
    struct envelope_macro items[ENVELOPE_MACROS_MAX];
    uint32_t n;
};

struct transaction {
    char family;     /* as in envelope.h */
    struct slice ip; /* canonical; empty for a local client */
    uint16_t port;
    struct slice hostname;
    struct slice helo;
    struct transaction_address sender;
    struct transaction_address *recipients;
    uint32_t n_recipients;
    struct transaction_macros
        macros[STAGE_COUNT]; /* by the stage at which a mail server gives them */
};

enum { TRANSACTION_RECIPIENTS_MAX = 10000, TRANSACTION_HEADER_RECIPIENTS_MAX = 100 };

/*
 * Works it out; everything lives in the arena or in what is given.
 * number   of the message in this run, from 1: part of the queue id that macro i gets.
 * Returns NULL, or what is wrong with the options (in the arena).
 */
const char *transaction_make(const struct args *args, const struct mail_file *mail, uint32_t number,
    struct arena *arena, struct transaction *out);

/* The transaction that an envelope tells of, as a front end has kept it. Texts stay the envelope's.
 */
void transaction_of_envelope(
    const struct envelope *envelope, struct arena *arena, struct transaction *out);

#endif
