/*
 * What all workers remember about notices: which were made already, and how many of late: for each
 * sender, to all senders, and to the administrator, whom mail that makes notices to senders cannot
 * silence. One file of fixed size; the oldest memory gives way to the newest.
 */
#ifndef POSTERN_WORKER_NOTIFY_LEDGER_H
#define POSTERN_WORKER_NOTIFY_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

enum notify_claim {
    NOTIFY_CLAIMED = 0,
    NOTIFY_MADE,         /* for this mail there was one before */
    NOTIFY_OVER_LIMIT,   /* notify.limit, of its kind */
    NOTIFY_SENDER_LIMIT, /* notify.sender_limit */
};

struct notify_bounds {
    int64_t limit, sender_limit; /* in a period; limit is that of each kind */
    int64_t period_secs;
};

/*
 * Claims a notice: from now on it counts as made, on the disk too.
 *
 * folder  a descriptor of the folder that has the file.
 * notice  a keyed hash of what it is about.
 * sender  one of its recipient when that is a mail's sender; 0: it is no such notice.
 * Returns 0 and *claim_out; -ERR_TIMEOUT (its lock) or -ERR_SYSTEM, and then it may not be made.
 */
int notify_ledger_claim(int folder, uint64_t notice, uint64_t sender,
    const struct notify_bounds *bounds, enum notify_claim *claim_out);
/* It could not be made after all. Best effort. */
void notify_ledger_unclaim(int folder, uint64_t notice);

#endif
