#include "worker/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"

static const char *check(const struct stat *st, size_t max)
{
    if (!S_ISREG(st->st_mode))
        return "it is no regular file";
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return "it belongs to another user";
    if ((st->st_mode & (S_IRWXO | S_IWGRP | S_IXGRP)) != 0)
        return "others may read or write it: mode 0600, or 0640 for a group of its own";
    if ((size_t)st->st_size > max)
        return "it is too large for a key";
    return NULL;
}

const char *secret_file_read(const char *path, char *out, size_t max, size_t *len_out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return strerror(errno);
    const char *why = fstat(fd, &st) == 0 ? check(&st, max) : strerror(errno);
    if (why == NULL && io_read_at(fd, out, (size_t)st.st_size, 0) != 0)
        why = "it cannot be read";
    close(fd);
    *len_out = why == NULL ? (size_t)st.st_size : 0;
    return why;
}
