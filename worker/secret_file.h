/* Files with secrets: keys of signatures, and of the field that our edge writes. */
#ifndef POSTERN_WORKER_SECRET_FILE_H
#define POSTERN_WORKER_SECRET_FILE_H

#include <stddef.h>

/*
 * Reads a file whole into `out`, at most max bytes. It must be a regular file, of root or of
 * ourselves, which nobody else can write and at most a group read. NULL and *len_out, or why not
 * (borrowed until the next call; says nothing of the path).
 */
const char *secret_file_read(const char *path, char *out, size_t max, size_t *len_out);

#endif
