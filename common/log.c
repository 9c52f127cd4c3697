/*
 * The process's log: what a line says, as text or as JSON. Lines are made on the caller's stack,
 * without malloc (xalloc reports through here when memory is out) but for those of many fields, and
 * leave through log_out.h.
 */
#include "common/log.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log_json.h"
#include "common/log_out.h"
#include "common/text.h"

enum {
    CONTEXT_MAX = 256,
    FIELD_MAX = 1200,                /* bytes of a field's text, escaped */
    FIELDS_MAX = LOG_LINE_MAX - 200, /* of an event's line */
};

static struct {
    const char *component; /* borrowed; NULL before log_open */
    pid_t pid;
    _Atomic int min_level;
    enum log_format format;
    char context[CONTEXT_MAX + 1];
    log_sink_cb sink;
    void *sink_context;
} state = {.min_level = LOG_LEVEL_INFO};

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_FATAL] = "fatal",
    [LOG_LEVEL_PANIC] = "panic",
};

const char *log_level_text(enum log_level level)
{
    return level <= LOG_LEVEL_PANIC ? level_names[level] : "?";
}

void log_open(
    const char *component, enum log_target target, const char *facility, enum log_level min_level)
{
    state.component = component;
    state.pid = getpid();
    atomic_store(&state.min_level, (int)min_level);
    log_out_open(target, facility);
    tzset(); /* reads a file, which a sandbox may forbid later */
    struct sigaction present;
    if (sigaction(SIGPIPE, NULL, &present) == 0 && present.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN); /* whoever reads our stderr may go away */
}

void log_set_level(enum log_level min_level)
{
    atomic_store(&state.min_level, (int)min_level);
}

void log_set_format(enum log_format format)
{
    state.format = format;
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&state.min_level, memory_order_relaxed);
}

void log_reopen_child(const char *component)
{
    state.pid = getpid();
    if (component != NULL)
        state.component = component;
}

int log_fd(void)
{
    return log_out_fd();
}

void log_set_context(const char *context)
{
    if (context == NULL)
        context = "";
    snprintf(state.context, sizeof(state.context), "%s", context);
}

uint64_t log_lost_count(void)
{
    return log_out_n_lost();
}

void log_set_sink(log_sink_cb sink, void *context)
{
    state.sink = sink;
    state.sink_context = context;
}

static pid_t own_pid(void)
{
    return state.pid != 0 ? state.pid : getpid();
}

static void write_out(enum log_level level, const char *text, bool is_bare)
{
    struct log_out_line line = {.level = level,
        .component = state.component,
        .pid = own_pid(),
        .is_bare = is_bare,
        .text = text};
    log_out_write(&line);
}

/* "uid=… hook=…" as members; a bare word is a hook. */
static void add_context(struct log_json *json)
{
    for (const char *at = state.context + strspn(state.context, " "); *at != '\0';) {
        size_t len = strcspn(at, " ");
        size_t key = strcspn(at, "= ");
        char name[16] = "hook";
        if (key < len && key < sizeof(name)) {
            memcpy(name, at, key);
            name[key] = '\0';
            log_json_text(json, name, slice_of(at + key + 1, len - key - 1), FIELD_MAX);
        } else {
            log_json_text(json, name, slice_of(at, len), FIELD_MAX);
        }
        at += len;
        at += strspn(at, " ");
    }
}

static void begin_json(struct log_json *json, char *out, enum log_level level, struct slice text)
{
    char time[LOG_TIME_MAX], program[64];
    log_out_time(time);
    snprintf(program, sizeof(program), "postern%s%.32s", state.component != NULL ? "-" : "",
        state.component != NULL ? state.component : "");
    log_json_begin(json, out, LOG_LINE_MAX);
    log_json_text(json, "time", slice_text(time), FIELD_MAX);
    log_json_text(json, "program", slice_text(program), FIELD_MAX);
    log_json_number(json, "pid", (uint64_t)own_pid());
    log_json_text(json, "level", slice_text(level_names[level]), FIELD_MAX);
    log_json_text(json, "message", text, LOG_LINE_MAX);
    add_context(json);
}

