/*
 * The protocol of Redis, version 2 (RESP2): commands are written as arrays of byte strings, replies
 * are read as items, each in its place in the buffer that holds them. Nothing is copied, and what a
 * server announces is bounded before it is waited for. Knows nothing of connections.
 */
#ifndef POSTERN_WORKER_RESP_H
#define POSTERN_WORKER_RESP_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum {
    RESP_DEPTH_MAX = 8,       /* arrays in arrays */
    RESP_LINE_MAX = 16384,    /* bytes of a status, of an error */
    RESP_ITEMS_MAX = 1000000, /* of all replies to one request */
};

/* The numbers are the bytes that stand for them; RESP_NIL is the empty string or array of -1. */
enum resp_type {
    RESP_NIL = 0,
    RESP_STATUS = '+',
    RESP_ERROR = '-',
    RESP_INTEGER = ':',
    RESP_BULK = '$',
    RESP_ARRAY = '*',
};

struct resp_item {
    enum resp_type type;
    int64_t integer;    /* RESP_INTEGER: its value; RESP_ARRAY: so many items follow */
    struct slice bytes; /* of a status, an error, a bulk string; borrowed from what was read */
};

/* ---- writing: 0 or -ERR_TOOBIG, which leaves `out` with a part of it ---- */

int resp_put_head(struct buf *out, size_t n_words); /* then so many … */
int resp_put_word(struct buf *out, struct slice word);
int resp_put_text(struct buf *out, const char *word);
int resp_put_number(struct buf *out, int64_t number);

/* ---- reading ---- */

/*
 * Takes the next item off the front of *in. 0; -ERR_AGAIN: it is not there whole; -ERR_BAD;
 * -ERR_TOOBIG: it is, or announces, more than max_bytes.
 */
int resp_take(struct slice *in, size_t max_bytes, struct resp_item *out);
/* Takes an item and, if it is an array, all in it. Only of replies that resp_scan has found whole.
 */
void resp_skip(struct slice *in);
bool resp_is_text(const struct resp_item *item); /* a status or a bulk string */

/* Looks for the end of so many replies, and goes on where it stopped. */
struct resp_scan {
    size_t at; /* bytes that are whole items */
    size_t left[RESP_DEPTH_MAX + 1];
    unsigned depth; /* 0: all are there */
    uint32_t n_items;
};

void resp_scan_init(struct resp_scan *scan, size_t n_replies);
/* in: all that was read. 0: they are its first scan->at bytes; else as resp_take. */
int resp_scan(struct resp_scan *scan, struct slice in, size_t max_bytes);

#endif
