/*
 * One worker process (child.c) as what it tells (child_record.c) acts on it. Nobody else includes
 * it.
 */
#ifndef POSTERN_MULTIPLEXOR_CHILD_INTERNAL_H
#define POSTERN_MULTIPLEXOR_CHILD_INTERNAL_H

#include "multiplexor/child.h"

/* A record of its link; the context is the child. */
void child_on_record(const struct link_record *record, void *context);

/* Checks that the next state may follow. */
void child_set_state(struct child *child, enum child_state state);
/* Both the pid and READY are known: into service. */
void child_enter_service(struct child *child);
/* It will never serve: told once, by whoever notices first. */
void child_start_failed(struct child *child, const char *why);
/* Ends the process if it still runs, and our side of its connection. Says nothing, counts nothing.
 */
void child_put_down(struct child *child);
/* It ended, or must, by its own fault: its request goes to another worker. how: NULL when only its
 * exit status will tell. */
void child_lose(struct child *child, const char *how);

#endif
