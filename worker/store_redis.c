#include "worker/store_redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"

enum { REQUEST_MAX = 1 << 20 }; /* bytes: the longest is for STORE_REDIS_FETCH entries */

/*
 * Every change. ARGV: what to do; the time now and the new end, in milliseconds of our clock; the
 * time to live for Redis (0: none); the new kind and value; the expected ones. -1 as end: it stays.
 * An entry whose end has passed is none. Numbers stay texts where they may be larger than what
 * Redis's Lua can hold. The first write is one that Redis refuses when it is full: after another
 * one it would let it pass.
 */
static const char change_script[] =
    "local key = KEYS[1]\n"
    "local op, now, stop, ttl, kind, value, old_kind, old_value = unpack(ARGV)\n"
    "local found = redis.call('HMGET', key, 'k', 'e', 'v')\n"
    "if found[1] and found[2] ~= '0' and tonumber(found[2]) <= tonumber(now) then\n"
    "  found = { false, false, false }\n"
    "end\n"
    "local function put()\n"
    "  redis.call('HSET', key, 'k', kind, 'e', stop, 'v', value)\n"
    "  if ttl ~= '0' then redis.call('PEXPIRE', key, ttl) else redis.call('PERSIST', key) end\n"
    "  return 1\n"
    "end\n"
    "if op == 'set' then return put() end\n"
    "if op == 'add' then\n"
    "  if found[1] then return 0 end\n"
    "  return kind == '0' and 1 or put()\n"
    "end\n"
    "if op == 'delete' then\n"
    "  redis.call('DEL', key)\n"
    "  return found[1] and 1 or 0\n"
    "end\n"
    "if op == 'swap' then\n"
    "  if found[1] ~= old_kind or found[3] ~= old_value then return 0 end\n"
    "  if kind == '0' then return redis.call('DEL', key) end\n"
    "  if stop ~= '-1' then return put() end\n"
    "  redis.call('HSET', key, 'k', kind, 'v', value)\n"
    "  return 1\n"
    "end\n"
    "if not found[1] then\n"
    "  put()\n"
    "elseif found[1] ~= kind then\n"
    "  return 0\n"
    "else\n"
    "  local sum = redis.pcall('HINCRBY', key, 'v', value)\n"
    "  if type(sum) == 'table' then\n"
    "    return (sum.err:find('overflow') or sum.err:find('integer')) and 0 or sum\n"
    "  end\n"
    "end\n"
    "return redis.call('HMGET', key, 'k', 'e', 'v')\n";

/* ---- the back end ---- */

static void *make(const struct conf *conf, enum store_use use)
{
    struct store_redis *store = xcalloc(1, sizeof *store);
    (void)use; /* a private one is in memory */
    store->conf = conf;
    store->redis = redis_new(conf);
    buf_init(&store->result, STORE_VALUE_MAX);
    return store;
}

static void end(void *state)
{
    struct store_redis *store = state;
    redis_free(store->redis);
    buf_clear(&store->result);
    free(store);
}

static void cancel(void *state, struct store_request *request)
{
    struct store_redis_run *run = request->pending;
    struct store_redis *store = state;
    redis_end(store->redis, &run->call);
    store_redis_list_free(run->list);
    buf_clear(&run->request);
    free(run);
    request->pending = NULL;
}

/* ---- asking ---- */

static const char *op_name(const struct store_request *request)
{
    static const char *const names[] = {[STORE_SET] = "set",
        [STORE_ADD] = "add",
        [STORE_SWAP] = "swap",
        [STORE_INCR] = "incr",
        [STORE_DELETE] = "delete"};
    return request->op == STORE_SWAP && request->expected.kind == STORE_NONE ? "add"
                                                                             : names[request->op];
}

static int put_change(struct buf *out, const struct conf *conf, const struct store_request *request)
{
    int64_t now_ms = clock_wall_ms();
    bool keeps = request->op == STORE_SWAP && request->ttl_ms == STORE_TTL_KEEP &&
                 request->expected.kind != STORE_NONE;
    int64_t end_ms = keeps ? -1 : request->ttl_ms > 0 ? store_end_ms(request->ttl_ms, now_ms) : 0;
    int err = resp_put_head(out, 12);
    err = err == 0 ? resp_put_text(out, "EVAL") : err;
    err = err == 0 ? resp_put_text(out, change_script) : err;
    err = err == 0 ? resp_put_text(out, "1") : err;
    err = err == 0 ? store_redis_put_key(out, conf, request->key) : err;
    err = err == 0 ? resp_put_text(out, op_name(request)) : err;
    err = err == 0 ? resp_put_number(out, now_ms) : err;
    err = err == 0 ? resp_put_number(out, end_ms) : err;
    err = err == 0 ? resp_put_number(out, request->ttl_ms > 0 ? request->ttl_ms : 0) : err;
    err = err == 0 ? resp_put_number(out, request->value.kind) : err;
    err = err == 0 ? store_redis_put_value(out, &request->value) : err;
    err = err == 0 ? resp_put_number(out, request->expected.kind) : err;
    return err == 0 ? store_redis_put_value(out, &request->expected) : err;
}

void store_redis_begin(struct store_redis_run *run, const struct store_request *request)
{
    redis_end(run->store->redis, &run->call);
    run->call = (struct redis_call){.n_replies = 1, .deadline_ms = request->deadline_ms};
    buf_reset(&run->request);
}

