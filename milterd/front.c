#include "milterd/front.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "milterd/parcels.h"

void front_init(struct front *front, const struct conf *conf, struct ask_ops asker,
    struct generations *generations)
{
    memset(front, 0, sizeof *front);
    front->conf = conf;
    front->asker = asker;
    front->generations = generations;
    front->parcels = parcels_new(conf);
    macro_lists_init(&front->macros, conf);
}

/* Digits without those that a reader takes for another. */
static void put_digits(char *out, uint64_t value, unsigned n)
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

    for (unsigned i = n; i-- > 0; value >>= 5)
        out[i] = digits[value & 31];
}

/* 8 digits of milliseconds (34 years), 4 of the process, 4 of the counter: two front ends that
 * start together differ. */
void front_make_id(struct front *front, char *out, size_t out_bytes)
{
    LOG_INVARIANT(out_bytes >= 17);
    put_digits(out, (uint64_t)clock_wall_ms(), 8);
    put_digits(out + 8, (uint64_t)getpid(), 4);
    put_digits(out + 12, atomic_fetch_add(&front->next, 1), 4);
    out[16] = '\0';
}

void front_log_counters(struct front *front)
{
    struct front_counters *counters = &front->counters;

    log_info("end connections=%" PRIuFAST64 " turned_away=%" PRIuFAST64 " messages=%" PRIuFAST64
             " failures=%" PRIuFAST64 " bad_changes=%" PRIuFAST64 " not_applied=%" PRIuFAST64,
        atomic_load(&counters->connections), atomic_load(&counters->turned_away),
        atomic_load(&counters->messages), atomic_load(&counters->failures),
        atomic_load(&counters->bad_changes), atomic_load(&counters->not_applied));
}
