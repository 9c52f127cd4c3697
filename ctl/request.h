/*
 * One question to the multiplexor over its control socket: a JSON object a line each way,
 * versioned, bounded. Either waited for (request_call) or read in the caller's own poll loop
 * (request_open, request_read).
 */
#ifndef POSTERN_CTL_REQUEST_H
#define POSTERN_CTL_REQUEST_H

#include <jansson.h>

#include "common/buf.h"

enum { REQUEST_VERSION = 1, REQUEST_ANSWER_MAX = 8 << 20 };

struct request {
    int fd;
    struct buf in; /* what has arrived of the answer */
};

/*
 * Connects and sends the question.
 *
 * path     of the control socket.
 * command  "status" …
 * args     the question's arguments, or NULL; the reference is taken over, on failure too.
 *
 * Returns 0 (then request_close), -ERR_SYSTEM (nobody there; errno says why), -ERR_TIMEOUT,
 * -ERR_BAD (path too long).
 */
int request_open(struct request *request, const char *path, const char *command, json_t *args);
void request_close(struct request *request);

/*
 * Reads what has arrived, without waiting.
 *
 * data_out   the answer's data, a reference for the caller.
 * error_out  malloc'd: what the server says is wrong, when it says so.
 * Returns 0, -ERR_DENIED with *error_out (the server refused), -ERR_AGAIN, -ERR_PEER, -ERR_BAD (no
 * answer of this protocol), -ERR_TOOBIG.
 */
int request_read(struct request *request, json_t **data_out, char **error_out);

/* The whole exchange within timeout_ms: errors of both, and -ERR_TIMEOUT. */
int request_call(const char *path, const char *command, json_t *args, int64_t timeout_ms,
    json_t **data_out, char **error_out);

#endif
