/* Hooks and stages: the rows of hooks.def as data, and what a set of hooks needs from the MTA. */
#ifndef POSTERN_HOOK_H
#define POSTERN_HOOK_H

#include <stdbool.h>
#include <stdint.h>

/* In the order of an SMTP transaction; the numbers are on the wire and in the parcel. */
enum stage {
    STAGE_CONNECT = 0,
    STAGE_HELO,
    STAGE_MAIL,
    STAGE_RCPT,
    STAGE_DATA,
    STAGE_HEADER,
    STAGE_EOH,
    STAGE_BODY,
    STAGE_EOM,
    STAGE_ABORT,
    STAGE_CLOSE,
    STAGE_UNKNOWN,
    STAGE_COUNT,
    STAGE_NONE = 255,
};

#define STAGE_BIT(stage) (UINT32_C(1) << (stage))
/* Connection data and envelope are always seen: the log line of each message names them. */
#define SEES_CONNECTION (STAGE_BIT(STAGE_CONNECT) | STAGE_BIT(STAGE_HELO))
#define SEES_ENVELOPE   (SEES_CONNECTION | STAGE_BIT(STAGE_MAIL) | STAGE_BIT(STAGE_RCPT))
#define SEES_DATA       STAGE_BIT(STAGE_DATA)
#define SEES_HEADERS    STAGE_BIT(STAGE_HEADER)
#define SEES_EOH        STAGE_BIT(STAGE_EOH)
#define SEES_BODY       STAGE_BIT(STAGE_BODY)
#define SEES_UNKNOWN    STAGE_BIT(STAGE_UNKNOWN)
/* What libmilter always delivers, negotiated or not. */
#define STAGES_ALWAYS (STAGE_BIT(STAGE_EOM) | STAGE_BIT(STAGE_ABORT) | STAGE_BIT(STAGE_CLOSE))
#define STAGES_ALL    ((UINT32_C(1) << STAGE_COUNT) - 1)

enum subject { SUBJECT_NONE = 0, SUBJECT_CONNECTION, SUBJECT_MESSAGE, SUBJECT_RECIPIENT, SUBJECT_COMMAND };

enum hook_flags { HOOK_HAS_MSG = 1, HOOK_CHANGES = 2, HOOK_ONCE = 4, HOOK_LOCAL = 8 };

enum hook {
#define HOOK(id, name, sees, answers, subject, flags) HOOK_##id,
#include "common/hooks.def"
#undef HOOK
    HOOK_COUNT,
    HOOK_NONE = 255,
};

#define HOOK_BIT(hook) (UINT32_C(1) << (hook))

struct hook_info {
    enum hook hook;
    const char *name; /* "filter_relay" */
    uint32_t sees;    /* stage bits */
    enum stage answers;
    enum subject subject;
    unsigned flags; /* enum hook_flags */
};

/* Stage bits that a filter needs: seen ones, and those of them whose reply its hooks give. */
struct hook_needs {
    uint32_t hooks;   /* HOOK_BIT of each hook the filter defines */
    uint32_t sees;    /* includes SEES_ENVELOPE and STAGES_ALWAYS */
    uint32_t answers; /* subset of sees; includes STAGE_EOM */
};

const struct hook_info *hook_info(enum hook hook);          /* hook < HOOK_COUNT */
const struct hook_info *hook_find(const char *name);        /* NULL when it is none */
const char *hook_nearest(const char *name);                 /* "did you mean"; NULL when none is near */
enum hook hook_of_stage(enum stage stage);                  /* the hook that answers it; HOOK_NONE */
struct hook_needs hook_needs_of(uint32_t hooks);            /* of a set of hooks */
struct hook_needs hook_needs_union(struct hook_needs a, struct hook_needs b);
struct hook_needs hook_needs_all(void);                     /* every stage, every answer: when nothing is known */
/* Whether a connection that negotiated `have` can serve a filter that needs `want`: sees and answers are subsets, STAGES_ALWAYS apart. */
bool hook_needs_are_covered(struct hook_needs want, struct hook_needs have);

const char *stage_name(enum stage stage); /* "connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom", "abort", "close", "unknown" */

#endif
