/*
 * Applies a message's pending changes at its end: all of them are validated before the first call
 * of libmilter, whatever the worker said.
 */
#ifndef POSTERN_MILTERD_APPLY_H
#define POSTERN_MILTERD_APPLY_H

#include <stdbool.h>

struct conn;

enum apply_result {
    APPLY_DONE = 0,
    APPLY_NO_RECIPIENTS, /* the changes leave nobody: the message is to be thrown away */
    APPLY_BAD,           /* they do not validate: nothing was applied */
    APPLY_FAILED,        /* a call of libmilter failed: the message must not go on */
};

/*
 * summary_out: "add_header:2 hold:1" for the log line, at most summary_bytes, "" without changes.
 * On APPLY_BAD and APPLY_FAILED the reason is logged and counted.
 */
enum apply_result apply_changes(struct conn *conn, char *summary_out, unsigned long summary_bytes);
/* Whether something would be applied if the message went on now. */
bool apply_is_pending(const struct conn *conn);

#endif
