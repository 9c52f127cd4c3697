/* The one info line for each message, and for each refused connection and recipient. */
#ifndef POSTERN_MILTERD_RECORD_H
#define POSTERN_MILTERD_RECORD_H

struct conn;
struct decision;

/*
 * A message has ended: by decision, or (NULL) because the client or the MTA gave it up.
 * actions: what was changed, as apply_changes summed it up; "" for nothing.
 */
void record_message(const struct conn *conn, const struct decision *decision, const char *actions);
void record_connection(const struct conn *conn, const struct decision *decision);
/* address: as received. */
void record_recipient(
    const struct conn *conn, const struct decision *decision, const char *address);

#endif
