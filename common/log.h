/*
 * One log for the process: level filter, stderr or syslog, one line per call, control characters escaped, lines
 * bounded (LOG_LINE_MAX). Each line carries component and pid, and the context (connection, message) given with it.
 * The only mutable file-scope state outside main.c. Thread-safe; never blocks on a dead syslog; lines lost are counted.
 *
 * debug: for the developer. info: one line per message or state change. warn: we coped. error: a request or a worker
 * was lost. fatal: configuration or system, exits with the given code. panic: our bug, aborts without cleanup.
 */
#ifndef POSTERN_LOG_H
#define POSTERN_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum { LOG_LINE_MAX = 8192 };

enum log_level { LOG_LEVEL_DEBUG = 0, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_FATAL, LOG_LEVEL_PANIC };
enum log_format { LOG_FORMAT_TEXT = 0, LOG_FORMAT_JSON };
enum log_target { LOG_TARGET_AUTO = 0, LOG_TARGET_STDERR, LOG_TARGET_SYSLOG, LOG_TARGET_NONE };

/* Exit codes of every program. */
enum exit_code { EXIT_CODE_OK = 0, EXIT_CODE_FOUND = 1, EXIT_CODE_USAGE = 2, EXIT_CODE_NO_SERVER = 3, EXIT_CODE_SYSTEM = 71, EXIT_CODE_PROTOCOL = 76 };

/*
 * Starts the log.
 *
 * component  e.g. "milterd"; borrowed for the life of the process. Lines read
 *            "TIME postern-COMPONENT[PID]: LEVEL: text" on stderr and the same without time on syslog.
 * target     LOG_TARGET_AUTO: stderr when it is a terminal, a pipe or a file; syslog when stderr is /dev/null or closed.
 *            When stderr is the journal (JOURNAL_STREAM names it), lines get a "<N>" priority prefix and no time.
 * facility   a syslog facility name ("mail").
 * Before the call, lines of all levels from info up go to stderr.
 * Side effects: SIGPIPE is ignored from here on, unless the program handles it; a stderr that is a pipe is opened anew under its number, not
 * blocking; a closed one becomes /dev/null.
 */
void log_open(const char *component, enum log_target target, const char *facility, enum log_level min_level);
void log_set_level(enum log_level min_level);
/*
 * How lines look from now on. LOG_FORMAT_JSON: each is one object with time, program, pid, level, message, what the context names, and the fields
 * of log_fields; on syslog and in the journal it stands behind their own prefix. Before other threads start.
 */
void log_set_format(enum log_format format);
bool log_is_on(enum log_level level);
/* After a fork: the pid in the lines is taken anew, component may change (NULL keeps it). */
void log_reopen_child(const char *component);
/* The descriptor of the connection to syslog, -1 when there is none; proc_close_fds_except spares it. */
int log_fd(void);
/*
 * A prefix for every line of this process until it is changed, e.g. "uid=… hook=filter_message"; NULL ends it.
 * Only for single-threaded processes (the worker). Copied, cut at 256 bytes.
 */
void log_set_context(const char *context);
/* Lines that could not be written since the start. */
uint64_t log_lost_count(void);

/*
 * Receives each finished line (context and text, escaped, without time, component and level) instead of stderr or syslog; for posternctl run and
 * tests. NULL switches back.
 */
typedef void (*log_sink_cb)(enum log_level level, const char *line, void *context);
void log_set_sink(log_sink_cb sink, void *context);

void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_at(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_fatal(int exit_code, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
void log_panic(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A pair of a structured line. */
struct log_field {
    const char *key;   /* letters, digits, "_", "-", "."; borrowed */
    struct slice text; /* any bytes */
    bool is_number;    /* then number counts */
    uint64_t number;
};
/*
 * Writes a line about an event: "EVENT key=value key=\"a value\"" (a text that is empty is left out, as is what the line has no room for), or a
 * JSON object whose message is the event and whose members are the fields.
 */
void log_fields(enum log_level level, const char *event, const struct log_field *fields, size_t n);

/* States an invariant of ours, in release builds too; never for input. */
#define LOG_INVARIANT(cond)                                                                                            \
    ((cond) ? (void)0 : log_panic("%s:%d: invariant does not hold: %s", __FILE__, __LINE__, #cond))

const char *log_level_text(enum log_level level);
/* The number of a syslog facility ("mail", "local0" …). 0 or -ERR_BAD. */
int log_facility_from_text(const char *text, int *out);

#endif
