/* Hooks and stages. All knowledge is in hooks.def; this file only looks things up in it. */
#include "common/hook.h"

#include <string.h>

#include "common/log.h"
#include "common/text.h"

static const struct hook_info hooks[] = {
#define HOOK(id, name, sees, answers, subject, flags)                                              \
    [HOOK_##id] = {HOOK_##id, name, sees, answers, subject, flags},
#include "common/hooks.def"
#undef HOOK
};
_Static_assert(sizeof(hooks) / sizeof(hooks[0]) == HOOK_COUNT, "one row for each hook");
_Static_assert(HOOK_COUNT <= 32, "hooks travel as bits of a u32");

static const char *const hook_names[] = {
#define HOOK(id, name, sees, answers, subject, flags) name,
#include "common/hooks.def"
#undef HOOK
    NULL,
};

static const char *const stage_names[STAGE_COUNT] = {
    [STAGE_CONNECT] = "connect",
    [STAGE_HELO] = "helo",
    [STAGE_MAIL] = "mail",
    [STAGE_RCPT] = "rcpt",
    [STAGE_DATA] = "data",
    [STAGE_HEADER] = "header",
    [STAGE_EOH] = "eoh",
    [STAGE_BODY] = "body",
    [STAGE_EOM] = "eom",
    [STAGE_ABORT] = "abort",
    [STAGE_CLOSE] = "close",
    [STAGE_UNKNOWN] = "unknown",
};

const struct hook_info *hook_info(enum hook hook)
{
    LOG_INVARIANT(hook < HOOK_COUNT);
    return &hooks[hook];
}

const struct hook_info *hook_find(const char *name)
{
    for (int i = 0; i < HOOK_COUNT; i++)
        if (strcmp(hooks[i].name, name) == 0)
            return &hooks[i];
    return NULL;
}

const char *hook_nearest(const char *name)
{
    return text_nearest(name, hook_names);
}

enum hook hook_of_stage(enum stage stage)
{
    for (int i = 0; i < HOOK_COUNT; i++)
        if (stage != STAGE_NONE && hooks[i].answers == stage)
            return hooks[i].hook;
    return HOOK_NONE;
}

struct hook_needs hook_needs_of(uint32_t set)
{
    struct hook_needs needs = {
        .sees = SEES_ENVELOPE | STAGES_ALWAYS,
        .answers = STAGE_BIT(STAGE_EOM),
    };
    for (int i = 0; i < HOOK_COUNT; i++) {
        if ((set & HOOK_BIT(i)) == 0)
            continue;
        needs.hooks |= HOOK_BIT(i);
        needs.sees |= hooks[i].sees;
        if (hooks[i].answers != STAGE_NONE)
            needs.answers |= STAGE_BIT(hooks[i].answers);
    }
    needs.sees |= needs.answers;
    return needs;
}

struct hook_needs hook_needs_union(struct hook_needs a, struct hook_needs b)
{
    return (struct hook_needs){
        .hooks = a.hooks | b.hooks,
        .sees = a.sees | b.sees,
        .answers = a.answers | b.answers,
    };
}

struct hook_needs hook_needs_all(void)
{
    return (struct hook_needs){
        .hooks = (UINT32_C(1) << HOOK_COUNT) - 1,
        .sees = STAGES_ALL,
        .answers = STAGES_ALL,
    };
}

bool hook_needs_are_covered(struct hook_needs want, struct hook_needs have)
{
    /*
     * What libmilter delivers in any case needs no negotiation: a filter that gains filter_close is
     * served at once.
     */
    uint32_t sees = have.sees | STAGES_ALWAYS;
    uint32_t answers = have.answers | STAGES_ALWAYS;

    return (want.sees & ~sees) == 0 && (want.answers & ~answers) == 0;
}

const char *stage_name(enum stage stage)
{
    return stage < STAGE_COUNT ? stage_names[stage] : "?";
}
