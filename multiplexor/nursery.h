/* Starts the process of a nursery; what is said with it afterwards is generation.c's. */
#ifndef POSTERN_MULTIPLEXOR_NURSERY_H
#define POSTERN_MULTIPLEXOR_NURSERY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/conf.h"

/*
 * Runs `program [-c FILE] [-o K=V]… --nursery GENERATION` (or --shadow, which names itself so in
 * the log) with a SEQPACKET socket as descriptor 3. The nursery, and the workers that it forks as
 * our children, get SIGKILL when we die.
 *
 * conf    the file and overrides that it was read from are passed on.
 * fd_out  our end of the socket; the caller's.
 * Returns 0 or -ERR_SYSTEM (logged). A program that cannot be executed shows as exit status 71.
 */
int nursery_spawn(const char *program, const struct conf *conf, uint32_t generation, bool is_shadow,
    pid_t *pid_out, int *fd_out);

#endif
