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

/* Copies in to out, with each bare LF made CRLF when wanted. Room: twice in.len. Returns the bytes
 * written. */
static size_t copy_lines(uint8_t *out, struct slice in, bool to_crlf)
{
    if (!to_crlf) {
        memcpy(out, in.len > 0 ? in.data : "", in.len);
        return in.len;
    }
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        if (in.data[i] == '\n' && (i == 0 || in.data[i - 1] != '\r')) {
            out[n++] = '\r';
        }
        out[n++] = (uint8_t)in.data[i];
    }
    return n;
}

/* Header block, CRLF, body: what a mail server hands over, whatever the file had between the two.
 */
static void assemble(struct slice in, struct mail_file *out)
{
    size_t body_at = 0;
    size_t header_bytes = header_block_length(in, &body_at);
    uint8_t *bytes = xmalloc(in.len + 5);
    size_t n = 0;
    memcpy(bytes, in.len > 0 ? in.data : "", header_bytes);
    n = header_bytes;
    if (n > 0 && bytes[n - 1] != '\n') {
        memcpy(bytes + n, "\r\n", 2);
        n += 2;
    }
    out->header = slice_of(bytes, n);
    memcpy(bytes + n, "\r\n", 2);
    n += 2;
    size_t body_bytes = in.len - body_at;
    memcpy(bytes + n, in.len > 0 ? in.data + body_at : "", body_bytes);
    out->body = slice_of(bytes + n, body_bytes);
    out->bytes = bytes;
    out->message = slice_of(bytes, n + body_bytes);
}

int mail_file_read(const char *path, struct mail_file *out)
{
    memset(out, 0, sizeof(*out));
    struct buf raw;
    buf_init(&raw, MAIL_FILE_MAX);
    int rc = read_path(path, &raw);
    if (rc == 0) {
        struct slice in = skip_mbox_line(buf_slice(&raw));
        bool to_crlf = has_local_line_ends(in);
        uint8_t *lines = xmalloc((to_crlf ? 2 * in.len : in.len) + 1);
        assemble(slice_of(lines, copy_lines(lines, in, to_crlf)), out);
        free(lines);
    }
    int saved = errno;
    buf_clear(&raw);
    errno = saved;
    return rc;
}

void mail_file_clear(struct mail_file *mail)
{
    free(mail->bytes);
    memset(mail, 0, sizeof(*mail));
}
