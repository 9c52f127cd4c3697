/*
 * Requests in the order in which they came, waiting for a worker. A queue only keeps order and
 * counts; who may enter and how long one may wait is request.c's. Bounded over all queues of the
 * process by the total that they share.
 */
#ifndef POSTERN_MULTIPLEXOR_QUEUE_H
#define POSTERN_MULTIPLEXOR_QUEUE_H

#include <stdint.h>
#include <sys/queue.h>

struct request;
TAILQ_HEAD(request_list, request);

struct queue {
    struct request_list list;
    unsigned n;
    unsigned *total; /* of all queues; borrowed */
};

void queue_init(struct queue *queue, unsigned *total);
/* Sets request->queue; the request must be in no queue. */
void queue_push(struct queue *queue, struct request *request);
/* In front: for a second attempt, which has waited its turn already. */
void queue_push_front(struct queue *queue, struct request *request);
void queue_remove(struct request *request);             /* from the one it is in */
struct request *queue_first(const struct queue *queue); /* NULL when empty */
/* How long the first one has been here; 0 when empty. */
int64_t queue_oldest_ms(const struct queue *queue, int64_t now_ms);

#endif
