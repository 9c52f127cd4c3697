/*
 * The milter protocol from the mail server's side, as packets: u32 length, command letter, data.
 * Every length and every wait is bounded. The stages' commands and flags are in one table. Source:
 * libmilter/mfdef.h.
 */
#ifndef POSTERN_CTL_MILTER_WIRE_H
#define POSTERN_CTL_MILTER_WIRE_H

#include <stdint.h>

#include "common/buf.h"
#include "common/hook.h"

enum { MILTER_PACKET_MAX = 1 << 20, MILTER_CHUNK_MAX = 65535 };

struct milter_wire {
    int fd;
    struct buf packet; /* the last one received, its command letter first */
    struct buf out;
};

/* What a stage is in the protocol. */
struct milter_stage {
    char command;     /* SMFIC_*; 0: it has none */
    uint32_t no_flag; /* SMFIP_NO*: do not send it */
    uint32_t nr_flag; /* SMFIP_NR_*: no reply comes */
};
const struct milter_stage *milter_stage(enum stage stage);

void milter_wire_init(struct milter_wire *wire, int fd); /* fd is the wire's now */
void milter_wire_clear(struct milter_wire *wire);

/* Sends one packet within timeout_ms. 0, -ERR_PEER, -ERR_TIMEOUT, -ERR_TOOBIG, -ERR_SYSTEM. */
int milter_wire_send(struct milter_wire *wire, char command, struct slice data, int64_t timeout_ms);
/*
 * Receives one packet within timeout_ms. *command_out is its letter, *data_out its data, valid
 * until the next call. 0, -ERR_PEER, -ERR_TIMEOUT, -ERR_TOOBIG, -ERR_BAD (empty), -ERR_SYSTEM.
 */
int milter_wire_receive(
    struct milter_wire *wire, int64_t timeout_ms, char *command_out, struct slice *data_out);

/* Takes a text that ends with NUL from data; false when there is none. */
bool milter_take_text(struct slice *data, struct slice *out);
/* Takes a big-endian number. */
bool milter_take_u32(struct slice *data, uint32_t *out);

#endif
