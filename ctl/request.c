#include "ctl/request.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/sock.h"
#include "common/xalloc.h"

enum { CONNECT_TIMEOUT_MS = 5000, SEND_TIMEOUT_SECS = 5 };

static char *question_text(const char *command, json_t *args)
{
    json_t *question = json_pack("{s:i, s:s, s:o}", "v", (int)REQUEST_VERSION, "command", command,
        "args", args != NULL ? args : json_object());
    char *text = question != NULL ? json_dumps(question, JSON_COMPACT) : NULL;
    json_decref(question);
    if (text == NULL) {
        return xstrdup("{}\n");
    }
    char *line = xasprintf("%s\n", text);
    free(text);
    return line;
}

/* Questions are small: they fit into the socket's buffer, or the server is stuck and the time-out
 * ends the wait. */
static int send_all(int fd, const char *data, size_t len)
{
    struct timeval limit = {.tv_sec = SEND_TIMEOUT_SECS};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? -ERR_TIMEOUT : -ERR_SYSTEM;
        }
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int request_open(struct request *request, const char *path, const char *command, json_t *args)
{
    char *line = question_text(command, args);
    struct sock_spec spec = {.kind = SOCK_KIND_UNIX};
    int rc = -ERR_BAD;
    request->fd = -1;
    if (strlen(path) <= SOCK_PATH_MAX) {
        memcpy(spec.path, path, strlen(path) + 1);
        rc = sock_connect(&spec, SOCK_STREAM, CONNECT_TIMEOUT_MS, &request->fd);
    }
    if (rc == 0) {
        rc = send_all(request->fd, line, strlen(line));
        if (rc < 0) {
            int saved = errno;
            close(request->fd);
            errno = saved;
        }
    }
    free(line);
    if (rc == 0) {
        buf_init(&request->in, REQUEST_ANSWER_MAX);
    }
    return rc;
}

void request_close(struct request *request)
{
    if (request->fd >= 0) {
        close(request->fd);
        buf_clear(&request->in);
    }
    request->fd = -1;
}

/* Takes an answer apart: {"v":1,"ok":true,"data":{…}} or {"v":1,"ok":false,"error":"…"}. */
static int answer_take(const char *line, size_t len, json_t **data_out, char **error_out)
{
    json_error_t where;
    json_t *answer = json_loadb(line, len, JSON_ALLOW_NUL, &where);
    json_t *data = json_object_get(answer, "data");
    const char *error = json_string_value(json_object_get(answer, "error"));
    int rc = -ERR_BAD;
    if (json_integer_value(json_object_get(answer, "v")) != REQUEST_VERSION) {
        rc = answer != NULL ? -ERR_VERSION : -ERR_BAD;
    } else if (json_is_true(json_object_get(answer, "ok"))) {
        *data_out = data != NULL ? json_incref(data) : json_object();
        rc = 0;
    } else if (error != NULL) {
        *error_out = xstrdup(error);
        rc = -ERR_DENIED;
    }
    json_decref(answer);
    return rc;
}

int request_read(struct request *request, json_t **data_out, char **error_out)
{
    for (;;) {
        char *end = request->in.len > 0 ? memchr(request->in.data, '\n', request->in.len) : NULL;
        if (end != NULL) {
            size_t len = (size_t)(end - (char *)request->in.data);
            return answer_take((char *)request->in.data, len, data_out, error_out);
        }
        char chunk[16384];
        ssize_t n = recv(request->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK ? -ERR_AGAIN : -ERR_PEER;
        }
        if (n == 0) {
            return -ERR_PEER;
        }
        if (buf_put(&request->in, chunk, (size_t)n) < 0) {
            return -ERR_TOOBIG;
        }
    }
}

static int wait_answer(struct request *request, int64_t end_ms, json_t **data_out, char **error_out)
{
    for (;;) {
        int rc = request_read(request, data_out, error_out);
        int64_t left = end_ms - clock_now_ms();
        if (rc != -ERR_AGAIN) {
            return rc;
        }
        if (left <= 0) {
            return -ERR_TIMEOUT;
        }
        struct pollfd pfd = {.fd = request->fd, .events = POLLIN};
        if (poll(&pfd, 1, left > 60000 ? 60000 : (int)left) < 0 && errno != EINTR) {
            return -ERR_SYSTEM;
        }
    }
}

int request_call(const char *path, const char *command, json_t *args, int64_t timeout_ms,
    json_t **data_out, char **error_out)
{
    struct request request;
    int64_t end_ms = clock_now_ms() + timeout_ms;
    int rc = request_open(&request, path, command, args);
    if (rc < 0) {
        return rc;
    }
    rc = wait_answer(&request, end_ms, data_out, error_out);
    request_close(&request);
    return rc;
}
