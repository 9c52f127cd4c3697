/*
 * Adding events when the loop has no memory, or the kernel none, for them: one that is lost would be a deadline that never comes, or a listener that is
 * deaf. As with xmalloc, the process ends then.
 */
#ifndef POSTERN_MULTIPLEXOR_LOOP_H
#define POSTERN_MULTIPLEXOR_LOOP_H

#include <event2/event.h>
#include <stdint.h>

/* event_add that does not fail. after: NULL for none. */
void loop_add(struct event *event, const struct timeval *after);
/* The same for a timer; after_ms below 0 is 0. */
void loop_add_ms(struct event *timer, int64_t after_ms);
/* Makes a listener non-blocking and waits for connections on it; a listener that blocks would stop the loop. */
void loop_listen(struct event *event, int fd);

#endif
