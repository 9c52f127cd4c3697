/*
 * One record connection to the multiplexor: opened, hands shaken, one request in flight at a time.
 * Every wait has an end. Used by one thread at a time.
 */
#ifndef POSTERN_MILTERD_MUX_LINK_H
#define POSTERN_MILTERD_MUX_LINK_H

#include <stdint.h>

#include "common/buf.h"
#include "common/wire.h"

struct mux_link {
    int fd;
    uint64_t next_id;
    struct buf record; /* outgoing */
    struct buf annex;
    uint8_t *received; /* WIRE_RECORD_MAX bytes; what mux_link_receive returned points here */
    size_t received_len;
};

/*
 * Connects to path and exchanges HELLO, within timeout_ms.
 * 0; -ERR_TIMEOUT, -ERR_SYSTEM (nobody listens), -ERR_PEER, -ERR_DENIED (neither root nor our own
 * user), -ERR_VERSION, -ERR_BAD.
 */
int mux_link_open(const char *path, int timeout_ms, struct mux_link **out);
void mux_link_close(struct mux_link *link); /* NULL is fine */

/*
 * Sends what was put into link->record (and link->annex) by a wire_put_* function. parcel_fd: -1,
 * or the descriptor that goes along. Never blocks. 0, -ERR_AGAIN (no room), -ERR_PEER, -ERR_SYSTEM.
 */
int mux_link_send(struct mux_link *link, int parcel_fd);

/*
 * Takes one record if it is there (never blocks) and checks its header. annex_out: the mapping of
 * its annex, for annex_close, or the empty slice. 0; -ERR_AGAIN, -ERR_PEER, -ERR_SYSTEM, or what
 * wire_get_header and annex_open found.
 */
int mux_link_receive(struct mux_link *link, struct wire_header *header, struct slice *annex_out);
static inline struct slice mux_link_record(const struct mux_link *link)
{
    return slice_of(link->received, link->received_len);
}

#endif
