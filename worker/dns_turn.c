#include "worker/dns_turn.h"

unsigned dns_turn_next(
    const struct dns_turns *turns, unsigned n_servers, uint32_t *asked, int64_t now_ms)
{
    if (*asked == (1U << n_servers) - 1) {
        *asked = 0;
    }
    unsigned next = n_servers;
    for (unsigned i = 0; i < n_servers; i++) {
        if ((*asked & 1U << i) != 0) {
            continue;
        }
        if (turns->silent_until_ms[i] <= now_ms) {
            next = i;
            break;
        }
        next = next < n_servers ? next : i;
    }
    *asked |= 1U << next;
    return next;
}

void dns_turn_answered(struct dns_turns *turns, unsigned server, int64_t now_ms)
{
    turns->answered_ms[server] = now_ms;
    turns->silent_until_ms[server] = 0;
}

void dns_turn_silent(
    struct dns_turns *turns, unsigned server, int64_t asked_ms, int64_t now_ms, int64_t retry_ms)
{
    if (turns->answered_ms[server] < asked_ms) {
        turns->silent_until_ms[server] = now_ms + retry_ms;
    }
}
