/*
 * One line of the control socket: what it asks for, whether this peer may, and the answer. The
 * commands are the rows of ctl_cmds.def.
 */
#ifndef POSTERN_MULTIPLEXOR_CTL_COMMAND_H
#define POSTERN_MULTIPLEXOR_CTL_COMMAND_H

#include <jansson.h>
#include <stdbool.h>

#include "common/buf.h"
#include "multiplexor/ctl.h"

struct mux;

/*
 * Runs one line.
 *
 * connection  who waits for a deferred answer; NULL (tests): such a command is answered with an
 * error. *close_out  true when nothing sensible can follow on the connection. Returns the answer
 * (the caller's), or NULL when it comes later.
 */
json_t *ctl_run(struct mux *mux, struct slice line, enum ctl_access access,
    struct ctl_connection *connection, bool *close_out);

/* What a line is answered, {"v":1,"ok":…}; the caller's. data: its reference is taken over. */
json_t *ctl_data_answer(json_t *data);
json_t *ctl_error_answer(const char *text);

#endif
