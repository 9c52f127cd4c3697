#include "worker/dns_cache.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/xalloc.h"

enum { N_CHAINS = 1024, CHAIN_MAX = 32 };

struct entry {
    TAILQ_ENTRY(entry) chain;
    TAILQ_ENTRY(entry) age;
    size_t n_chain;
    enum dns_type type;
    int64_t until_ms;
    struct dns_answer *answer;
    char name[];
};

TAILQ_HEAD(entry_list, entry);

struct dns_cache {
    size_t max_bytes, bytes;
    struct entry_list oldest; /* first: not asked for longest */
    struct entry_list chains[N_CHAINS];
    unsigned lengths[N_CHAINS];
};

struct dns_cache *dns_cache_new(size_t max_bytes)
{
    struct dns_cache *cache = xcalloc(1, sizeof *cache);
    cache->max_bytes = max_bytes;
    TAILQ_INIT(&cache->oldest);
    for (size_t i = 0; i < N_CHAINS; i++) {
        TAILQ_INIT(&cache->chains[i]);
    }
    return cache;
}

static size_t bytes_of(const struct entry *entry)
{
    return sizeof *entry + strlen(entry->name) + 1 + entry->answer->bytes;
}

static void drop(struct dns_cache *cache, struct entry *entry)
{
    cache->bytes -= bytes_of(entry);
    cache->lengths[entry->n_chain]--;
    TAILQ_REMOVE(&cache->chains[entry->n_chain], entry, chain);
    TAILQ_REMOVE(&cache->oldest, entry, age);
    dns_answer_unref(entry->answer);
    free(entry);
}

void dns_cache_free(struct dns_cache *cache)
{
    struct entry *entry;
    if (cache == NULL) {
        return;
    }
    while ((entry = TAILQ_FIRST(&cache->oldest)) != NULL) {
        drop(cache, entry);
    }
    free(cache);
}

/* Without the dot at the end. */
static size_t name_length(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && name[n - 1] == '.' ? n - 1 : n;
}

static size_t chain_of(const char *name, size_t len, enum dns_type type)
{
    uint32_t hash = hash_bytes(slice_of(&(const char){(char)type}, 1));
    for (size_t i = 0; i < len; i++) {
        char c = (char)tolower((unsigned char)name[i]);
        hash = hash_more(hash, slice_of(&c, 1));
    }
    return hash % N_CHAINS;
}

static struct entry *find(
    struct dns_cache *cache, size_t n_chain, const char *name, size_t len, enum dns_type type)
{
    struct entry *entry;
    TAILQ_FOREACH(entry, &cache->chains[n_chain], chain)
    {
        if (entry->type == type && strncasecmp(entry->name, name, len) == 0 &&
            entry->name[len] == '\0') {
            return entry;
        }
    }
    return NULL;
}

struct dns_answer *dns_cache_find(
    struct dns_cache *cache, const char *name, enum dns_type type, int64_t now_ms)
{
    size_t len = name_length(name);
    struct entry *entry = find(cache, chain_of(name, len, type), name, len, type);
    if (entry == NULL) {
        return NULL;
    }
    if (entry->until_ms <= now_ms) {
        drop(cache, entry);
        return NULL;
    }
    TAILQ_REMOVE(&cache->oldest, entry, age);
    TAILQ_INSERT_TAIL(&cache->oldest, entry, age);
    return entry->answer;
}

void dns_cache_add(struct dns_cache *cache, const char *name, enum dns_type type,
    struct dns_answer *answer, int64_t until_ms)
{
    size_t len = name_length(name), n_chain = chain_of(name, len, type);
    struct entry *entry = find(cache, n_chain, name, len, type);
    if (entry != NULL) {
        drop(cache, entry);
    }
    entry = xcalloc(1, sizeof *entry + len + 1);
    *entry =
        (struct entry){.n_chain = n_chain, .type = type, .until_ms = until_ms, .answer = answer};
    memcpy(entry->name, name, len);
    dns_answer_ref(answer);
    TAILQ_INSERT_TAIL(&cache->chains[n_chain], entry, chain);
    TAILQ_INSERT_TAIL(&cache->oldest, entry, age);
    cache->lengths[n_chain]++;
    cache->bytes += bytes_of(entry);
    if (cache->lengths[n_chain] > CHAIN_MAX) {
        drop(cache, TAILQ_FIRST(&cache->chains[n_chain]));
    }
    while (cache->bytes > cache->max_bytes) {
        drop(cache, TAILQ_FIRST(&cache->oldest));
    }
}
