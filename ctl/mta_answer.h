/* What a milter's packets mean: answers to a stage, and changes at the end of the message. */
#ifndef POSTERN_CTL_MTA_ANSWER_H
#define POSTERN_CTL_MTA_ANSWER_H

#include <jansson.h>
#include <stdbool.h>

#include "common/action.h"
#include "common/arena.h"
#include "common/verdict.h"

struct mta_answer {
    enum verdict verdict;
    struct smtp_reply reply; /* code 0: the mail server's own */
    bool is_skip;            /* go on, and send no more of the body */
};

/* True when the packet answers a stage. Texts are copied into the arena. */
bool mta_answer_from_packet(
    char command, struct slice data, struct arena *arena, struct mta_answer *out);
/* "skip", or the verdict's name. */
const char *mta_answer_name(const struct mta_answer *answer);

/* True when the packet asks for a change, and is well-formed. Slices point into data. */
bool mta_action_from_packet(char command, struct slice data, struct action *out);
/* Adds it to a report's list; chunks of a body that follow one another are one action. */
void mta_add_action(json_t *actions, const struct action *action);

#endif
