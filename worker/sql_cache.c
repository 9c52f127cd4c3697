/* Statements that a connection keeps prepared, by their text. A filter has some dozens, which do
 * not change since values are no part of them; so nothing is ever put out for another. */
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "worker/sql.h"

struct sql_cached *sql_cache_find(struct sql_cache *cache, const struct sql_ask *ask)
{
    for (size_t i = 0; i < cache->n; i++) {
        struct sql_cached *entry = &cache->entries[i];
        if (entry->text_bytes == ask->text_bytes &&
            memcmp(entry->text, ask->text, ask->text_bytes) == 0)
            return entry;
    }
    return NULL;
}

struct sql_cached *sql_cache_add(
    struct sql_cache *cache, const struct sql_ask *ask, void *statement)
{
    if (cache->n == SQL_STATEMENTS_MAX)
        return NULL;
    struct sql_cached *entry = &cache->entries[cache->n++];
    entry->text = xmalloc(ask->text_bytes + 1);
    memcpy(entry->text, ask->text, ask->text_bytes + 1);
    entry->text_bytes = ask->text_bytes;
    entry->statement = statement;
    return entry;
}

void sql_cache_remove(struct sql_cache *cache, struct sql_cached *entry)
{
    free(entry->text);
    *entry = cache->entries[--cache->n];
}

void sql_cache_clear(struct sql_cache *cache)
{
    while (cache->n > 0)
        sql_cache_remove(cache, &cache->entries[cache->n - 1]);
}
