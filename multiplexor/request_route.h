/*
 * Where a request goes: to the queue of the generation that serves it, to the shadow's, to the
 * lobby while no filter has loaded, aside for a limit, or to an answer at once.
 */
#ifndef POSTERN_MULTIPLEXOR_REQUEST_ROUTE_H
#define POSTERN_MULTIPLEXOR_REQUEST_ROUTE_H

struct generation;
struct limit_key;
struct request;

/* Finds the generation that serves it and queues it there, or answers at once. The request may be
 * gone afterwards. */
void request_route(struct request *request);
/* A limit keeps it from running now: set aside, out of its queue, or answered. The request may be
 * gone afterwards. */
void request_hold_back(struct request *request, struct limit_key *key);
/* No limit is in its way any more: back into its generation's queue, before its like. */
void request_unpark(struct request *request);
/* Takes it out of a queue whose generation goes, and routes it again. */
void request_reroute(struct request *request);
/* The worker could not be given it, and never saw it: back to the head of its generation's queue.
 */
void request_return(struct request *request, struct generation *generation);

#endif
