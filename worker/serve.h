/*
 * A worker at work: greets the multiplexor, runs filter_init, then serves one request after the
 * other over its record socket until QUIT or the end of the connection.
 */
#ifndef POSTERN_WORKER_SERVE_H
#define POSTERN_WORKER_SERVE_H

#include <stdint.h>

#include "common/conf.h"
#include "common/wire.h"
#include "worker/script.h"

/*
 * Serves until the end. fd and script are borrowed; init_ms is the time that
 * filter_init may take; the process has nothing else to do. Returns the
 * exit code: 0 after QUIT or when the multiplexor is gone, EXIT_CODE_FOUND when filter_init failed
 * (READY said so), EXIT_CODE_PROTOCOL after a bad record, EXIT_CODE_SYSTEM.
 */
int serve_run(
    const struct conf *conf, struct script *script, int fd, uint32_t generation, int64_t init_ms);

/* Sends our HELLO and takes the multiplexor's; logs what is wrong. 0, -ERR_PEER, -ERR_VERSION,
 * -ERR_BAD, -ERR_SYSTEM. */
int serve_greet(int fd, enum wire_role role, uint32_t generation);

#endif
