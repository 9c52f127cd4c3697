/* Counts as a worker tells them: what is taken can be encoded again to the same bytes, is summed
 * within its bound, and is shown without a control character. */
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdlib.h>

#include "common/count.h"
#include "multiplexor/counts.h"

enum { SUMS_MAX = 8, TEXT_MAX = 1 << 20 };

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Reads counts as long as they are fine; returns how many bytes they have. */
static size_t check_round_trip(struct slice field)
{
    struct buf in, head, out;
    struct count count;
    buf_view(&in, field.data, field.len);
    buf_init(&head, COUNT_KEY_MAX);
    buf_init(&out, field.len + 1);
    size_t bytes = 0;
    while (count_get(&in, &count) == 0) {
        buf_reset(&head);
        check(count_put_head(&head, &count) == 0);
        check(count_put(&out, buf_slice(&head), count.help, count.add) == 0);
        buf_reset(&head);
        check(count_put_labels(&head, &count) == 0);
        bytes = in.pos;
    }
    check(out.len == bytes && (bytes == 0 || memcmp(out.data, field.data, bytes) == 0));
    buf_clear(&head);
    buf_clear(&out);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct counts counts = {.n = 0};
    struct buf text;
    uint64_t n_dropped;
    size_t bytes = check_round_trip(slice_of(data, len));
    check((counts_add(&counts, slice_of(data, len), SUMS_MAX, &n_dropped) == 0) == (bytes == len));
    check(counts.n <= SUMS_MAX);
    buf_init(&text, TEXT_MAX);
    counts_put(&counts, &text);
    for (size_t i = 0; i < text.len; i++) {
        check(text.data[i] >= 0x20 || text.data[i] == '\n');
    }
    json_t *json = counts_json(&counts);
    check(json_object_size(json) == counts.n);
    json_decref(json);
    buf_clear(&text);
    counts_clear(&counts);
    return 0;
}
