/*
 * A record connection of the event loop: handshake, checked records in, records out in order. What
 * does not fit into the peer's socket waits in one bounded list; a peer that lets it overflow is
 * dropped. Knows record headers and HELLO; everything else is its owner's. Never blocks.
 */
#ifndef POSTERN_MULTIPLEXOR_LINK_H
#define POSTERN_MULTIPLEXOR_LINK_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/sock.h"
#include "common/wire.h"

enum { LINK_OUT_MAX = 64 }; /* records that may wait for a slow peer */

struct link;

/* A record that arrived. Everything is borrowed until the callback returns, except descriptors
 * taken. */
struct link_record {
    struct wire_header header;
    uint8_t *bytes; /* may be patched in place */
    size_t len;
    struct sock_received
        *received; /* descriptors; those still there are closed after the callback */
};

struct link_events {
    void (*on_hello)(const struct wire_hello *hello, void *context); /* may be NULL */
    void (*on_record)(const struct link_record *record, void *context);
    /* The connection is closed already. err: -ERR_PEER (end of file), -ERR_BAD … (what was wrong,
     * logged). */
    void (*on_down)(int err, void *context);
};

struct link_out;
TAILQ_HEAD(link_out_list, link_out);

/* Embedded by its owner; fields are for link.c only. */
struct link {
    struct event_base *base;
    int fd; /* -1: closed */
    enum wire_role role;
    uint32_t generation;
    bool is_greeted;
    bool has_left_unread;
    bool *gone; /* set while a callback of this link runs: tells the reading loop that it was closed
                 */
    uint8_t *scratch;
    char name[48];
    struct event readable, writable;
    struct link_out_list out;
    unsigned n_out;
    const struct link_events *events;
    void *context;
};

/*
 * Takes over a connected SEQPACKET socket and waits for the peer's HELLO, which it answers.
 *
 * fd          the link's from now on, also when this fails; made non-blocking, its buffers
 * enlarged. role        what the peer must be; a record that it may not send ends the connection.
 * generation  what its HELLO must say (nursery and worker), and what ours says; 0 for milterd.
 * scratch     borrowed receive buffer of LINK_SCRATCH_BYTES, shared by all links of the thread.
 * name        for log lines, e.g. "client 12"; copied.
 * Returns 0 or -ERR_SYSTEM.
 */
#define LINK_SCRATCH_BYTES (WIRE_RECORD_MAX + 1)
int link_open(struct link *link, struct event_base *base, int fd, enum wire_role role,
    uint32_t generation, uint8_t *scratch, const char *name, const struct link_events *events,
    void *context);
/* Closes without a callback; unsent records are dropped. Closing twice is fine. */
void link_close(struct link *link);
bool link_is_open(const struct link *link);
/* The peer closed its end, or died, without having read all that was sent to it (ECONNRESET,
 * unix(7)). Known before on_down, and after it. */
bool link_has_left_unread(const struct link *link);

/*
 * Sends a record, at once or when the peer has room.
 *
 * fds  n_fds descriptors that go along; they stay the caller's and may be closed at once.
 * Returns 0, -ERR_PEER (gone), -ERR_TOOBIG (the list is full) or -ERR_SYSTEM. After an error the
 * caller closes the link; nothing calls back from here.
 */
int link_send(struct link *link, struct slice record, const int *fds, int n_fds);

/* Reads what has arrived, to the end; callbacks run as usual. For a peer that is known to be dead.
 */
void link_drain(struct link *link);

#endif
