/* The field of our edge as anybody may write it: never a crash, and nothing is believed without the
 * key. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "worker/origin_mark.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t key[KEYED_HASH_BYTES] = "a key that nobody has seen";
    struct origin_mark mark;
    struct arena *arena = arena_new();
    if (origin_mark_read(
            slice_of(data, len), slice_of(NULL, 0), key, INT64_C(1800000000), arena, &mark))
        abort();
    arena_free(arena);
    return 0;
}
