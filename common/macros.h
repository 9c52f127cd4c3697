/*
 * The macros that postern-milterd asks the mail server for: our own (macros.def) and those that
 * the configuration adds, by stage.
 */
#ifndef POSTERN_MACROS_H
#define POSTERN_MACROS_H

#include "common/conf.h"
#include "common/hook.h"

#define MACRO_SEPARATORS " \t,"

/* Names in one text, divided by MACRO_SEPARATORS; "" for none. They live as long as conf does. */
const char *macros_own(enum stage stage);
const char *macros_configured(const struct conf *conf, enum stage stage);

#endif
