/* The page: made, mapped, read. */
#include "common/note.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/text.h"

enum { NOTE_BYTES = 4096 };

static struct note *map_it(int fd, int protection)
{
    void *map = mmap(NULL, NOTE_BYTES, protection, MAP_SHARED, fd, 0);
    return map != MAP_FAILED ? map : NULL;
}

const struct note *note_new(int *fd_out)
{
    int fd = memfd_create("postern-note", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct note *note = NULL;

    if (fd < 0)
        return NULL;
    /* The worker must not be able to cut it off under us. */
    if (ftruncate(fd, NOTE_BYTES) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        note = map_it(fd, PROT_READ);
    if (note == NULL)
        close(fd);
    else
        *fd_out = fd;
    return note;
}

struct note *note_open(int fd)
{
    return map_it(fd, PROT_READ | PROT_WRITE);
}

void note_close(const struct note *note)
{
    if (note != NULL)
        munmap((void *)(uintptr_t)note, NOTE_BYTES);
}

void note_text(const struct note *note, char *out, size_t out_bytes)
{
    struct note copy;
    char operation[2 * NOTE_OPERATION_MAX], where[2 * NOTE_WHERE_MAX];

    out[0] = '\0';
    if (note == NULL)
        return;
    memcpy(&copy, note, sizeof(copy));
    text_escape(operation, sizeof(operation),
        slice_of(copy.operation, strnlen(copy.operation, sizeof(copy.operation))), 0);
    text_escape(
        where, sizeof(where), slice_of(copy.where, strnlen(copy.where, sizeof(copy.where))), 0);
    snprintf(out, out_bytes, "%s%s%s", operation,
        operation[0] != '\0' && where[0] != '\0' ? ", " : "", where);
}
