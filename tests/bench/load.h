/*
 * The load program: plays the mail server's side of the milter protocol (version 6) over many
 * connections from one thread, and measures. load_script.c turns message files into wire bytes,
 * load_conn.c moves them, load_report.c counts and prints.
 */
#ifndef POSTERN_BENCH_LOAD_H
#define POSTERN_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/buf.h"

/* Protocol flags by wire value (libmilter/mfdef.h has the names). */
enum {
    NO_CONNECT = 0x1,
    NO_HELO = 0x2,
    NO_MAIL = 0x4,
    NO_RCPT = 0x8,
    NO_BODY = 0x10,
    NO_HEADERS = 0x20,
    NO_EOH = 0x40,
    NR_HEADERS = 0x80,
    NO_DATA = 0x200,
    CAN_SKIP = 0x400,
    NR_CONNECT = 0x1000,
    NR_HELO = 0x2000,
    NR_MAIL = 0x4000,
    NR_RCPT = 0x8000,
    NR_DATA = 0x10000,
    NR_EOH = 0x40000,
    NR_BODY = 0x80000,
    LEADING_SPACE = 0x100000,
    ALL_PROTOCOL = 0x1fffff,
    ALL_ACTIONS = 0x1ff,
    BODY_CHUNK = 65535,
    PACKET_MAX = 1 << 20, /* the largest packet taken from a milter */
    SCRIPT_MAX = 1 << 30,
};

enum load_result {
    LOAD_CONTINUE = 0,
    LOAD_ACCEPT,
    LOAD_REJECT,
    LOAD_TEMPFAIL,
    LOAD_DISCARD,
    LOAD_OTHER,
    LOAD_PROTOCOL_ERROR,
    LOAD_CLOSED,
    LOAD_TIMEOUT,
    LOAD_RESULT_COUNT
};

struct load_options {
    int connections;
    int messages_per_connection;
    int recipients;
    int reply_secs; /* patience for one reply */
    int total_secs; /* for all */
    long messages;
    double duration; /* no message is begun after so many seconds; 0: no limit */
    bool is_terse;   /* one line of KEY=VALUE */
    uint32_t offer;
    const char *address;
};

/* Bytes to send, and the places at which to wait for a reply. */
struct stop {
    size_t end;
    uint8_t command;
};
struct script {
    struct buf bytes;
    struct stop *stops;
    int n_stops;
    size_t end_of_body; /* where the end-of-message command starts */
    uint8_t first;      /* first command in it */
    int recipients;     /* whose replies are waited for */
};
struct mail {
    const char *file;
    struct buf raw; /* with CRLF */
    size_t header_bytes;
};
/* Scripts for one set of negotiated flags. */
struct scripts {
    uint32_t flags;
    struct script setup;
    struct script *mails; /* as many as there are files */
    struct scripts *next;
};

void mail_load(struct mail *mail, const char *file); /* exits with 2 when it cannot */
const struct scripts *scripts_for(
    uint32_t flags, const struct mail *mails, int n_mails, const struct load_options *options);
void packet_put(struct buf *out, uint8_t command, const void *data, size_t len);

struct load_totals {
    long begun, done, connects, retries, unexpected, progress;
    long results[LOAD_RESULT_COUNT];
    long actions[9], action_bytes;
    uint64_t sent, received, payload;
    int64_t start_us, last_us;
    uint32_t flags;
};
enum load_sample { SAMPLE_SETUP = 0, SAMPLE_MESSAGE, SAMPLE_END, SAMPLE_COUNT };
void sample_add(enum load_sample which, int64_t us);
void load_report(const struct load_totals *totals, const struct load_options *options);

/* Runs until all is done; returns the totals. */
void load_run(const struct load_options *options, const struct mail *mails, int n_mails,
    struct load_totals *totals);

/* Modification actions: wire code, name, the action flag that allows it. */
struct load_action {
    char code;
    const char *name;
    uint32_t flag;
};
extern const struct load_action load_actions[9];

#endif