static void write_json(
    enum log_level level, struct slice text, const struct log_field *fields, size_t n)
{
    char line[LOG_LINE_MAX];
    struct log_json json;
    int saved_errno = errno;
    begin_json(&json, line, level, text);
    for (size_t i = 0; i < n; i++)
        if (fields[i].is_number)
            log_json_number(&json, fields[i].key, fields[i].number);
        else if (fields[i].text.len > 0)
            log_json_text(&json, fields[i].key, fields[i].text, FIELD_MAX);
    log_json_end(&json);
    write_out(level, line, true);
    errno = saved_errno;
}

static bool is_json(void)
{
    return state.format == LOG_FORMAT_JSON && state.sink == NULL;
}

static void write_line(enum log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void write_line(enum log_level level, const char *format, va_list args)
{
    char raw[LOG_LINE_MAX], text[LOG_LINE_MAX];
    int saved_errno = errno; /* callers log and then return the error */
    int context_len = state.context[0] == '\0' || is_json()
                          ? 0
                          : snprintf(raw, sizeof(raw), "%s ", state.context);
    int len = vsnprintf(raw + context_len, sizeof(raw) - (size_t)context_len, format, args);
    size_t raw_len = (size_t)context_len + (len > 0 ? (size_t)len : 0);
    if (raw_len >= sizeof(raw)) {
        memcpy(raw + sizeof(raw) - 4, "...", 3);
        raw_len = sizeof(raw) - 1;
    }
    if (is_json()) {
        write_json(level, slice_of(raw, raw_len), NULL, 0);
        errno = saved_errno;
        return;
    }
    text_escape_controls(text, sizeof(text), slice_of(raw, raw_len));
    if (state.sink != NULL)
        state.sink(level, text, state.sink_context);
    else
        write_out(level, text, false);
    errno = saved_errno;
}

/* A pair of the line; the line simply ends where it is full. */
static void put_field(struct buf *line, const struct log_field *field)
{
    char text[FIELD_MAX + 1];
    if (field->is_number) {
        (void)buf_printf(line, " %s=%" PRIu64, field->key, field->number);
        return;
    }
    if (field->text.len == 0)
        return;
    text_escape(text, sizeof(text), field->text, '"');
    if (strpbrk(text, " \"=") != NULL)
        (void)buf_printf(line, " %s=\"%s\"", field->key, text);
    else
        (void)buf_printf(line, " %s=%s", field->key, text);
}

void log_fields(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    struct buf line;
    if (!log_is_on(level))
        return;
    if (is_json()) {
        write_json(level, slice_text(event), fields, n);
        return;
    }
    buf_init(&line, FIELDS_MAX);
    (void)buf_printf(&line, "%s", event);
    for (size_t i = 0; i < n; i++)
        put_field(&line, &fields[i]);
    log_at(level, "%.*s", (int)line.len, (const char *)line.data);
    buf_clear(&line);
}

void log_at(enum log_level level, const char *format, ...)
{
    va_list args;
    if (!log_is_on(level))
        return;
    va_start(args, format);
    write_line(level, format, args);
    va_end(args);
}

#define LOG_FUNCTION(name, level)                                                                  \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list args;                                                                              \
        if (!log_is_on(level))                                                                     \
            return;                                                                                \
        va_start(args, format);                                                                    \
        write_line(level, format, args);                                                           \
        va_end(args);                                                                              \
    }
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)

void log_fatal(int exit_code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(LOG_LEVEL_FATAL, format, args);
    va_end(args);
    exit(exit_code);
}

void log_panic(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(LOG_LEVEL_PANIC, format, args);
    va_end(args);
    abort();
}
