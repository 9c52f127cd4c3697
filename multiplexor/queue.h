/*
 * Requests waiting for a worker: those of later stages first, so that work already done is brought
 * to its end before new work is begun; within a stage reserved ones first, and then in the order in
 * which they came. A queue only keeps order and counts; who may enter and how long one may wait is
 * request.c's. Bounded over all queues of the process by the total that they share.
 */
#ifndef POSTERN_MULTIPLEXOR_QUEUE_H
#define POSTERN_MULTIPLEXOR_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/hook.h"

struct request;
TAILQ_HEAD(request_list, request);

/* Rank 0: nobody waits for it, or it belongs to no stage; then each stage up to the end of message.
 */
enum { QUEUE_RANKS = STAGE_EOM + 2, QUEUE_LISTS = 2 * QUEUE_RANKS };

struct queue {
    struct request_list lists[QUEUE_LISTS]; /* by rank and whether reserved, the last list first */
    unsigned n;
    unsigned n_reserved; /* of them */
    unsigned *total;     /* of all queues; borrowed */
};

void queue_init(struct queue *queue, unsigned *total);
/* Sets request->queue; the request must be in no queue. */
void queue_push(struct queue *queue, struct request *request);
/* Before its like: for a second attempt, which has waited its turn already. */
void queue_push_front(struct queue *queue, struct request *request);
void queue_remove(struct request *request);                      /* from the one it is in */
struct request *queue_first(const struct queue *queue);          /* NULL when empty */
struct request *queue_first_reserved(const struct queue *queue); /* NULL when there is none */
/*
 * The one to give way when there is no room for the newcomer: the youngest of the earliest stage,
 * if that is before the newcomer's; for a reserved newcomer of any stage. Never a reserved one.
 * NULL: none.
 */
struct request *queue_least(const struct queue *queue, const struct request *newcomer);
/* How long the oldest one has been here; 0 when empty. */
int64_t queue_oldest_ms(const struct queue *queue, int64_t now_ms);

#endif
