/* What a filter answered, as far as it is compared, and what the comparisons came to. */
#ifndef POSTERN_MULTIPLEXOR_SHADOW_ANSWER_H
#define POSTERN_MULTIPLEXOR_SHADOW_ANSWER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/hook.h"
#include "common/wire.h"

enum { SHADOW_SAMPLES_MAX = 1000 }; /* as in options.def */

struct shadow_answer {
    uint8_t outcome, verdict;
    bool is_whole_message;
    uint16_t code;
    uint32_t delay_ms;
    char dsn[13], where[129];
    char text[161];       /* the start of the reply text, for a sample */
    char actions[321];    /* the start of the list of actions, for a sample */
    uint64_t text_hash;   /* of all of it */
    uint64_t action_hash; /* of all actions, in order */
    size_t action_bytes;
};

/* One hook on which the two did not agree. */
struct shadow_sample {
    char uid[49], queue_id[65];
    enum hook hook;
    struct shadow_answer live, shadow;
};

struct shadow_tally {
    uint64_t compared, same;
    uint64_t verdicts, replies,
        actions;         /* comparisons in which it differs; one may count for more */
    uint64_t errors;     /* the shadow's hook failed, was cut off or died */
    uint64_t dropped;    /* hooks that it was not given: no worker in time, or no room */
    uint64_t incomplete; /* hooks of connections and messages whose beginning it has not seen */
    struct shadow_sample *samples; /* the newest, in a ring */
    unsigned n_samples, next_sample;
};

/* reply's slices must be readable. */
void shadow_answer_of(const struct wire_reply *reply, struct shadow_answer *out);
/* Counts one comparison and keeps it as a sample, of which there are at most max_samples. */
void shadow_compare(
    struct shadow_tally *tally, const struct shadow_sample *sample, unsigned max_samples);
void shadow_tally_clear(struct shadow_tally *tally);
/* Puts the numbers into object; with samples a list "samples", newest first. */
void shadow_tally_json(const struct shadow_tally *tally, bool with_samples, json_t *object);

#endif
