/* Whole reads and writes at an offset of a file. */
#ifndef POSTERN_IO_H
#define POSTERN_IO_H

#include "common/buf.h"

/* 0 or -ERR_SYSTEM; then some of the bytes may have been written. */
int io_write_at(int fd, struct slice bytes, size_t offset);
/* 0, -ERR_SYSTEM, or -ERR_SHORT when the file ends before. */
int io_read_at(int fd, void *to, size_t len, size_t offset);

#endif
