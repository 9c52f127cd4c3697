/*
 * What `posternctl why` and `trace` show: entries in the front's ring about connections, about what
 * was judged and by whom, about changes applied and messages ended. Never fails, never waits;
 * nothing when the front has no ring.
 */
#ifndef POSTERN_MILTERD_TRACE_H
#define POSTERN_MILTERD_TRACE_H

#include <stdint.h>

#include "common/hook.h"

struct action_list;
struct conf;
struct conn;
struct decision;
struct ring;

/* Makes the ring of the configuration; NULL when there is to be none, or none can be made, which is
 * warned about. Before the sandbox. */
struct ring *trace_open(const struct conf *conf);

void trace_connection(const struct conn *conn, uint16_t port);
/*
 * Something was judged at a stage. hook: who was asked, HOOK_NONE: nobody. recipient: as received,
 * NULL but at RCPT. A hook that lets a header field or a body block pass is not worth an entry.
 */
void trace_stage(const struct conn *conn, enum stage stage, enum hook hook, const char *recipient,
    const struct decision *decision);
/* The changes of the message under way, once they are applied. */
void trace_actions(const struct conn *conn, const struct action_list *actions);
/* As record_message. */
void trace_message(const struct conn *conn, const struct decision *decision, const char *actions);

#endif
