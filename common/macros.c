/* Which names belong to which stage. */
#include "common/macros.h"

static const char *or_none(const char *text)
{
    return text != NULL ? text : "";
}

const char *macros_own(enum stage stage)
{
    static const char *const names[STAGE_COUNT] = {
#define MACROS(stage, names) [STAGE_##stage] = names,
#include "common/macros.def"
#undef MACROS
    };
    return or_none(names[stage]);
}

const char *macros_configured(const struct conf *conf, enum stage stage)
{
    const char *const names[STAGE_COUNT] = {
        [STAGE_CONNECT] = conf->milterd.macros_connect,
        [STAGE_HELO] = conf->milterd.macros_helo,
        [STAGE_MAIL] = conf->milterd.macros_mail,
        [STAGE_RCPT] = conf->milterd.macros_rcpt,
        [STAGE_DATA] = conf->milterd.macros_data,
        [STAGE_EOH] = conf->milterd.macros_eoh,
        [STAGE_EOM] = conf->milterd.macros_eom,
    };
    return or_none(names[stage]);
}
