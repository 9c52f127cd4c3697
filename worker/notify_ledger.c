/*
 * The file: slots of 16 bytes in the machine's own order, read and written under its lock.
 *
 *   slot 0                    all notices to senders in the present period
 *   N_SENDERS slots           by sender, in buckets
 *   N_NOTICES slots           notices made, in buckets
 *   a slot                    all notices to the administrator in the present period
 *
 * A slot belongs to a bucket by its key, which is a keyed hash: nobody can choose mail so that the
 * memory of another goes.
 */
#include "worker/notify_ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/io.h"

#define LEDGER_FILE "ledger"

enum {
    BUCKET = 8,
    N_SENDERS = 4096,
    N_NOTICES = 65536,
    SENDERS_AT = 1,
    NOTICES_AT = SENDERS_AT + N_SENDERS,
    ADMIN_AT = NOTICES_AT + N_NOTICES,
    LOCK_WAIT_MS = 2000,
    LOCK_PAUSE_MS = 5,
    NOTICE_SECS = 30 * 86400, /* so long a notice is remembered; MTAs try for five days */
};

struct slot {
    uint64_t key;
    uint32_t time_secs; /* when its period began, or it was made; 0: free */
    uint32_t count;
};

/* ---- slots ---- */

static int read_slots(int fd, uint64_t at, struct slot *slots, size_t n)
{
    memset(slots, 0, n * sizeof(*slots));
    const int rc = io_read_at(fd, slots, n * sizeof(*slots), at * sizeof(*slots));
    return rc == -ERR_SHORT ? 0 : rc; /* what was never written is free */
}

static int write_slot(int fd, uint64_t at, const struct slot *slot)
{
    return io_write_at(fd, slice_of(slot, sizeof(*slot)), at * sizeof(*slot));
}

/* The slot of a key in its bucket; a free one, or the oldest, when it has none. */
static int find_slot(
    int fd, uint64_t base, uint64_t n_slots, uint64_t key, uint64_t *at_out, struct slot *out)
{
    struct slot bucket[BUCKET];
    const uint64_t first = base + key % (n_slots / BUCKET) * BUCKET;
    const int rc = read_slots(fd, first, bucket, BUCKET);
    if (rc != 0)
        return rc;
    size_t best = 0;
    for (size_t i = 0; i < BUCKET; i++) {
        if (bucket[i].key == key && bucket[i].time_secs != 0) {
            *at_out = first + i;
            *out = bucket[i];
            return 0;
        }
        if (bucket[i].time_secs < bucket[best].time_secs)
            best = i;
    }
    *at_out = first + best;
    *out = (struct slot){.key = key};
    return 0;
}

/* A slot that counts within a period, at the present one. */
static void turn_period(struct slot *slot, uint32_t now, int64_t period_secs)
{
    if (slot->time_secs > now || (int64_t)(now - slot->time_secs) >= period_secs) {
        slot->time_secs = now;
        slot->count = 0;
    }
}

/* ---- the lock ---- */

static int try_lock(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EAGAIN || errno == EACCES ? -ERR_AGAIN : -ERR_SYSTEM;
}

static int open_locked(int folder, int *fd_out)
{
    static const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000};
    const int64_t end_ms = clock_now_ms() + LOCK_WAIT_MS;
    int fd = openat(folder, LEDGER_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -ERR_SYSTEM;
    int rc;
    while ((rc = try_lock(fd)) == -ERR_AGAIN && clock_now_ms() < end_ms)
        nanosleep(&pause, NULL);
    if (rc != 0) {
        close(fd);
        return rc == -ERR_AGAIN ? -ERR_TIMEOUT : rc;
    }
    *fd_out = fd;
    return 0;
}

/* ---- claims ---- */

struct places {
    uint64_t all_at, sender_at, notice_at;
    struct slot all, sender, notice;
};

static int look_up(int fd, uint64_t notice, uint64_t sender, struct places *out)
{
    out->all_at = sender != 0 ? 0 : ADMIN_AT;
    int rc = read_slots(fd, out->all_at, &out->all, 1);
    if (rc == 0 && sender != 0)
        rc = find_slot(fd, SENDERS_AT, N_SENDERS, sender, &out->sender_at, &out->sender);
    if (rc == 0)
        rc = find_slot(fd, NOTICES_AT, N_NOTICES, notice, &out->notice_at, &out->notice);
    return rc;
}

static int write_down(int fd, uint64_t sender, struct places *places, uint32_t now)
{
    places->all.count++;
    places->sender.count++;
    places->notice.time_secs = now;
    int rc = write_slot(fd, places->all_at, &places->all);
    if (rc == 0 && sender != 0)
        rc = write_slot(fd, places->sender_at, &places->sender);
    if (rc == 0)
        rc = write_slot(fd, places->notice_at, &places->notice);
    return rc == 0 && fdatasync(fd) != 0 ? -ERR_SYSTEM : rc;
}

static int claim(int fd, uint64_t notice, uint64_t sender, const struct notify_bounds *bounds,
    enum notify_claim *claim_out)
{
    const uint32_t now = (uint32_t)time(NULL);
    struct places places = {.sender_at = 0};
    int rc = look_up(fd, notice, sender, &places);
    if (rc != 0)
        return rc;
    const uint32_t made = places.notice.time_secs;
    turn_period(&places.all, now, bounds->period_secs);
    turn_period(&places.sender, now, bounds->period_secs);
    *claim_out = NOTIFY_CLAIMED;
    if (made != 0 && made <= now && now - made < NOTICE_SECS)
        *claim_out = NOTIFY_MADE;
    else if (places.all.count >= bounds->limit)
        *claim_out = NOTIFY_OVER_LIMIT;
    else if (sender != 0 && places.sender.count >= bounds->sender_limit)
        *claim_out = NOTIFY_SENDER_LIMIT;
    return *claim_out == NOTIFY_CLAIMED ? write_down(fd, sender, &places, now) : 0;
}

int notify_ledger_claim(int folder, uint64_t notice, uint64_t sender,
    const struct notify_bounds *bounds, enum notify_claim *claim_out)
{
    int fd;
    int rc = open_locked(folder, &fd);
    if (rc != 0)
        return rc;
    rc = claim(fd, notice, sender, bounds, claim_out);
    const int saved = errno;
    close(fd);
    errno = saved;
    return rc;
}

void notify_ledger_unclaim(int folder, uint64_t notice)
{
    struct slot slot;
    uint64_t at;
    int fd;
    if (open_locked(folder, &fd) != 0)
        return;
    if (find_slot(fd, NOTICES_AT, N_NOTICES, notice, &at, &slot) == 0 && slot.time_secs != 0) {
        slot = (struct slot){.key = 0};
        (void)write_slot(fd, at, &slot);
    }
    close(fd);
}
