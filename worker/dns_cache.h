/*
 * Answers of the DNS as long as they are good, those that say "there is none" too. Bounded by
 * bytes: what was not asked for longest goes first. Names come from mail: nobody can make a look-up
 * slow with names that fall together, since a chain is bounded.
 */
#ifndef POSTERN_WORKER_DNS_CACHE_H
#define POSTERN_WORKER_DNS_CACHE_H

#include "worker/dns_answer.h"

struct dns_cache;

/* max_bytes 0: keeps nothing. */
struct dns_cache *dns_cache_new(size_t max_bytes);
void dns_cache_free(struct dns_cache *cache);
/* Borrowed until the next call; NULL: none that is still good. name in any case. */
struct dns_answer *dns_cache_find(
    struct dns_cache *cache, const char *name, enum dns_type type, int64_t now_ms);
/* Takes a reference of its own. Replaces one for the same question. */
void dns_cache_add(struct dns_cache *cache, const char *name, enum dns_type type,
    struct dns_answer *answer, int64_t until_ms);

#endif
