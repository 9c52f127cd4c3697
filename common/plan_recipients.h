/* The part of plan_make that looks at recipients. Only plan.c calls it. */
#ifndef POSTERN_PLAN_RECIPIENTS_H
#define POSTERN_PLAN_RECIPIENTS_H

#include "common/plan.h"

/* Fills added and deleted. */
void plan_recipients_make(const struct action_list *actions, struct arena *arena, struct plan *out);

#endif
