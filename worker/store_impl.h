/*
 * What a store is made of: the back ends and the files of store.c see this, nobody else.
 */
#ifndef POSTERN_WORKER_STORE_IMPL_H
#define POSTERN_WORKER_STORE_IMPL_H

#include "worker/store.h"

/* A place to keep entries. One row for each, in store.c. */
struct store_backend {
    /* A back end's own state; opens nothing. Never NULL. */
    void *(*make)(const struct conf *conf, enum store_use use);
    void (*end)(void *state);
    /* As store_run; error_out has STORE_ERROR_MAX bytes. A request that needs no waiting must not
     * cost any. */
    int (*run)(void *state, struct store_request *request, char *error_out);
    /* Forgets request->pending, which is not NULL. NULL: no request of this one ever has that. */
    void (*cancel)(void *state, struct store_request *request);
};

extern const struct store_backend store_sqlite, store_redis;

/* The end of an entry that is written now; STORE_TTL_KEEP counts as none. */
int64_t store_end_ms(int64_t ttl_ms, int64_t now_ms);

#endif
