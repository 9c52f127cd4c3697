#include "worker/store.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/xalloc.h"
#include "worker/store_impl.h"

struct store {
    const struct store_backend *backend;
    void *state;
    char error[STORE_ERROR_MAX];
};

struct store *store_new(const struct conf *conf, enum store_use use)
{
    struct store *store = xcalloc(1, sizeof *store);
    store->backend =
        use == STORE_SHARED && conf->store.backend == STORE_IN_REDIS ? &store_redis : &store_sqlite;
    store->state = store->backend->make(conf, use);
    return store;
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    store->backend->end(store->state);
    free(store);
}

const char *store_error(const struct store *store)
{
    return store->error;
}

bool store_path(const struct conf *conf, char *out)
{
    int n = conf->store.path[0] != '\0'
                ? snprintf(out, PATH_MAX, "%s", conf->store.path)
                : snprintf(out, PATH_MAX, "%s/store.db", conf->worker.state_dir);
    return n < PATH_MAX;
}

int64_t store_end_ms(int64_t ttl_ms, int64_t now_ms)
{
    return ttl_ms > 0 ? now_ms + ttl_ms : STORE_FOREVER;
}

int store_run(struct store *store, struct store_request *request)
{
    int err = store->backend->run(store->state, request, store->error);
    if (err != -ERR_AGAIN)
        request->n_tries = 0; /* it may be used again */
    if (err == -ERR_AGAIN && clock_now_ms() >= request->deadline_ms) {
        store_cancel(store, request);
        snprintf(store->error, sizeof store->error, "the store is busy: no answer in time");
        return -ERR_TIMEOUT;
    }
    return err;
}

void store_cancel(struct store *store, struct store_request *request)
{
    if (request->pending != NULL)
        store->backend->cancel(store->state, request);
}

void store_wait(const struct script_wait *wait)
{
    struct pollfd pfd = {.fd = wait->fd, .events = wait->events};
    int64_t left = wait->until_ms - clock_now_ms();
    if (left < 0)
        left = 0;
    (void)poll(
        &pfd, 1, left > INT_MAX ? INT_MAX : (int)left); /* a signal only means an early try */
}

int store_run_to_end(struct store *store, struct store_request *request)
{
    int err;
    while ((err = store_run(store, request)) == -ERR_AGAIN)
        store_wait(&request->wait);
    return err;
}
