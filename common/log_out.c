/*
 * Lines leave in one write(2) or one datagram, so that threads need a lock for the syslog socket
 * alone. No malloc: xalloc reports through here when memory is out.
 */
#include "common/log_out.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"

enum { PREFIX_MAX = 128 };

static const char syslog_path[] = "/dev/log";

/* How bytes get out of stderr without waiting. */
enum stderr_kind {
    STDERR_PLAIN = 0, /* terminal, file: asked with poll first */
    STDERR_PIPE,      /* opened anew, not blocking */
    STDERR_SOCKET,
};

static struct {
    enum log_target target;
    enum stderr_kind stderr_kind;
    bool is_journal;
    int facility;
    atomic_bool
        is_line_cut; /* the last line went out in part: the next one starts with a line feed */
    _Atomic uint64_t n_lost;
    pthread_mutex_t syslog_mutex; /* guards syslog_fd */
    int syslog_fd;                /* -1: not connected */
} state = {
    .target = LOG_TARGET_STDERR,
    .facility = LOG_MAIL,
    .syslog_mutex = PTHREAD_MUTEX_INITIALIZER,
    .syslog_fd = -1,
};

static const int priorities[] = {
    [LOG_LEVEL_DEBUG] = LOG_DEBUG,
    [LOG_LEVEL_INFO] = LOG_INFO,
    [LOG_LEVEL_WARN] = LOG_WARNING,
    [LOG_LEVEL_ERROR] = LOG_ERR,
    [LOG_LEVEL_FATAL] = LOG_CRIT,
    [LOG_LEVEL_PANIC] = LOG_ALERT,
};

static const struct {
    const char *name;
    int number;
} facilities[] = {
    {"mail", LOG_MAIL},
    {"daemon", LOG_DAEMON},
    {"user", LOG_USER},
    {"auth", LOG_AUTH},
    {"authpriv", LOG_AUTHPRIV},
    {"cron", LOG_CRON},
    {"ftp", LOG_FTP},
    {"kern", LOG_KERN},
    {"lpr", LOG_LPR},
    {"news", LOG_NEWS},
    {"syslog", LOG_SYSLOG},
    {"uucp", LOG_UUCP},
    {"local0", LOG_LOCAL0},
    {"local1", LOG_LOCAL1},
    {"local2", LOG_LOCAL2},
    {"local3", LOG_LOCAL3},
    {"local4", LOG_LOCAL4},
    {"local5", LOG_LOCAL5},
    {"local6", LOG_LOCAL6},
    {"local7", LOG_LOCAL7},
};

int log_facility_from_text(const char *text, int *out)
{
    for (size_t i = 0; i < sizeof(facilities) / sizeof(facilities[0]); i++)
        if (strcmp(facilities[i].name, text) == 0) {
            *out = facilities[i].number;
            return 0;
        }
    return -ERR_BAD;
}

/* The journal names the device and inode of the socket it gave us; a redirected stderr is another
 * one. */
static bool stderr_is_journal(const struct stat *st)
{
    const char *text = getenv("JOURNAL_STREAM");
    char own[64];
    if (text == NULL)
        return false;
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
    return strcmp(own, text) == 0;
}

static bool is_dev_null(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

/*
 * A pipe may be shared with processes that want it blocking, so O_NONBLOCK goes on an open file
 * description of our own, under the same number: children inherit it, and no further descriptor has
 * to be kept open for the log.
 */
static bool reopen_stderr_nonblocking(void)
{
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_done = dup2(fd, STDERR_FILENO) == STDERR_FILENO;
    close(fd);
    return is_done;
}

/* Number 2 must never become the number of something else that log lines would then go to. */
static void open_null_as_stderr(void)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || fd == STDERR_FILENO)
        return;
    if (dup2(fd, STDERR_FILENO) == STDERR_FILENO)
        close(fd);
}

/* Looks at what stderr is; returns false when nobody can read it. */
static bool inspect_stderr(void)
{
    struct stat st;
    if (fstat(STDERR_FILENO, &st) != 0) {
        open_null_as_stderr();
        return false;
    }
    state.stderr_kind = STDERR_PLAIN;
    state.is_journal = stderr_is_journal(&st);
    if (S_ISFIFO(st.st_mode) && reopen_stderr_nonblocking())
        state.stderr_kind = STDERR_PIPE;
    else if (S_ISSOCK(st.st_mode))
        state.stderr_kind = STDERR_SOCKET;
    return !is_dev_null(&st);
}

