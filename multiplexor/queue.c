/* Order and count of waiting requests. */
#include "multiplexor/queue.h"

#include <stddef.h>

#include "common/log.h"
#include "multiplexor/request.h"

void queue_init(struct queue *queue, unsigned *total)
{
    *queue = (struct queue){.total = total};
    TAILQ_INIT(&queue->list);
}

static void enter(struct queue *queue, struct request *request)
{
    LOG_INVARIANT(request->queue == NULL);
    request->queue = queue;
    queue->n++;
    ++*queue->total;
}

void queue_push(struct queue *queue, struct request *request)
{
    enter(queue, request);
    TAILQ_INSERT_TAIL(&queue->list, request, entry);
}

void queue_push_front(struct queue *queue, struct request *request)
{
    enter(queue, request);
    TAILQ_INSERT_HEAD(&queue->list, request, entry);
}

void queue_remove(struct request *request)
{
    struct queue *queue = request->queue;
    LOG_INVARIANT(queue != NULL && queue->n > 0 && *queue->total > 0);
    TAILQ_REMOVE(&queue->list, request, entry);
    request->queue = NULL;
    queue->n--;
    --*queue->total;
}

struct request *queue_first(const struct queue *queue)
{
    return TAILQ_FIRST(&queue->list);
}

int64_t queue_oldest_ms(const struct queue *queue, int64_t now_ms)
{
    const struct request *first = queue_first(queue);
    return first != NULL ? now_ms - first->queued_us / 1000 : 0;
}
