/* Any bytes as what a server of Redis says: found whole at once or in pieces, the replies are the
 * same, and taking them apart item by item ends where the search did. The first byte is the number
 * of replies, the second the length of the pieces. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "worker/redis_greeting.h"
#include "worker/resp.h"
#include "worker/store_redis.h"

enum { BYTES_MAX = 4096 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static int scan(const char *text, size_t len, size_t n_replies, size_t piece, size_t *at_out)
{
    struct resp_scan scan;
    int err = -ERR_AGAIN;
    resp_scan_init(&scan, n_replies);
    for (size_t n = piece < len ? piece : len; err == -ERR_AGAIN; n += piece) {
        n = n < len ? n : len;
        char *copy = malloc(n + 1); /* so that a byte read too far is seen */
        check(copy != NULL);
        memcpy(copy, text, n);
        err = resp_scan(&scan, slice_of(copy, n), BYTES_MAX);
        free(copy);
        if (n == len)
            break;
    }
    *at_out = scan.at;
    return err;
}

static void read_as_entry(struct slice in)
{
    struct store_value value;
    struct slice said = slice_of(NULL, 0);
    int64_t expires_ms;
    if (store_redis_take_entry(&in, &value, &expires_ms, &said) == 0)
        check(value.kind < STORE_KIND_COUNT && expires_ms > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 3)
        return 0;
    const char *text = (const char *)data + 2;
    size_t n = len - 2, n_replies = data[0], piece = data[1] == 0 ? n : data[1];
    size_t at, at_in_pieces;
    int err = scan(text, n, n_replies, n, &at);
    check(scan(text, n, n_replies, piece, &at_in_pieces) == err && at == at_in_pieces);
    read_as_entry(slice_of(text, n));
    if (err != 0)
        return 0;
    char why[160];
    struct slice whole = slice_of(text, at), rest = whole;
    for (size_t i = 0; i < n_replies; i++)
        resp_skip(&rest);
    check(rest.len == 0);
    if (n_replies > 0) {
        (void)redis_greeting_take_master(whole, why, sizeof why);
        (void)redis_greeting_is_replica(whole);
    }
    return 0;
}
