#include "multiplexor/front.h"

/* The front end's place, else that of the one that has been silent longest. */
static int find(struct fronts *fronts, uint32_t pid)
{
    int oldest = 0;
    for (int i = 0; i < FRONTS_MAX; i++) {
        if (fronts->known[i].pid == pid)
            return i;
        if (fronts->known[i].used < fronts->known[oldest].used)
            oldest = i;
    }
    fronts->known[oldest].pid = pid;
    fronts->known[oldest].last = (struct wire_counters){0};
    return oldest;
}

static uint64_t growth(uint64_t now, uint64_t before)
{
    return now >= before ? now - before : now;
}

void fronts_add(struct fronts *fronts, uint32_t pid, const struct wire_counters *counters)
{
    int i = find(fronts, pid);
    struct wire_counters *last = &fronts->known[i].last, *total = &fronts->total;
#define FRONT(name, help) total->name += growth(counters->name, last->name);
    FRONT_COUNTERS(FRONT)
#undef FRONT
    fronts->known[i].last = *counters;
    fronts->known[i].used = ++fronts->n_reports;
}

json_t *fronts_json(const struct fronts *fronts)
{
    json_t *object = json_object();
#define FRONT(name, help)                                                                          \
    json_object_set_new(object, #name, json_integer((json_int_t)fronts->total.name));
    FRONT_COUNTERS(FRONT)
#undef FRONT
    return object;
}
