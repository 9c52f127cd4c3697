/* Reads and writes that go on after signals and short counts. */
#include "common/io.h"

#include <errno.h>
#include <unistd.h>

#include "common/err.h"

int io_write_at(int fd, struct slice bytes, size_t offset)
{
    size_t done = 0;

    while (done < bytes.len) {
        ssize_t n = pwrite(fd, bytes.data + done, bytes.len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -ERR_SYSTEM;
        done += (size_t)n;
    }
    return 0;
}

int io_read_at(int fd, void *to, size_t len, size_t offset)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(fd, (char *)to + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -ERR_SYSTEM : -ERR_SHORT;
        done += (size_t)n;
    }
    return 0;
}
