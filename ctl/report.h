/*
 * What became of a message, as one JSON object that run and send build and both outputs print: the
 * line of --json, and the text for people. Members: file, verdict, reply, actions, parts, defects,
 * log, error; recipients (refused ones, only when there are any), stages (send only); and under
 * "shown" what only people get (where, delay_ms).
 */
#ifndef POSTERN_CTL_REPORT_H
#define POSTERN_CTL_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/action.h"
#include "common/verdict.h"
#include "worker/mime.h"

enum { REPORT_BODY_MAX = 1 << 20 }; /* of a new body shown in an action */

/* {"code","dsn","text"}, or null when code is 0. */
json_t *report_reply(const struct smtp_reply *reply);
/* {"action": name, and the fields its kind has}. */
json_t *report_action(const struct action *action);
/* The leaves of a message in order, and its defects. */
json_t *report_parts(struct mime *mime);
json_t *report_defects(struct mime *mime);
/* One refused recipient: {"address","verdict","reply"}. */
json_t *report_refusal(struct slice address, enum verdict verdict, const struct smtp_reply *reply);

/* Prints the object's line, or its text. */
void report_print_json(FILE *out, const json_t *report);
void report_print_text(FILE *out, const json_t *report);

#endif
