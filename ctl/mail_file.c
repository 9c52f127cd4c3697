#include "ctl/mail_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/header.h"
#include "common/xalloc.h"

/* Reads to the end. The bytes are buf's. */
static int read_all(int fd, struct buf *buf)
{
    uint8_t *chunk = xmalloc(65536);
    int rc = 0;
    for (;;) {
        ssize_t n = read(fd, chunk, 65536);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            rc = n < 0 ? -ERR_SYSTEM : 0;
            break;
        }
        rc = buf_put(buf, chunk, (size_t)n);
        if (rc < 0) {
            break;
        }
    }
    free(chunk);
    return rc;
}

static int read_path(const char *path, struct buf *buf)
{
    if (strcmp(path, "-") == 0) {
        return read_all(STDIN_FILENO, buf);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -ERR_SYSTEM;
    }
    int rc = read_all(fd, buf);
    int saved = errno;
    close(fd);
    errno = saved;
    return rc;
}

static struct slice skip_mbox_line(struct slice in)
{
    const char *end;
    if (in.len < 5 || memcmp(in.data, "From ", 5) != 0 ||
        (end = memchr(in.data, '\n', in.len)) == NULL) {
        return in;
    }
    size_t skip = (size_t)(end + 1 - in.data);
    return slice_of(in.data + skip, in.len - skip);
}

static bool has_local_line_ends(struct slice in)
{
    const char *end = in.len > 0 ? memchr(in.data, '\n', in.len) : NULL;
    return end != NULL && (end == in.data || end[-1] != '\r');
}

/* Copies in to out, with each bare LF made CRLF. Room: in.len and one for each LF. Returns the
 * bytes written. */
static size_t copy_lines(uint8_t *out, struct slice in)
{
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        if (in.data[i] == '\n' && (i == 0 || in.data[i - 1] != '\r')) {
            out[n++] = '\r';
        }
        out[n++] = (uint8_t)in.data[i];
    }
    return n;
}

/* Whether the header block ends with a line end and CRLF stands between it and the body. */
static bool is_assembled(struct slice in, size_t header_bytes, size_t body_at)
{
    return body_at == header_bytes + 2 && memcmp(in.data + header_bytes, "\r\n", 2) == 0 &&
           (header_bytes == 0 || in.data[header_bytes - 1] == '\n');
}

static void set_slices(struct mail_file *out, const uint8_t *at, size_t header_bytes, size_t len)
{
    out->message = slice_of(at, len);
    out->header = slice_of(at, header_bytes);
    out->body = slice_of(at + header_bytes + 2, len - header_bytes - 2);
}

/*
 * Header block, CRLF, body: what a mail server hands over, whatever the file had between the two.
 * bytes: malloc'd, the mail's from now on; in lies within.
 */
static void assemble(uint8_t *bytes, struct slice in, struct mail_file *out)
{
    size_t body_at = 0;
    size_t n = header_block_length(in, &body_at);
    out->bytes = bytes;
    if (is_assembled(in, n, body_at)) {
        set_slices(out, (const uint8_t *)in.data, n, in.len);
        return;
    }
    uint8_t *copy = xmalloc(in.len + 5);
    memcpy(copy, in.len > 0 ? in.data : "", n);
    if (n > 0 && copy[n - 1] != '\n') {
        memcpy(copy + n, "\r\n", 2);
        n += 2;
    }
    memcpy(copy + n, "\r\n", 2);
    memcpy(copy + n + 2, in.len > 0 ? in.data + body_at : "", in.len - body_at);
    set_slices(out, copy, n, n + 2 + in.len - body_at);
    free(bytes);
    out->bytes = copy;
}

/* With each bare LF made CRLF. raw is emptied. */
static void convert(struct buf *raw, struct slice in, struct mail_file *out)
{
    size_t n_lines = 0;
    for (size_t i = 0; i < in.len; i++) {
        n_lines += in.data[i] == '\n';
    }
    uint8_t *lines = xmalloc(in.len + n_lines + 1);
    size_t len = copy_lines(lines, in);
    buf_clear(raw);
    assemble(lines, slice_of(lines, len), out);
}

/* raw is emptied. */
static void take(struct buf *raw, struct mail_file *out)
{
    struct slice in = skip_mbox_line(buf_slice(raw));
    if (has_local_line_ends(in)) {
        convert(raw, in, out);
    } else {
        assemble(raw->data, in, out);
    }
}

int mail_file_of_text(struct slice text, struct mail_file *out)
{
    memset(out, 0, sizeof(*out));
    struct buf raw;
    buf_init(&raw, MAIL_FILE_MAX);
    int rc = buf_put(&raw, text.data, text.len);
    if (rc == 0) {
        take(&raw, out);
    } else {
        buf_clear(&raw);
    }
    return rc;
}

int mail_file_read(const char *path, struct mail_file *out)
{
    memset(out, 0, sizeof(*out));
    struct buf raw;
    buf_init(&raw, MAIL_FILE_MAX);
    int rc = read_path(path, &raw);
    if (rc < 0) {
        int saved = errno;
        buf_clear(&raw);
        errno = saved;
        return rc;
    }
    take(&raw, out);
    return 0;
}

void mail_file_of(uint8_t *bytes, size_t len, struct mail_file *out)
{
    memset(out, 0, sizeof(*out));
    assemble(bytes, slice_of(bytes, len), out);
}

void mail_file_clear(struct mail_file *mail)
{
    free(mail->bytes);
    memset(mail, 0, sizeof(*mail));
}
