/*
 * One count of a filter's counter, as a worker tells it: name, labels, what it is about, and how much is to be added. A row of them is the field
 * `counts` of record COUNTS (postern-protocol(7)). Whoever decodes one trusts nothing: what count_get gives can be shown and exported as it is.
 */
#ifndef POSTERN_COUNT_H
#define POSTERN_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

enum {
    COUNT_NAME_MAX = 64,   /* bytes, of a label's name too */
    COUNT_LABELS_MAX = 4,
    COUNT_VALUE_MAX = 128, /* of a label */
    COUNT_HELP_MAX = 200,
    COUNT_KEY_MAX = 1600,  /* what count_put_labels writes at most, and a name */
};

struct count_label {
    struct slice name, value;
};

struct count {
    struct slice name;
    struct slice help; /* "": told before, or never */
    struct count_label labels[COUNT_LABELS_MAX]; /* in the order of their names, none twice */
    unsigned n_labels;
    uint64_t add;
};

/* Letters, digits and _, no digit first, at most COUNT_NAME_MAX. A counter's name does not end in _total, which OpenMetrics adds; a label's does
 * not begin with __. */
bool count_name_is_valid(struct slice name);
bool count_label_is_valid(struct slice name);

/* Name and labels: what tells one count from another. 0 or -ERR_TOOBIG. */
int count_put_head(struct buf *out, const struct count *count);
/* The rest: head, help and number are one count. 0 or -ERR_TOOBIG, and then nothing was put. */
int count_put(struct buf *out, struct slice head, struct slice help, uint64_t add);
/* Reads and checks one; slices point into the buffer. 0, -ERR_SHORT, -ERR_TOOBIG, -ERR_BAD. */
int count_get(struct buf *in, struct count *out);

/* The labels as OpenMetrics writes them, without braces: kind="a",place="b". "" without labels. 0 or -ERR_TOOBIG. */
int count_put_labels(struct buf *out, const struct count *count);

#endif
