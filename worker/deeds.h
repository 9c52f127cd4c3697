/*
 * Deeds: what a hook asks for outside the mail, and what is done when the hook has ended well and
 * before its answer is given: mail is kept (trap.h), notices are sent (notify.h). They are no
 * changes: a message that is refused or thrown away is kept all the same. What cannot be kept is
 * not accepted; what cannot be told is logged.
 */
#ifndef POSTERN_WORKER_DEEDS_H
#define POSTERN_WORKER_DEEDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/wire.h"

struct job;
struct mime_part;
struct tally;

/* By strictness: of several calls the strictest counts. */
enum trap_mode { TRAP_COPY = 0, TRAP_STORE, TRAP_DEFER, TRAP_MODES };

const char *trap_mode_name(enum trap_mode mode);

enum { DEEDS_NOTICES_MAX = 8, DEEDS_PARTS_MAX = 100, DEEDS_REASON_MAX = 500 };

struct deeds_part {
    const struct mime_part *part;
    const char *reason; /* clean (text_clean), one line */
    const char *where;  /* "filter.lua:12" */
};

struct deeds_notice {
    bool is_to_sender;          /* else to the administrator */
    struct slice subject, text; /* clean (text_clean) UTF-8 */
};

/* What one message's hook has asked for. In the arena of the job. */
struct deeds {
    bool has_trap;
    enum trap_mode mode;
    const char *reason; /* of all calls, separated by "; " */
    const char *where;  /* of the call that chose the mode */
    struct deeds_part parts[DEEDS_PARTS_MAX];
    uint32_t n_parts;
    struct deeds_notice notices[DEEDS_NOTICES_MAX];
    uint32_t n_notices;
};

/* Made at the first call. */
struct deeds *deeds_of(struct job *job);

/*
 * Does what was asked for, and makes of the reply what follows from it: discard for mail that is
 * stored, tempfail for mail that waits for a decision or cannot be kept. What was done goes into
 * the message's log line. Nothing when nothing was asked for.
 *
 * for_real     false: it is only told (posternctl run, a shadow).
 * deadline_ms  monotonic clock: notices wait in their queue from then on.
 * tally        counts what was done; NULL: nobody counts.
 */
void deeds_do(struct job *job, bool for_real, int64_t deadline_ms, struct tally *tally,
    struct wire_reply *reply);

/* For what does a deed. Adds to the message's log line, when there is room. */
void deeds_log(struct job *job, const char *key, const char *value);
/* One more of NAME{label=value}. */
void deeds_count(
    struct tally *tally, const char *name, const char *help, const char *label, const char *value);

#endif
