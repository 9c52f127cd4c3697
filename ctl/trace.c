/*
 * posternctl trace: a line for each entry of the front end's ring that is wanted, as it is written.
 * Looks a few times in a second, less often when there is nothing; goes on with the new file when
 * the front end starts again. Whoever reads too slowly loses entries and is told how many.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/text.h"
#include "common/trace_file.h"
#include "common/xalloc.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/trace_entry.h"
#include "ctl/trace_ring.h"
#include "ctl/trace_select.h"

enum {
    PAUSE_MIN_MS = 5,
    PAUSE_MAX_MS = 50,
    UNFINISHED_MS = 1000, /* an entry that is not whole after this never will be */
    LAST_MAX = 100000,
};

struct trace {
    struct trace_select select;
    bool is_json;
    int64_t lines_left; /* -1: no end */
    char path[TRACE_PATH_MAX];
    struct ring_reader reader;
    uint64_t n_lost;  /* of the reader's, told already */
    int64_t stuck_ms; /* since when it waits for one entry; 0: it does not */
};

static volatile sig_atomic_t is_ended;

static void on_signal(int number)
{
    (void)number;
    is_ended = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void print_line(const struct trace *trace, const json_t *entry)
{
    struct buf line;
    if (trace->is_json) {
        render_json_line(stdout, entry);
        return;
    }
    buf_init(&line, TRACE_LINE_MAX);
    trace_entry_line(entry, &line);
    render_escaped(stdout, buf_slice(&line));
    fputc('\n', stdout);
    buf_clear(&line);
}

/* Whether the entry is wanted. */
static bool is_wanted(const struct trace *trace, struct slice bytes)
{
    struct trace_view view;
    return trace_view_read(bytes, &view) == 0 && trace_select_has(&trace->select, &view);
}

static void print_entry(struct trace *trace, struct slice bytes)
{
    json_t *entry = is_wanted(trace, bytes) ? trace_entry_json(bytes) : NULL;
    if (entry != NULL && trace->lines_left != 0) {
        print_line(trace, entry);
        trace->lines_left -= trace->lines_left > 0 ? 1 : 0;
    }
    json_decref(entry);
}

/* Those of the newest n wanted ones that are in the file now. */
static void print_last(struct trace *trace, int64_t n)
{
    json_t **kept = xcalloc((size_t)n, sizeof(json_t *));
    uint64_t end = trace->reader.end;
    int64_t n_found = 0;
    while (trace->reader.next < end) {
        struct slice bytes;
        if (ring_next(&trace->reader, &bytes) != 0) {
            ring_skip(&trace->reader);
        } else if (is_wanted(trace, bytes)) {
            json_t **place = &kept[n_found++ % n];
            json_decref(*place);
            *place = trace_entry_json(bytes);
        }
    }
    for (int64_t i = n_found > n ? n_found - n : 0; i < n_found; i++) {
        if (kept[i % n] != NULL && trace->lines_left != 0) {
            print_line(trace, kept[i % n]);
            trace->lines_left -= trace->lines_left > 0 ? 1 : 0;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        json_decref(kept[i]);
    }
    free(kept);
    trace->n_lost = trace->reader.n_lost; /* older than what was asked for */
}

static void tell_lost(struct trace *trace)
{
    uint64_t n = trace->reader.n_lost - trace->n_lost;
    trace->n_lost = trace->reader.n_lost;
    if (n == 0) {
        return;
    }
    fflush(stdout);
    fprintf(stderr,
        "posternctl: %" PRIu64 " slots of the ring (an entry has one to %d) were lost: written "
        "faster than read\n",
        n, RING_PARTS_MAX);
}

/* Prints what there is. Says whether that was anything. */
static bool read_on(struct trace *trace)
{
    bool is_any = false;
    struct slice bytes;
    while (!is_ended && trace->lines_left != 0 && ring_next(&trace->reader, &bytes) == 0) {
        print_entry(trace, bytes);
        trace->stuck_ms = 0;
        is_any = true;
    }
    fflush(stdout);
    tell_lost(trace);
    return is_any;
}

/* Does not wait for ever for a writer that has died. */
static void pass_unfinished(struct trace *trace)
{
    int64_t now_ms = clock_now_ms();
    if (ring_is_at_end(&trace->reader)) {
        trace->stuck_ms = 0;
    } else if (trace->stuck_ms == 0) {
        trace->stuck_ms = now_ms;
    } else if (now_ms - trace->stuck_ms >= UNFINISHED_MS) {
        ring_skip(&trace->reader);
    }
}

/* The front end has started again: what is left of the old file first, then all of the new one. */
static void change_file(struct trace *trace)
{
    struct ring_reader fresh;
    struct stat st;
    if (stat(trace->path, &st) != 0 || (uint64_t)st.st_ino == trace->reader.inode) {
        return;
    }
    if (ring_reader_open(&fresh, trace->path) != 0) {
        ring_reader_close(&fresh); /* not finished yet */
        return;
    }
    read_on(trace);
    ring_reader_close(&trace->reader);
    trace->reader = fresh;
    trace->n_lost = 0;
    trace->stuck_ms = 0;
}

static void follow(struct trace *trace)
{
    int pause_ms = PAUSE_MIN_MS;
    while (!is_ended && trace->lines_left != 0 && !ferror(stdout)) {
        if (read_on(trace)) {
            pause_ms = PAUSE_MIN_MS;
            continue;
        }
        pass_unfinished(trace);
        change_file(trace);
        poll(NULL, 0, pause_ms);
        pause_ms = 2 * pause_ms < PAUSE_MAX_MS ? 2 * pause_ms : PAUSE_MAX_MS;
    }
}

/* A number of lines, absent when the option is not given. */
static bool read_number(
    const struct args *args, enum arg arg, int64_t max, int64_t absent, int64_t *out)
{
    const char *given = args_get(args, arg);
    *out = absent;
    if (given == NULL || text_to_i64(given, 1, max, out) == 0) {
        return true;
    }
    fprintf(stderr, "posternctl: --%s takes a number from 1 to %" PRId64 "\n",
        arg == ARG_LAST ? "last" : "count", max);
    return false;
}

static int run(struct trace *trace, int64_t n_last)
{
    int rc = ring_reader_open(&trace->reader, trace->path);
    if (rc != 0) {
        int code = trace_ring_fail(trace->path, rc);
        ring_reader_close(&trace->reader);
        return code;
    }
    if (n_last > 0) {
        print_last(trace, n_last);
    } else {
        ring_seek_end(&trace->reader);
    }
    catch_signals();
    follow(trace);
    ring_reader_close(&trace->reader);
    return EXIT_CODE_OK;
}

int command_trace(const struct args *args)
{
    struct trace trace = {.is_json = args_has(args, ARG_JSON)};
    struct conf *conf;
    int64_t n_last;
    if (!trace_select_read(args, &trace.select) ||
        !read_number(args, ARG_LINES, INT64_MAX, -1, &trace.lines_left) ||
        !read_number(args, ARG_LAST, LAST_MAX, 0, &n_last)) {
        return EXIT_CODE_USAGE;
    }
    int code = trace_ring_conf(args, &conf);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    trace_path(conf, trace.path);
    code = run(&trace, n_last);
    conf_free(conf);
    return code;
}