/* -ERR_TOOBIG cannot be: keys and values have their bounds. */
static int ask(struct store_redis_run *run, const struct store_request *request)
{
    const struct conf *conf = run->store->conf;
    int err = run->list != NULL
                  ? store_redis_list_ask(run->list, conf, &run->request, &run->call.n_replies)
              : request->op == STORE_GET ? store_redis_put_get(&run->request, conf, request->key)
                                         : put_change(&run->request, conf, request);
    run->call.request = buf_slice(&run->request);
    return err;
}

static struct store_redis_run *begin(struct store_redis *store, struct store_request *request)
{
    struct store_redis_run *run = xcalloc(1, sizeof *run);
    run->store = store;
    buf_init(&run->request, REQUEST_MAX);
    run->list = request->op == STORE_LIST ? store_redis_list_new(request) : NULL;
    store_redis_begin(run, request);
    request->pending = run;
    return run;
}

/* ---- answers ---- */

static int fail(int err, struct slice said, char *error_out)
{
    static const char full[] = "OOM ";
    char text[200];
    if (said.len == 0) {
        snprintf(error_out, STORE_ERROR_MAX, "the store in redis: %s",
            err == -ERR_TOOBIG ? "the list is too long" : "an entry that is none of ours");
        return err == -ERR_TOOBIG ? err : -ERR_SYSTEM;
    }
    text_escape(text, sizeof text, said, 0);
    snprintf(error_out, STORE_ERROR_MAX, "the store in redis: %s", text);
    return said.len > 4 && memcmp(said.data, full, 4) == 0 ? -ERR_TOOBIG : -ERR_SYSTEM;
}

/* Its bytes outlive the link's. */
static int keep_result(struct store_redis *store, struct store_request *request)
{
    buf_reset(&store->result);
    if (request->result.bytes.len == 0)
        return 0;
    int err = buf_put(&store->result, request->result.bytes.data, request->result.bytes.len);
    request->result.bytes = buf_slice(&store->result);
    return err;
}

static int take_entry(
    struct store_redis *store, struct slice reply, struct store_request *request, char *error_out)
{
    struct slice said = slice_of(NULL, 0);
    int err = store_redis_take_entry(&reply, &request->result, &request->expires_ms, &said);
    err = err == 0 ? keep_result(store, request) : err;
    return err == 0 ? 0 : fail(err, said, error_out);
}

static int take_change(struct slice reply, struct store_request *request, char *error_out)
{
    struct resp_item item;
    int err = resp_take(&reply, SIZE_MAX, &item);
    if (err != 0 || item.type == RESP_ERROR)
        return fail(-ERR_SYSTEM, err == 0 ? item.bytes : slice_of(NULL, 0), error_out);
    request->result = (struct store_value){.kind = STORE_NONE};
    request->is_done = item.type == RESP_INTEGER && item.integer == 1;
    return 0;
}

static int take_incr(
    struct store_redis *store, struct slice reply, struct store_request *request, char *error_out)
{
    struct resp_item item;
    struct slice front = reply;
    request->is_done = resp_take(&front, SIZE_MAX, &item) == 0 && item.type != RESP_INTEGER;
    if (request->is_done)
        return take_entry(store, reply, request, error_out);
    snprintf(error_out, STORE_ERROR_MAX,
        "the entry is no integer, or the sum is beyond what an integer holds");
    return -ERR_BAD;
}

static int take(struct store_redis_run *run, struct store_request *request, char *error_out)
{
    struct slice reply = run->call.reply, said = slice_of(NULL, 0);
    if (run->list != NULL) {
        int err = store_redis_list_take(run->list, run->store->conf, reply, &said);
        return err == 0 ? 0 : fail(err, said, error_out);
    }
    return request->op == STORE_GET    ? take_entry(run->store, reply, request, error_out)
           : request->op == STORE_INCR ? take_incr(run->store, reply, request, error_out)
                                       : take_change(reply, request, error_out);
}

/* ---- running ---- */

/* Asks, one question after the other, until there is nothing left to ask. */
static int go_on(struct store_redis_run *run, struct store_request *request, char *error_out)
{
    for (;;) {
        if (run->call.request.len == 0) {
            int err = ask(run, request);
            if (err != 0)
                return fail(-ERR_TOOBIG, slice_of(NULL, 0), error_out);
        }
        if (run->call.n_replies == 0) {
            store_redis_list_tell(run->list, request);
            return 0;
        }
        int err = redis_run(run->store->redis, &run->call);
        request->wait = run->call.wait;
        if (err != 0) {
            snprintf(error_out, STORE_ERROR_MAX, "the store: %.280s", run->call.error);
            return err == -ERR_AGAIN || err == -ERR_TIMEOUT ? err : -ERR_SYSTEM;
        }
        err = take(run, request, error_out);
        if (err != 0 || run->list == NULL)
            return err;
        store_redis_begin(run, request);
    }
}

static int run(void *state, struct store_request *request, char *error_out)
{
    if (request->op == STORE_EXPIRE) { /* Redis does that by itself */
        request->n_removed = 0;
        return 0;
    }
    struct store_redis_run *at = request->pending;
    int err = go_on(at != NULL ? at : begin(state, request), request, error_out);
    if (err != -ERR_AGAIN)
        cancel(state, request);
    return err;
}

const struct store_backend store_redis = {.make = make, .end = end, .run = run, .cancel = cancel};
