/*
 * One hash of bytes for tables and for telling texts apart: FNV-1a, 32 bits. It is not keyed:
 * whoever chooses the bytes can make them collide, so a table's chains need a bound of their own.
 */
#ifndef POSTERN_HASH_H
#define POSTERN_HASH_H

#include <stdint.h>

#include "common/buf.h"

/* Goes on from an earlier hash, or from any other start. */
static inline uint32_t hash_more(uint32_t hash, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ (uint8_t)bytes.data[i]) * UINT32_C(16777619);
    return hash;
}

static inline uint32_t hash_bytes(struct slice bytes)
{
    return hash_more(UINT32_C(2166136261), bytes);
}

#endif
