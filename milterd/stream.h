/*
 * One MTA connection's bytes. libmilter waits and reads twice for each command, and waits and
 * writes for each action; an MTA sends a whole envelope and header at once and wants one answer at
 * the end. Here what has arrived is read at once, and actions are sent with the reply they belong
 * to.
 *
 * A stream belongs to the thread of its connection.
 */
#ifndef POSTERN_MILTERD_STREAM_H
#define POSTERN_MILTERD_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STREAM_IN_BYTES = 16384, STREAM_OUT_BYTES = 8192 };

struct stream {
    int fd;             /* borrowed; blocking or not */
    size_t command_max; /* bytes of a command's data; a longer one ends the session */
    size_t start, end;  /* of what has arrived in in[] */
    size_t held;        /* bytes of actions in out[] */
    uint8_t in[STREAM_IN_BYTES];
    uint8_t out[STREAM_OUT_BYTES];
};

/* What stream_read gives instead of a command: libmilter's own codes for the same. */
enum stream_end {
    STREAM_TIMED_OUT = 1,
    STREAM_NO_MEMORY = 3,
    STREAM_FAILED = 4,
    STREAM_EOF = 5,
    STREAM_UNREADABLE = 6,
    STREAM_TOO_BIG = 7
};

void stream_init(struct stream *stream, int fd, size_t command_max);

/* Whether something arrived that was not read yet. */
bool stream_has_input(const struct stream *stream);

/*
 * The next command and its data. Sends what was held first, so that nobody waits for it.
 *
 * timeout_ms   for each wait.
 * command_out  the command's letter, or an enum stream_end.
 * len_out      bytes of data.
 *
 * Returns the data (malloc, the caller frees it), NULL when there is none.
 */
char *stream_read(struct stream *stream, int timeout_ms, char *command_out, size_t *len_out);

/*
 * Sends a reply or an action; an action (a change to the message) may be held until the reply. 0 or
 * -ERR_PEER.
 */
int stream_write(struct stream *stream, int timeout_ms, char command, const char *data, size_t len);

#endif
