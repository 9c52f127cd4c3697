/* Allocation that ends the process when the system has no memory: there is nothing sensible left to
 * do then. */
#include "common/xalloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

static void out_of_memory(size_t bytes) __attribute__((noreturn));

static void out_of_memory(size_t bytes)
{
    log_fatal(EXIT_CODE_SYSTEM, "out of memory (%zu bytes wanted)", bytes);
}

void *xmalloc(size_t bytes)
{
    void *p = malloc(bytes > 0 ? bytes : 1);
    if (p == NULL)
        out_of_memory(bytes);
    return p;
}

void *xcalloc(size_t n, size_t bytes)
{
    void *p = n > 0 && bytes > 0 ? calloc(n, bytes) : calloc(1, 1);
    if (p == NULL)
        out_of_memory(bytes);
    return p;
}

void *xrealloc(void *p, size_t bytes)
{
    void *grown = realloc(p, bytes > 0 ? bytes : 1);
    if (grown == NULL)
        out_of_memory(bytes);
    return grown;
}

void *xreallocarray(void *p, size_t n, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(n, bytes, &total))
        out_of_memory(SIZE_MAX);
    return xrealloc(p, total);
}

char *xstrdup(const char *s)
{
    return xmemdup0(s, strlen(s));
}

char *xmemdup0(const void *data, size_t len)
{
    if (len == SIZE_MAX)
        out_of_memory(len);
    char *copy = xmalloc(len + 1);
    if (len > 0)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

char *xasprintf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0 || text == NULL)
        out_of_memory(0);
    return text;
}