void log_out_open(enum log_target target, const char *facility)
{
    bool is_readable = inspect_stderr();
    if (log_facility_from_text(facility, &state.facility) != 0)
        state.facility = LOG_MAIL;
    state.target = target;
    if (target == LOG_TARGET_AUTO)
        state.target = is_readable ? LOG_TARGET_STDERR : LOG_TARGET_SYSLOG;
}

int log_out_fd(void)
{
    pthread_mutex_lock(&state.syslog_mutex);
    int fd = state.syslog_fd;
    pthread_mutex_unlock(&state.syslog_mutex);
    return fd;
}

uint64_t log_out_n_lost(void)
{
    return atomic_load(&state.n_lost);
}

static void count_lost(void)
{
    atomic_fetch_add(&state.n_lost, 1);
}

static int connect_syslog(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, syslog_path, sizeof(syslog_path));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* The daemon behind the socket may have been started again since the last line: one further try
 * with a new socket. */
static bool send_syslog(const char *line, size_t len)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (state.syslog_fd < 0)
            state.syslog_fd = connect_syslog();
        if (state.syslog_fd < 0)
            return false;
        if (send(state.syslog_fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return true;
        if (errno == EAGAIN || errno == ENOBUFS || errno == EMSGSIZE)
            return false;
        close(state.syslog_fd);
        state.syslog_fd = -1;
    }
    return false;
}

static void write_syslog(const struct log_out_line *out)
{
    static const char months[12][4] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char line[PREFIX_MAX + LOG_LINE_MAX];
    time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    int len = snprintf(line, sizeof(line), "<%d>%s %2d %02d:%02d:%02d postern%s%.32s[%d]: %s%s%s",
        state.facility | priorities[out->level], months[tm.tm_mon], tm.tm_mday, tm.tm_hour,
        tm.tm_min, tm.tm_sec, out->component != NULL ? "-" : "",
        out->component != NULL ? out->component : "", (int)out->pid,
        out->is_bare ? "" : log_level_text(out->level), out->is_bare ? "" : ": ", out->text);
    size_t bytes = (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1;
    pthread_mutex_lock(&state.syslog_mutex);
    bool is_sent = send_syslog(line, bytes);
    pthread_mutex_unlock(&state.syslog_mutex);
    if (!is_sent)
        count_lost();
}

void log_out_time(char *out)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    snprintf(out, LOG_TIME_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
        tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(now.tv_nsec / 1000000));
}

static ssize_t write_now(const char *bytes, size_t len)
{
    if (state.stderr_kind == STDERR_SOCKET)
        return send(STDERR_FILENO, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (state.stderr_kind == STDERR_PLAIN &&
        (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0))
        return -1;
    return write(STDERR_FILENO, bytes, len);
}

/* What stands before the text: for the journal a priority, which has its own clock; for everybody
 * else the time (UTC). */
static int print_prefix(char *out, size_t out_bytes, const struct log_out_line *line)
{
    const char *dash = line->component != NULL ? "-" : "";
    const char *component = line->component != NULL ? line->component : "";
    char time[LOG_TIME_MAX];
    if (line->is_bare)
        return state.is_journal ? snprintf(out, out_bytes, "<%d>", priorities[line->level]) : 0;
    if (state.is_journal)
        return snprintf(out, out_bytes, "<%d>postern%s%.32s[%d]: %s: ", priorities[line->level],
            dash, component, (int)line->pid, log_level_text(line->level));
    log_out_time(time);
    return snprintf(out, out_bytes, "%s postern%s%.32s[%d]: %s: ", time, dash, component,
        (int)line->pid, log_level_text(line->level));
}

static void write_stderr(const struct log_out_line *out)
{
    char line[1 + PREFIX_MAX + LOG_LINE_MAX + 1];
    size_t len = 0;
    if (atomic_exchange(&state.is_line_cut, false))
        line[len++] = '\n';
    len += (size_t)print_prefix(line + len, PREFIX_MAX, out);
    size_t text_len = strlen(out->text);
    memcpy(line + len, out->text, text_len);
    len += text_len;
    line[len++] = '\n';
    ssize_t written = write_now(line, len);
    if (written == (ssize_t)len)
        return;
    if (written > 0 || line[0] == '\n')
        atomic_store(&state.is_line_cut, true);
    count_lost();
}

void log_out_write(const struct log_out_line *line)
{
    if (state.target == LOG_TARGET_SYSLOG)
        write_syslog(line);
    else if (state.target != LOG_TARGET_NONE)
        write_stderr(line);
}
