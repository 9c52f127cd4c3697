/*
 * Which of the MTA's macros we ask for at each stage, and reading them anew at each stage, so that
 * a queue id that the MTA assigns late is seen.
 */
#ifndef POSTERN_MILTERD_MACROS_H
#define POSTERN_MILTERD_MACROS_H

#include <libmilter/mfapi.h>
#include <stdbool.h>

#include "common/buf.h"
#include "common/conf.h"
#include "common/hook.h"

enum { MACROS_PER_STAGE = 64, MACRO_VALUE_MAX = 1024 };

/* Names as libmilter knows them: "i", "{client_addr}". */
struct macro_lists {
    char *names[STAGE_COUNT][MACROS_PER_STAGE]; /* owned */
    unsigned n[STAGE_COUNT];
};

/* Our own lists and those of milterd.macros_*; a name beyond MACROS_PER_STAGE is left out with a
 * warning. */
void macro_lists_init(struct macro_lists *lists, const struct conf *conf);

/* Tells the MTA what we want to see (smfi_setsymlist); from negotiate only. A refusal by the
 * library is logged and changes nothing. */
void macros_negotiate(const struct macro_lists *lists, SMFICTX *ctx);

/*
 * Appends the stage's macros that have a value to an envelope region. Nothing is appended when none
 * has. 0 or -ERR_TOOBIG.
 */
int macros_put(const struct macro_lists *lists, SMFICTX *ctx, enum stage stage, struct buf *out);

/* One macro's value, borrowed until the callback returns; "" when the MTA did not send it. */
const char *macro_value(SMFICTX *ctx, const char *name);

#endif
