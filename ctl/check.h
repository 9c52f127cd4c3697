/* Loading a filter to see whether it does: for posternctl check and doctor. */
#ifndef POSTERN_CTL_CHECK_H
#define POSTERN_CTL_CHECK_H

#include <jansson.h>

#include "common/conf.h"

/*
 * Loads a filter in a process of its own, within load_time. Returns the object that "check --json"
 * prints (file, ok, hooks, sees, answers, warnings, error; posternctl(1) has it), a reference for
 * the caller.
 */
json_t *check_load(const struct conf *conf, const char *filter);

#endif
