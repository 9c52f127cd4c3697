/*
 * A page that a worker writes and the multiplexor reads: what the worker is at, so that it can be told when it is dead. No system call and no
 * lock: what is read of a living worker may be half of two things, what is read of a dead one is what it wrote last.
 */
#ifndef POSTERN_NOTE_H
#define POSTERN_NOTE_H

#include <stddef.h>

enum { NOTE_OPERATION_MAX = 48, NOTE_WHERE_MAX = 128 };

struct note {
    char operation[NOTE_OPERATION_MAX]; /* "msg.header": what the filter asked of us last */
    char where[NOTE_WHERE_MAX];         /* "filter.lua:12" */
};

/* Makes one, sealed to its size, and maps it for reading. *fd_out is the caller's. NULL: the system has no memory or descriptors. */
const struct note *note_new(int *fd_out);
/* Maps one that arrived for writing; fd stays the caller's. NULL: it is none. */
struct note *note_open(int fd);
void note_close(const struct note *note); /* NULL is fine */

/* "msg.header, filter.lua:12", what is there of it; nothing in it is trusted. Always NUL-terminated. */
void note_text(const struct note *note, char *out, size_t out_bytes);

#endif
