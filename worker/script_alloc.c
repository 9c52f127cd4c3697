/* Memory of the Lua state: counted, and refused over the limit, so that Lua raises "not enough
 * memory" in the filter instead of the system ending the worker. */
#include "worker/script_internal.h"

#include <stdlib.h>

static bool is_over_limit(const struct script_memory *memory, size_t more_bytes)
{
    if (memory->limit_bytes == 0) {
        return false;
    }
    size_t limit = memory->limit_bytes + memory->reserve_bytes;
    return memory->used_bytes > limit || more_bytes > limit - memory->used_bytes;
}

void *script_alloc(void *ud, void *block, size_t old_bytes, size_t new_bytes)
{
    struct script_memory *memory = ud;
    size_t had_bytes =
        block != NULL ? old_bytes : 0; /* without a block Lua passes a kind of object there */
    if (new_bytes == 0) {
        free(block);
        memory->used_bytes -= had_bytes;
        return NULL;
    }
    if (new_bytes > had_bytes && is_over_limit(memory, new_bytes - had_bytes)) {
        return NULL;
    }
    void *result = realloc(block, new_bytes);
    if (result != NULL) {
        memory->used_bytes += new_bytes - had_bytes; /* wraps around rightly when it shrinks */
    }
    return result;
}
