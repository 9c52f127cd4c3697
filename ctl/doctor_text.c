/* What the checks read and print: small files of the system or of another program, numbers, sizes,
 * times. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/xalloc.h"
#include "ctl/doctor.h"

enum { READ_STEP = 65536 };

/* A FIFO would keep us waiting: opened without, and refused. */
static int open_plain(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR ? -ERR_NOTFOUND : -ERR_SYSTEM;
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -ERR_BAD;
    }
    return fd;
}

static int read_all(int fd, struct buf *out)
{
    char *step = xmalloc(READ_STEP);
    int rc = 0;
    for (ssize_t n = 1; rc == 0 && n != 0;) {
        n = read(fd, step, READ_STEP);
        if (n < 0 && errno != EINTR) {
            rc = -ERR_SYSTEM;
        } else if (n > 0) {
            rc = buf_put(out, step, (size_t)n);
        }
    }
    free(step);
    return rc;
}

int doctor_read_file(const char *path, char **text_out)
{
    int fd = open_plain(path);
    if (fd < 0) {
        return fd;
    }
    struct buf text;
    buf_init(&text, DOCTOR_FILE_MAX);
    int rc = read_all(fd, &text);
    int saved = errno;
    close(fd);
    if (rc == 0) {
        *text_out = xmemdup0(text.len > 0 ? (const char *)text.data : "", text.len);
        for (size_t i = 0; i < text.len; i++) {
            if ((*text_out)[i] == 0) {
                (*text_out)[i] = ' ';
            }
        }
    }
    buf_clear(&text);
    errno = saved;
    return rc;
}

/* -1 without digits. */
static int64_t number_at(const char *text)
{
    text += strspn(text, " \t");
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return end == text || errno != 0 || value < 0 ? -1 : value;
}

int64_t doctor_read_number(const char *path)
{
    char *text = NULL;
    if (doctor_read_file(path, &text) != 0) {
        return -1;
    }
    int64_t value = number_at(text);
    free(text);
    return value;
}

int64_t doctor_find_number(const char *text, const char *label)
{
    size_t len = strlen(label);
    for (const char *line = text; line != NULL && line[0] != 0;) {
        if (strncmp(line, label, len) == 0) {
            return number_at(line + len);
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return -1;
}

void doctor_bytes_text(char *out, size_t out_bytes, int64_t bytes)
{
    static const char units[] = "BKMGT";
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 2 < sizeof(units)) {
        value /= 1024;
        unit++;
    }
    if (unit == 0) {
        snprintf(out, out_bytes, "%" PRId64 " bytes", bytes);
    } else {
        snprintf(out, out_bytes, "%.*f%c", value < 10 && value != (double)(int)value ? 1 : 0, value,
            units[unit]);
    }
}

void doctor_time_text(char *out, size_t out_bytes, int64_t ms)
{
    if (ms % 1000 != 0) {
        snprintf(out, out_bytes, "%" PRId64 "ms", ms);
    } else if (ms % 60000 != 0 || ms == 0) {
        snprintf(out, out_bytes, "%" PRId64 "s", ms / 1000);
    } else {
        snprintf(out, out_bytes, "%" PRId64 "m", ms / 60000);
    }
}
