/* Order and count of waiting requests. */
#include "multiplexor/queue.h"

#include <stddef.h>

#include "common/log.h"
#include "multiplexor/request.h"

void queue_init(struct queue *queue, unsigned *total)
{
    *queue = (struct queue){.total = total};
    for (int i = 0; i < QUEUE_LISTS; i++)
        TAILQ_INIT(&queue->lists[i]);
}

/* The number of its list: the higher, the sooner it is served. */
static int list_of(const struct request *request)
{
    enum stage stage = request->hook->answers;
    int rank = stage <= STAGE_EOM ? (int)stage + 1 : 0;
    return 2 * rank + (request_is_reserved(request) ? 1 : 0);
}

static void enter(struct queue *queue, struct request *request)
{
    LOG_INVARIANT(request->queue == NULL);
    request->queue = queue;
    queue->n++;
    queue->n_reserved += request_is_reserved(request) ? 1 : 0;
    ++*queue->total;
}

void queue_push(struct queue *queue, struct request *request)
{
    enter(queue, request);
    TAILQ_INSERT_TAIL(&queue->lists[list_of(request)], request, entry);
}

void queue_push_front(struct queue *queue, struct request *request)
{
    enter(queue, request);
    TAILQ_INSERT_HEAD(&queue->lists[list_of(request)], request, entry);
}

void queue_remove(struct request *request)
{
    struct queue *queue = request->queue;
    LOG_INVARIANT(queue != NULL && queue->n > 0 && *queue->total > 0);
    TAILQ_REMOVE(&queue->lists[list_of(request)], request, entry);
    request->queue = NULL;
    queue->n--;
    queue->n_reserved -= request_is_reserved(request) ? 1 : 0;
    --*queue->total;
}

struct request *queue_first(const struct queue *queue)
{
    for (int i = QUEUE_LISTS - 1; queue->n > 0 && i >= 0; i--)
        if (!TAILQ_EMPTY(&queue->lists[i]))
            return TAILQ_FIRST(&queue->lists[i]);
    return NULL;
}

struct request *queue_first_reserved(const struct queue *queue)
{
    for (int i = QUEUE_LISTS - 1; queue->n_reserved > 0 && i >= 0; i -= 2)
        if (!TAILQ_EMPTY(&queue->lists[i]))
            return TAILQ_FIRST(&queue->lists[i]);
    return NULL;
}

struct request *queue_least(const struct queue *queue, const struct request *newcomer)
{
    int own = list_of(newcomer);
    bool is_reserved = request_is_reserved(newcomer);
    for (int i = 0; i < QUEUE_LISTS; i++) {
        bool gives_way = i % 2 == 0 && (is_reserved || i / 2 < own / 2);
        if (gives_way && !TAILQ_EMPTY(&queue->lists[i]))
            return TAILQ_LAST(&queue->lists[i], request_list);
    }
    return NULL;
}

int64_t queue_oldest_ms(const struct queue *queue, int64_t now_ms)
{
    int64_t oldest_ms = 0;
    for (int i = 0; i < QUEUE_LISTS; i++) {
        const struct request *first = TAILQ_FIRST(&queue->lists[i]);
        if (first != NULL && now_ms - first->queued_us / 1000 > oldest_ms)
            oldest_ms = now_ms - first->queued_us / 1000;
    }
    return oldest_ms;
}
