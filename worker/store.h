/*
 * The memory that all workers share: keys with a value and an end, kept by a back end (SQLite:
 * store_sqlite.h; Redis, for several machines: store_redis.h). A request is one operation, atomic
 * by itself whatever other processes do; what takes several is built from STORE_SWAP, which changes
 * an entry only if it still is what was read, so that no lock is ever held while a filter's code
 * runs.
 *
 * A back end never blocks for long: when it has to wait, store_run says -ERR_AGAIN and for what,
 * and the caller waits as it can (a coroutine yields) and calls again with the same request.
 * Nothing that the world does ends the process: a full disk, a broken or missing file are errors
 * with a text.
 */
#ifndef POSTERN_WORKER_STORE_H
#define POSTERN_WORKER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/conf.h"
#include "worker/script_wait.h"

enum {
    STORE_KEY_MAX = 1024,    /* bytes of a key; at least one */
    STORE_VALUE_MAX = 65536, /* bytes of a text; a packed table is bounded by state.h */
    STORE_PAGE_MAX = 10000,  /* entries that one request lists */
    STORE_ERROR_MAX = 300,
};

#define STORE_FOREVER    INT64_MAX
#define STORE_TTL_NONE   INT64_C(0)  /* it has no end */
#define STORE_TTL_KEEP   INT64_C(-1) /* it keeps the one that it has (STORE_SWAP) */
#define STORE_TTL_MAX_MS (INT64_C(3650) * 86400000)

/* What a value is; the numbers are written into the file. */
enum store_kind {
    STORE_NONE = 0, /* there is no such entry */
    STORE_INTEGER,
    STORE_FLOAT,   /* never NaN */
    STORE_BOOLEAN, /* integer: 0 or 1 */
    STORE_TEXT,    /* any bytes */
    STORE_TABLE,   /* bytes of state.h */
    STORE_KIND_COUNT
};

struct store_value {
    enum store_kind kind;
    int64_t integer;
    double number;
    struct slice bytes; /* borrowed */
};

enum store_op {
    STORE_GET = 0, /* key → result */
    STORE_SET,     /* key, value, ttl */
    STORE_ADD,     /* the same, only if there is no such entry → is_done */
    STORE_SWAP,    /* key, expected, value (kind STORE_NONE: delete), ttl → is_done */
    STORE_INCR,   /* key, value (an integer), ttl (of a new entry, else the end stays) → result */
    STORE_DELETE, /* key → is_done: there was one */
    STORE_LIST,   /* key: the prefix; after, limit → on_entry for each, in the order of keys */
    STORE_EXPIRE, /* limit: removes so many of those whose end has passed → n_removed; none where
                     the back end does that by itself */
};

struct store_entry {
    struct slice key;
    struct store_value value;
    int64_t expires_ms; /* wall clock; STORE_FOREVER */
};
/* Borrows the entry; returns, and never by a Lua error. */
typedef void (*store_entry_cb)(const struct store_entry *entry, void *context);

/* Slices are borrowed from the caller until the request is done. */
struct store_request {
    enum store_op op;
    struct slice key;
    struct store_value value, expected;
    int64_t ttl_ms;
    struct slice after; /* STORE_LIST: only keys beyond this one; empty: from the first */
    uint32_t limit;
    store_entry_cb on_entry;
    void *context;
    int64_t deadline_ms; /* monotonic clock */

    /* the result */
    struct store_value result; /* bytes borrowed from the store until its next request */
    int64_t expires_ms;        /* of result */
    bool is_done;
    uint32_t n_removed;

    /* between two calls of store_run */
    struct script_wait wait;
    uint32_t n_tries;
    void *pending; /* the back end's own; NULL: nothing is under way */
};

struct store;

enum store_use {
    STORE_SHARED = 0, /* what conf says */
    STORE_PRIVATE,    /* one of its own in memory, that is gone with it */
};

/* Opens nothing yet: that happens with the first request, in the process that makes it. conf is
 * borrowed. Never NULL. */
struct store *store_new(const struct conf *conf, enum store_use use);
void store_free(struct store *store); /* NULL is fine */

/*
 * Runs a request, or goes on with one. 0; -ERR_AGAIN (wait for request->wait, then call again);
 * -ERR_TIMEOUT (its deadline has passed: others write all the time, no answer); -ERR_BAD
 * (STORE_INCR: the entry is no integer, or would leave their range); -ERR_TOOBIG (the store or the
 * disk is full); -ERR_SYSTEM. Every error but -ERR_AGAIN has a text in store_error, and changed
 * nothing; but where a server's answer was lost, nobody knows. After -ERR_AGAIN a request must be
 * run to its end or cancelled.
 */
int store_run(struct store *store, struct store_request *request);
/* The same for callers that may wait where they are. Never -ERR_AGAIN. */
int store_run_to_end(struct store *store, struct store_request *request);
const char *store_error(const struct store *store);
/* Gives up a request that store_run has not ended; nothing when it has. */
void store_cancel(struct store *store, struct store_request *request);
/* Waits where it is for what a request asked for. */
void store_wait(const struct script_wait *wait);

/* Where conf has the file. out: PATH_MAX bytes. False when that is too long. */
bool store_path(const struct conf *conf, char *out);

#endif
