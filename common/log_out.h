/* How finished log lines leave the process; for log.c alone. Thread-safe; nothing waits: what
 * cannot be written at once is counted and dropped. */
#ifndef POSTERN_LOG_OUT_H
#define POSTERN_LOG_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/log.h"

enum { LOG_TIME_MAX = 96 };

struct log_out_line {
    enum log_level level;
    const char *component; /* NULL: none yet */
    pid_t pid;
    bool is_bare; /* says time, program and level itself: only what the journal and syslog need is
                     put before it */
    const char *text; /* less than LOG_LINE_MAX bytes */
};

/* Looks at stderr and decides where lines go (log_open). Before the call they go to stderr. */
void log_out_open(enum log_target target, const char *facility);
void log_out_write(const struct log_out_line *line);
int log_out_fd(void);          /* of the connection to syslog; -1 */
uint64_t log_out_n_lost(void); /* since the start */
/* "2026-11-22T05:13:12.123Z". out: LOG_TIME_MAX bytes. */
void log_out_time(char *out);

#endif
