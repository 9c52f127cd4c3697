#include "worker/notify_queue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/address.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/io.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "worker/keyed_hash.h"
#include "worker/notify.h"
#include "worker/smtp_send.h"

#define TMP        ".tmp-"
#define RETRY_FILE "retry" /* its time: when the server last failed */
#define LOCK_FILE  "lock"

enum { FILE_MAX_BYTES = 1 << 20, RETRY_SECS = 30, KEEP_SECS = 86400, PASSES_MAX = 3 };

/* ---- the folders ---- */

static bool is_ours(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* A folder below another, made when it is missing. A descriptor, -ERR_DENIED or -ERR_SYSTEM. */
static int open_below(int above, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(above, name, flags);
    if (fd < 0 && errno == ENOENT) {
        if (mkdirat(above, name, 0700) != 0 && errno != EEXIST)
            return -ERR_SYSTEM;
        fd = openat(above, name, flags);
    }
    if (fd < 0)
        return -ERR_SYSTEM;
    if (is_ours(fd))
        return fd;
    close(fd);
    return -ERR_DENIED;
}

int notify_queue_open(const struct conf *conf, struct notify_queue *out)
{
    *out = (struct notify_queue){.conf = conf, .folder = -1, .queue = -1};
    int state = open(conf->worker.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state < 0)
        return -ERR_SYSTEM;
    out->folder = open_below(state, "notify");
    const int saved = errno;
    close(state);
    errno = saved;
    if (out->folder < 0)
        return out->folder;
    out->queue = open_below(out->folder, "queue");
    if (out->queue >= 0)
        return 0;
    const int rc = out->queue;
    close(out->folder);
    return rc;
}

void notify_queue_close(struct notify_queue *queue)
{
    close(queue->queue);
    close(queue->folder);
}

/* ---- names ---- */

static bool is_name(const char *name)
{
    return strlen(name) == KEYED_HASH_NAME_CHARS &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz234567") == KEYED_HASH_NAME_CHARS;
}

struct names {
    char (*items)[KEYED_HASH_NAME_CHARS + 1]; /* owned */
    size_t n;
};

/* What a process left half done an hour ago goes. */
static void drop_left_over(const struct notify_queue *queue, const char *name)
{
    struct stat st;
    if (strncmp(name, TMP, strlen(TMP)) == 0 &&
        fstatat(queue->queue, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        time(NULL) - st.st_mtime > 3600)
        (void)unlinkat(queue->queue, name, 0);
}

static int list_names(const struct notify_queue *queue, struct names *out)
{
    int fd = openat(queue->queue, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *row;
    *out = (struct names){.n = 0};
    if (stream == NULL) {
        if (fd >= 0)
            close(fd);
        return -ERR_SYSTEM;
    }
    out->items = xcalloc(NOTIFY_QUEUE_MAX, sizeof(*out->items));
    while ((row = readdir(stream)) != NULL && out->n < NOTIFY_QUEUE_MAX) {
        if (is_name(row->d_name))
            memcpy(out->items[out->n++], row->d_name, KEYED_HASH_NAME_CHARS + 1);
        else
            drop_left_over(queue, row->d_name);
    }
    closedir(stream);
    return 0;
}

/* ---- putting one in ---- */

static int write_file(int folder, const char *name, struct slice bytes)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -ERR_SYSTEM;
    int rc = io_write_at(fd, bytes, 0);
    if (rc == 0 && fsync(fd) != 0)
        rc = -ERR_SYSTEM;
    if (close(fd) != 0 && rc == 0)
        rc = -ERR_SYSTEM;
    return rc;
}

static int write_named(struct notify_queue *queue, const char *name, struct slice bytes)
{
    uint8_t random[12];
    char hex[2 * sizeof(random) + 1], temporary[sizeof(TMP) + sizeof(hex)];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -ERR_SYSTEM;
    keyed_hash_hex(random, sizeof(random), hex);
    snprintf(temporary, sizeof(temporary), "%s%s", TMP, hex);
    int rc = write_file(queue->queue, temporary, bytes);
    if (rc == 0 && renameat(queue->queue, temporary, queue->queue, name) != 0)
        rc = -ERR_SYSTEM;
    if (rc == 0 && fsync(queue->queue) != 0)
        rc = -ERR_SYSTEM;
    if (rc != 0) {
        const int saved = errno;
        (void)unlinkat(queue->queue, temporary, 0);
        errno = saved;
    }
    return rc;
}

int notify_queue_put(
    struct notify_queue *queue, const char *name, const char *to, struct slice message, size_t most)
{
    struct names names;
    struct buf bytes;
    int rc = list_names(queue, &names);
    free(names.items);
    if (rc == 0 && names.n >= most)
        rc = -ERR_TOOBIG;
    if (rc != 0)
        return rc;
    buf_init(&bytes, FILE_MAX_BYTES);
    rc = buf_printf(&bytes, "%s\n", to);
    if (rc == 0)
        rc = buf_put(&bytes, message.data, message.len);
    if (rc == 0)
        rc = write_named(queue, name, buf_slice(&bytes));
    buf_clear(&bytes);
    return rc;
}

/* ---- sending ---- */

enum fate { FATE_SENT, FATE_GIVEN_UP, FATE_LATER };

static enum fate judge(int rc, const struct smtp_send_result *result, bool is_old)
{
    if (rc == 0)
        return FATE_SENT;
    const bool is_lasting = rc == -ERR_DENIED && result->last.code >= 500;
    /* Twice is worse than never: it may be under way already. */
    return is_lasting || is_old || result->may_be_taken ? FATE_GIVEN_UP : FATE_LATER;
}

static void say_why(int rc, const struct smtp_send_result *result, enum fate fate)
{
    const char *then = fate == FATE_LATER ? "it stays in the queue" : "it is given up";
    if (rc == -ERR_DENIED)
        log_warn("notify: a notice is not taken: %s: %u %s; %s", result->stage, result->last.code,
            result->last.text, then);
    else
        log_warn("notify: a notice is not sent: %s: %s; %s", result->stage, err_text(rc), then);
}

static enum fate send_bytes(
    const struct notify_queue *queue, struct slice bytes, bool is_old, int64_t deadline_ms)
{
    struct smtp_send_answer answer = {.code = 0};
    struct smtp_send_result result = {.answers = &answer, .stage = ""};
    struct sock_spec server;
    const char *end = memchr(bytes.data, '\n', bytes.len);
    if (end == NULL || sock_spec_from_text(queue->conf->notify.server, &server) != 0)
        return FATE_GIVEN_UP;
    const struct slice to = slice_of(bytes.data, (size_t)(end - bytes.data));
    const struct smtp_send_mail mail = {
        .recipients = &to, .n_recipients = 1, .message = slice_of(end + 1, bytes.len - to.len - 1)};
    const int rc = smtp_send(&server, &mail, deadline_ms, &result);
    const enum fate fate = judge(rc, &result, is_old);
    if (rc != 0)
        say_why(rc, &result, fate);
    return fate;
}

static enum fate send_file(
    const struct notify_queue *queue, int fd, const struct stat *st, int64_t deadline_ms)
{
    if (!S_ISREG(st->st_mode) || st->st_size <= 0 || st->st_size > FILE_MAX_BYTES)
        return FATE_GIVEN_UP;
    const size_t len = (size_t)st->st_size;
    const bool is_old = time(NULL) - st->st_mtime > KEEP_SECS;
    char *bytes = xmalloc(len);
    const int rc = io_read_at(fd, bytes, len, 0);
    const enum fate fate =
        rc == 0 ? send_bytes(queue, slice_of(bytes, len), is_old, deadline_ms) : FATE_LATER;
    free(bytes);
    return fate;
}

static enum fate send_one(const struct notify_queue *queue, const char *name, int64_t deadline_ms)
{
    struct stat st;
    int fd = openat(queue->queue, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP ? FATE_GIVEN_UP : FATE_LATER;
    const enum fate fate =
        fstat(fd, &st) == 0 ? send_file(queue, fd, &st, deadline_ms) : FATE_LATER;
    close(fd);
    if (fate != FATE_LATER)
        (void)unlinkat(queue->queue, name, 0);
    return fate;
}

/* ---- whether to send ---- */

static bool is_left_alone(const struct notify_queue *queue)
{
    struct stat st;
    if (fstatat(queue->folder, RETRY_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    const int64_t age = (int64_t)time(NULL) - st.st_mtime;
    return age >= 0 && age < RETRY_SECS;
}

static void leave_alone(const struct notify_queue *queue)
{
    int fd = openat(queue->folder, RETRY_FILE,
        O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)io_write_at(fd, slice_text("\n"), 0); /* which sets its time */
        close(fd);
    }
}

/* -1: another process sends. */
static int try_lock(const struct notify_queue *queue)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    int fd = openat(
        queue->folder, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* False: the server fails, or the time is over. */
static bool send_all(const struct notify_queue *queue, const struct names *names,
    int64_t deadline_ms, struct notify_sent *out)
{
    for (size_t i = 0; i < names->n; i++) {
        if (clock_now_ms() >= deadline_ms)
            return false;
        const enum fate fate = send_one(queue, names->items[i], deadline_ms);
        out->n_sent += fate == FATE_SENT ? 1 : 0;
        out->n_failed += fate == FATE_SENT ? 0 : 1;
        if (fate == FATE_LATER) {
            leave_alone(queue);
            return false;
        }
    }
    return true;
}

/* Once more after the lock is given back: who came meanwhile has seen that somebody sends. */
void notify_queue_send(struct notify_queue *queue, int64_t deadline_ms, struct notify_sent *out)
{
    const int64_t own_end_ms = clock_now_ms() + queue->conf->notify.timeout;
    deadline_ms = own_end_ms < deadline_ms ? own_end_ms : deadline_ms;
    bool goes_on = !is_left_alone(queue);
    for (int pass = 0; pass < PASSES_MAX && goes_on; pass++) {
        struct names names;
        int lock = try_lock(queue);
        if (lock < 0)
            return;
        goes_on = list_names(queue, &names) == 0 && names.n > 0 &&
                  send_all(queue, &names, deadline_ms, out);
        free(names.items);
        close(lock);
    }
}
