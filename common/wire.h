/*
 * The record format between our processes, one module for all hops: SOCK_SEQPACKET datagrams of at most WIRE_RECORD_MAX bytes with up to two
 * descriptors. Header, big-endian: u16 major, u16 minor, u16 type, u16 flags, u64 id, u32 payload bytes (must equal what arrived). Then the fields of
 * records.def. Every decode is bounded. Source: postern-protocol(7).
 */
#ifndef POSTERN_WIRE_H
#define POSTERN_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

enum { WIRE_MAJOR = 1, WIRE_MINOR = 0, WIRE_HEADER_BYTES = 20, WIRE_RECORD_MAX = 65536 };
#define WIRE_ANNEX_MAX ((size_t)420 << 20) /* all spilled fields of a record */

enum wire_role { ROLE_MILTERD = 1, ROLE_MULTIPLEXOR = 2, ROLE_NURSERY = 4, ROLE_WORKER = 8 };
#define ROLE_ANY (ROLE_MILTERD | ROLE_MULTIPLEXOR | ROLE_NURSERY | ROLE_WORKER)

/* Flags in a record's header; WIRE_PARCEL, WIRE_ANNEX, WIRE_SOCKET and WIRE_NOTE (note.h) name its descriptors, in this order. */
enum wire_flag { WIRE_PARCEL = 1, WIRE_ANNEX = 2, WIRE_SOCKET = 4, WIRE_NOTE = 8 };

enum request_flag {
    REQUEST_HAS_CONN_STATE = 1, /* conn_state holds a table (else it is empty as at the start) */
    REQUEST_HAS_MSG_STATE = 2,
    REQUEST_NEW_MESSAGE = 4, /* the message's first request: may be refused with REPLY_RENEGOTIATE */
    REQUEST_RESERVED = 8,    /* its client is in multiplexor.reserved_networks */
};

enum reply_outcome {
    OUTCOME_OK = 0,      /* the hook ran and gave its verdict (or is not defined in this generation) */
    OUTCOME_ERROR,       /* it raised, or returned nonsense; verdict is on_error's */
    OUTCOME_DEADLINE,    /* it did not end in time; on_error's */
    OUTCOME_MEMORY,      /* out of its memory; on_error's */
    OUTCOME_OVERLOAD,    /* made by the multiplexor: queue full or too old */
    OUTCOME_POISON,      /* made by the multiplexor: killed two workers */
    OUTCOME_NOBODY,      /* made by the multiplexor: no filter has loaded, or no time left; on_failure's (milterd decides) */
    OUTCOME_RENEGOTIATE, /* made by the multiplexor: the filter needs stages this connection did not negotiate: 421 4.3.2 */
    OUTCOME_DIED,        /* made by the multiplexor: the worker died and no second attempt was left or allowed; on_failure's */
    OUTCOME_DRAIN,       /* made by the multiplexor: it is draining, and this would begin something new: 451 4.3.2 */
    OUTCOME_COUNT,
};

enum reply_flag {
    REPLY_HAS_CONN_STATE = 1,
    REPLY_HAS_MSG_STATE = 2,
    REPLY_NO_CHANGES = 4,      /* drop the pending changes of the message and take no more (on_error = accept) */
    REPLY_WHOLE_MESSAGE = 8,   /* a discard in filter_recipient that means the message */
    REPLY_REWRITE_FAILED = 32, /* the changed parts did not come out as asked for, and were dropped */
    REPLY_PARCEL_HELD = 16,    /* the multiplexor's: a shadow may still be reading the parcel, which is not to be used again */
};

struct wire_header {
    uint16_t major, minor;
    uint16_t type;
    uint16_t flags;
    uint64_t id; /* request id; a reply repeats it. Chosen by the asking side of each hop */
    uint32_t payload_bytes;
};

enum wire_type {
#define RECORD(id, name, number, senders, since, fds) WIRE_##id = (number),
#include "common/records_each.h"
};

/* struct wire_hello, struct wire_request …: texts are borrowed slices (from the record, or from the annex). */
#define RECORD(id, name, number, senders, since, fds) struct wire_##name {
#define RECORD_END(id, name)                                                                                           \
    }                                                                                                                  \
    ;
#define U8(f)         uint8_t f;
#define U16(f)        uint16_t f;
#define U32(f)        uint32_t f;
#define U64(f)        uint64_t f;
#define TEXT(f, max)  struct slice f;
#define SPILL(f, max) struct slice f;
#include "common/records_each.h"

/*
 * int wire_put_NAME(struct buf *record, struct buf *annex, uint64_t id, unsigned flags, const struct wire_NAME *in)
 *   Encodes one record, header included, into record (reset first; its cap must be at least WIRE_RECORD_MAX). flags: descriptors that go
 *   along (WIRE_PARCEL, WIRE_SOCKET). When the SPILL fields do not fit they are put into annex and WIRE_ANNEX is set; then annex->len > 0 and the
 *   caller makes the annex's descriptor (annex_new) and sends it after the parcel. annex may be NULL for records without SPILL.
 *   0; -ERR_TOOBIG when a field is over its max, or nothing fits; -ERR_BAD for a NUL in a text.
 *
 * int wire_get_NAME(struct slice record, struct slice annex, struct wire_NAME *out)
 *   Decodes a record whose header wire_get_header has accepted. annex: its mapping when WIRE_ANNEX is set, else empty. Slices point into both.
 *   0, -ERR_SHORT, -ERR_TRAILING (bytes left over; trailing fields of a higher minor are left alone), -ERR_TOOBIG, -ERR_BAD (NUL in a text).
 */
#define RECORD(id, name, number, senders, since, fds)                                                                   \
    int wire_put_##name(                                                                                                \
        struct buf *record, struct buf *annex, uint64_t id_, unsigned flags, const struct wire_##name *in);             \
    int wire_get_##name(struct slice record, struct slice annex, struct wire_##name *out);
#include "common/records_each.h"

/*
 * Checks a record that arrived from a peer of role sender with n_fds descriptors: length, major version, known type, that the sender may send it, payload
 * length, that flags, descriptors and type agree. 0; -ERR_SHORT, -ERR_VERSION, -ERR_BAD, -ERR_DENIED.
 */
int wire_get_header(struct slice record, enum wire_role sender, int n_fds, struct wire_header *out);
/* Which descriptor is which, for a record that wire_get_header accepted: index into the received fds, or -1. */
int wire_fd_index(const struct wire_header *header, enum wire_flag which);

const char *wire_type_name(unsigned type); /* "REQUEST"; "?" */
const char *wire_role_name(unsigned role); /* "milterd" … */
const char *wire_outcome_name(unsigned outcome);

/* In-place changes of encoded records, for passing them on without encoding again. The record must have decoded. */
void wire_patch_id(uint8_t *record, uint64_t id);
void wire_patch_request(uint8_t *record, uint32_t budget_ms, uint32_t generation, uint8_t attempt);
void wire_patch_reply(uint8_t *record, uint32_t generation, uint32_t worker_pid, uint32_t queue_us, uint8_t attempt);
void wire_patch_reply_flags(uint8_t *record, uint8_t flags);

#endif
