/*
 * The envelope region of a parcel: append-only entries, in the order in which the MTA told them.
 * Entry: u8 kind, u32 payload length, payload (fields as wire strings: u32 length, bytes; numbers big-endian).
 *
 *   CONNECT     u8 family ('4', '6', 'l' local, '?'), text ip ("" without), u16 port, text hostname as the MTA gave it ("[192.0.2.1]" when unverified)
 *   HELO        text helo
 *   SENDER      text address as received (with brackets), text args ("SIZE=10 BODY=8BITMIME")
 *   RECIPIENT   text address, text args
 *   REFUSED     u32 number of the recipient (from 0) that a hook refused
 *   MACROS      u8 stage, then pairs of text name (without braces for one letter names, with them otherwise: "i", "{client_addr}"), text value, to the end.
 *               Those of stage RCPT belong to the recipient before them. A later value replaces an earlier one.
 * Unknown kinds are skipped, so that a minor version may add some.
 */
#ifndef POSTERN_ENVELOPE_H
#define POSTERN_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/hook.h"

enum envelope_kind { ENVELOPE_CONNECT = 1, ENVELOPE_HELO, ENVELOPE_SENDER, ENVELOPE_RECIPIENT, ENVELOPE_REFUSED, ENVELOPE_MACROS };

enum { ENVELOPE_TEXT_MAX = 8192, ENVELOPE_MACROS_MAX = 256, ENVELOPE_RECIPIENTS_MAX = 100000 };

/* Writers: each appends one entry to out. 0, -ERR_TOOBIG, -ERR_BAD (NUL in a text); after an error out is as it was. */
int envelope_put_connect(struct buf *out, char family, struct slice ip, uint16_t port, struct slice hostname);
int envelope_put_helo(struct buf *out, struct slice helo);
int envelope_put_sender(struct buf *out, struct slice address, struct slice args);
int envelope_put_recipient(struct buf *out, struct slice address, struct slice args);
int envelope_put_refused(struct buf *out, uint32_t number);

struct envelope_macro {
    struct slice name;
    struct slice value;
};
int envelope_put_macros(struct buf *out, enum stage stage, const struct envelope_macro *macros, uint32_t n);
/* A macro's name without braces: one of one letter has none in the envelope, and a longer one has them. */
struct slice envelope_macro_name(struct slice name);
/* The value of the last macro of a name, with or without braces; data NULL: there is none. */
struct slice envelope_macro_find(const struct envelope_macro *macros, uint32_t n, struct slice name);

struct envelope_recipient {
    struct slice address; /* as received */
    struct slice args;
    bool is_refused;
    struct envelope_macro *macros;
    uint32_t n_macros;
};

/* The envelope read so far. Slices point into the region. */
struct envelope {
    char family;
    struct slice ip;
    uint16_t port;
    struct slice hostname;
    bool has_helo;
    struct slice helo;
    bool has_sender;
    struct slice sender, sender_args;
    struct envelope_recipient *recipients; /* filled by envelope_read_recipients or _all */
    uint32_t n_recipients;
    struct envelope_macro *macros[STAGE_COUNT]; /* by stage; RCPT: those of the newest recipient read */
    uint32_t n_macros[STAGE_COUNT];
};

/*
 * Reads entries up to the first RECIPIENT: enough for hooks that look at connection and sender only, so that ten thousand recipients cost
 * no more each than ten. recipient_offset: where the entry of the recipient being judged starts in the region (0: there is none); it and its
 * macros are read too, as recipients[0].
 * Malformed input: -ERR_BAD; more than ENVELOPE_MACROS_MAX macros of one stage: -ERR_TOOBIG. Bounded work: entries before the first recipient and one recipient.
 */
int envelope_read_front(struct slice region, size_t recipient_offset, struct arena *arena, struct envelope *out);
/* Reads everything. -ERR_BAD, -ERR_TOOBIG. */
int envelope_read_all(struct slice region, struct arena *arena, struct envelope *out);

#endif
