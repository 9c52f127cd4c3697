/*
 * Blocks in a list, newest first; the oldest is kept by a reset. A large allocation gets a block of
 * its own, behind the newest, so that the room left in the newest one is still used.
 */
#include "common/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/xalloc.h"

enum { ARENA_BLOCK_BYTES = 8192, ARENA_LARGE_BYTES = 2048 };

struct block {
    struct block *next;
    size_t cap;
    size_t used;
    alignas(max_align_t) unsigned char data[];
};

struct arena {
    struct block *newest; /* never NULL; its list ends with the first block */
};

static struct block *block_new(size_t cap, struct block *next)
{
    struct block *block = xmalloc(sizeof(*block) + cap);
    block->next = next;
    block->cap = cap;
    block->used = 0;
    return block;
}

struct arena *arena_new(void)
{
    struct arena *arena = xmalloc(sizeof(*arena));
    arena->newest = block_new(ARENA_BLOCK_BYTES, NULL);
    return arena;
}

void arena_reset(struct arena *arena)
{
    struct block *block = arena->newest;
    while (block->next != NULL) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    block->used = 0;
    arena->newest = block;
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    arena_reset(arena);
    free(arena->newest);
    free(arena);
}

static void *block_take(struct block *block, size_t bytes)
{
    void *p = block->data + block->used;
    block->used += bytes;
    return p;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    const size_t align = alignof(max_align_t);
    if (bytes > SIZE_MAX / 2)
        log_fatal(EXIT_CODE_SYSTEM, "out of memory (%zu bytes wanted)", bytes);
    size_t rounded = bytes == 0 ? align : (bytes + align - 1) / align * align;
    struct block *newest = arena->newest;
    if (rounded <= newest->cap - newest->used)
        return block_take(newest, rounded);
    if (rounded >= ARENA_LARGE_BYTES && newest->next != NULL) {
        newest->next = block_new(rounded, newest->next);
        return block_take(newest->next, rounded);
    }
    size_t cap = rounded > ARENA_BLOCK_BYTES ? rounded : ARENA_BLOCK_BYTES;
    arena->newest = block_new(cap, newest);
    return block_take(arena->newest, rounded);
}

void *arena_calloc(struct arena *arena, size_t n, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(n, bytes, &total))
        log_fatal(EXIT_CODE_SYSTEM, "out of memory (%zu times %zu bytes wanted)", n, bytes);
    void *p = arena_alloc(arena, total);
    memset(p, 0, total);
    return p;
}

char *arena_memdup0(struct arena *arena, const void *data, size_t len)
{
    char *copy = arena_alloc(arena, len + 1);
    if (len > 0)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    LOG_INVARIANT(len >= 0);
    char *text = arena_alloc(arena, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}
