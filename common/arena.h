/*
 * An arena: many allocations, freed in one call. One for each request: what a request needs lives in its arena.
 * Not for threads to share.
 */
#ifndef POSTERN_ARENA_H
#define POSTERN_ARENA_H

#include <stddef.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena); /* NULL is fine */
/* Frees all that was allocated and keeps the first block for the next use. */
void arena_reset(struct arena *arena);

/* Uninitialised memory aligned for any type; never NULL. */
void *arena_alloc(struct arena *arena, size_t bytes) __attribute__((returns_nonnull));
/* Zeroed memory for n objects; the multiplication is checked. */
void *arena_calloc(struct arena *arena, size_t n, size_t bytes) __attribute__((returns_nonnull));
/* A NUL-terminated copy of len bytes. */
char *arena_memdup0(struct arena *arena, const void *data, size_t len) __attribute__((returns_nonnull));
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));

#endif
