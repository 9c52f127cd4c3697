/*
 * Types by libmagic, for content that our own table does not know. Its database of 8 MB is mapped,
 * in the nursery when the filter asks for types, else at the first question; the pages that a
 * question touches stay in memory, for all workers together. It looks at a bounded beginning, in
 * memory: nothing is unpacked and no program is started.
 */
#include <magic.h>
#include <string.h>

#include "worker/mime_impl.h"

#ifndef POSTERN_MAGIC_FILE
#error "POSTERN_MAGIC_FILE: the compiled database of libmagic"
#endif

enum { REGEX_BYTES = 4096 };

/* One for the process: opening it again for each message would cost more than all else. */
static struct {
    magic_t handle;
    bool is_tried;
} database;

static bool open_database(void)
{
    if (database.is_tried)
        return database.handle != NULL;
    database.is_tried = true;
    size_t head = MIME_MAGIC_BYTES, regex = REGEX_BYTES;
    magic_t handle =
        magic_open(MAGIC_MIME_TYPE | MAGIC_NO_CHECK_COMPRESS | MAGIC_NO_CHECK_ELF | MAGIC_ERROR);
    if (handle == NULL)
        return false;
    if (magic_load(handle, POSTERN_MAGIC_FILE) != 0 ||
        magic_setparam(handle, MAGIC_PARAM_BYTES_MAX, &head) != 0 ||
        magic_setparam(handle, MAGIC_PARAM_REGEX_MAX, &regex) != 0) {
        magic_close(handle);
        return false;
    }
    database.handle = handle;
    return true;
}

/* A type of two words, of the characters of RFC 2045. */
static bool is_type(const char *text)
{
    const char *slash = strchr(text, '/');
    return slash != NULL && slash != text && slash[1] != '\0' && strchr(slash + 1, '/') == NULL &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "!#$&-^_.+/")] == '\0';
}

const char *mime_magic_type(struct slice head, struct arena *arena)
{
    if (head.len == 0 || !open_database())
        return "";
    size_t n = head.len < MIME_MAGIC_BYTES ? head.len : MIME_MAGIC_BYTES;
    const char *type = magic_buffer(database.handle, head.data, n);
    if (type == NULL || !is_type(type) || strcmp(type, "application/octet-stream") == 0)
        return "";
    return arena_memdup0(arena, type, strlen(type));
}

void mime_magic_start(void)
{
    (void)open_database();
}
