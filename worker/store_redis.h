/*
 * The store in Redis, for several machines. An entry is a hash below store.prefix, with its kind
 * (k), its end (e: milliseconds since 1970, 0: none) and its value (v). Each change is one script
 * that Redis runs without anybody between (EVAL), so that "if it still is what was read" holds for
 * all machines. The end is judged by who reads, as in the other back ends; Redis removes the key by
 * its own clock when as much time has passed.
 *
 * Shared by store_redis.c (requests), store_redis_value.c (entries as Redis has them) and
 * store_redis_list.c (lists); nobody else includes this.
 */
#ifndef POSTERN_WORKER_STORE_REDIS_H
#define POSTERN_WORKER_STORE_REDIS_H

#include "worker/redis.h"
#include "worker/resp.h"
#include "worker/store_impl.h"

enum {
    STORE_REDIS_LIST_BYTES = 64 << 20, /* of the entries that one request lists */
    STORE_REDIS_SCAN = 1000,           /* keys that Redis looks at for one SCAN */
    STORE_REDIS_FETCH = 200,           /* entries asked for at once */
};

struct store_redis {
    const struct conf *conf;
    struct redis *redis;
    struct buf result; /* bytes of the last one */
};

struct store_redis_list;

/* What a request is at, between two calls of store_run. */
struct store_redis_run {
    struct store_redis *store;
    struct redis_call call;
    struct buf request;
    struct store_redis_list *list; /* NULL: the request is no list */
};

/* Begins the next question: the request in run->request is empty. */
void store_redis_begin(struct store_redis_run *run, const struct store_request *request);

/* ---- store_redis_value.c ---- */

/* "postern:" and the key. */
int store_redis_put_key(struct buf *out, const struct conf *conf, struct slice key);
int store_redis_put_value(struct buf *out, const struct store_value *value);
/* HMGET of an entry. */
int store_redis_put_get(struct buf *out, const struct conf *conf, struct slice key);
/* The value that Redis has as text: 0, or -ERR_BAD: nobody of ours wrote that. Borrowed. */
int store_redis_value(int64_t kind, struct slice bytes, struct store_value *out);
/* Takes the reply to store_redis_put_get off *in. kind STORE_NONE: there is none, or it has ended.
 * 0, or -ERR_BAD; *error_out (may be empty): what Redis says instead. */
int store_redis_take_entry(
    struct slice *in, struct store_value *value, int64_t *expires_ms, struct slice *error_out);

/* ---- store_redis_list.c ---- */

struct store_redis_list *store_redis_list_new(const struct store_request *request);
void store_redis_list_free(struct store_redis_list *list); /* NULL is fine */
/* The next question into `out`; *n_replies 0: there is none, all is gathered. */
int store_redis_list_ask(
    struct store_redis_list *list, const struct conf *conf, struct buf *out, size_t *n_replies);
/* Takes its answer: 0, -ERR_BAD, -ERR_TOOBIG; *error_out as above. */
int store_redis_list_take(struct store_redis_list *list, const struct conf *conf,
    struct slice reply, struct slice *error_out);
/* Hands over what was gathered. */
void store_redis_list_tell(struct store_redis_list *list, const struct store_request *request);

#endif
