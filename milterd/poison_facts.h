/* What is known about a message that killed two workers, as the JSON that stands beside it. */
#ifndef POSTERN_MILTERD_POISON_FACTS_H
#define POSTERN_MILTERD_POISON_FACTS_H

#include <jansson.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/hook.h"
#include "common/verdict.h"

enum { POISON_FACTS_RECIPIENTS = 100 }; /* told in the facts; the envelope's file has all */

struct poison_facts {
    char uid[48], queue_id[64];
    int64_t when_ms; /* since 1970 */
    enum hook hook;
    uint32_t generation;
    uint32_t recipient_number;
    uint64_t header_bytes, message_bytes;
    enum verdict verdict;
    uint16_t code;
    char *deaths; /* lines of a REPLY */
};

/* envelope: the parcel's region. A new reference; never NULL. */
json_t *poison_facts_json(const struct poison_facts *facts, struct slice envelope);

#endif
