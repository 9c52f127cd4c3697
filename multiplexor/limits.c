/* Keys, what they count, and who waits for them. */
#include "multiplexor/limits.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"
#include "multiplexor/request_route.h"

struct limit_rule {
    struct limit_spec spec;
    unsigned n_running, n_waiting, n_keys;
    uint64_t n_refused;
};

/* The limits of one configuration; lives until its last key has gone. */
struct limit_set {
    char *text;
    bool is_in_force;
    unsigned n_keys;
    unsigned n;
    struct limit_rule rules[LIMITS_MAX];
};

struct limit_key {
    LIST_ENTRY(limit_key) entry; /* of its bucket */
    TAILQ_ENTRY(limit_key) stuck_entry;
    struct limits *limits;
    struct limit_set *set;
    struct limit_rule *rule;
    struct request_list parked; /* by request->entry, the oldest first */
    unsigned n_users;           /* requests that point here */
    unsigned n_running, n_promised, n_parked;
    size_t len;
    char text[];
};

enum { KEY_TEXT_MAX = 256 };

/* ---- which limits are in force ---- */

void limits_init(struct limits *limits)
{
    *limits = (struct limits){.set = NULL};
    TAILQ_INIT(&limits->stuck);
    TAILQ_INIT(&limits->parked);
}

static void set_free(struct limit_set *set)
{
    free(set->text);
    free(set);
}

/* No longer in force: gone as soon as no key is of it. */
static void set_retire(struct limit_set *set)
{
    if (set == NULL)
        return;
    set->is_in_force = false;
    if (set->n_keys == 0)
        set_free(set);
}

void limits_clear(struct limits *limits)
{
    LOG_INVARIANT(TAILQ_EMPTY(&limits->parked));
    set_retire(limits->set);
    limits->set = NULL;
}

void limits_configure(struct mux *mux)
{
    struct limits *limits = &mux->limits;
    const char *text = mux->conf->multiplexor.limits;
    struct limit_spec specs[LIMITS_MAX];
    char why[160];
    unsigned n;
    if (limits->set != NULL && strcmp(limits->set->text, text) == 0)
        return;
    if (limit_specs_read(text, specs, &n, why, sizeof(why)) != 0)
        log_panic("multiplexor.limits was checked when it was loaded: %s", why);
    set_retire(limits->set);
    limits->set = NULL;
    if (n == 0)
        return;
    limits->set = xcalloc(1, sizeof(*limits->set));
    limits->set->text = xstrdup(text);
    limits->set->is_in_force = true;
    limits->set->n = n;
    for (unsigned i = 0; i < n; i++)
        limits->set->rules[i].spec = specs[i];
}

/* ---- keys ---- */

/* Chains are no longer than there are requests (queue_size and the workers), whoever chose the
 * texts. */
static struct limit_bucket *bucket_of(
    struct limits *limits, const struct limit_rule *rule, struct slice text)
{
    uint32_t hash = hash_more((uint32_t)((uintptr_t)rule >> 4), text);
    return &limits->buckets[(hash ^ hash >> 16) % LIMITS_BUCKETS];
}

static struct limit_key *key_get(struct limits *limits, struct limit_rule *rule, struct slice text)
{
    struct limit_bucket *bucket = bucket_of(limits, rule, text);
    struct limit_key *key;
    LIST_FOREACH(key, bucket, entry)
    {
        if (key->rule == rule && slice_equal(slice_of(key->text, key->len), text)) {
            key->n_users++;
            return key;
        }
    }
    key = xcalloc(1, sizeof(*key) + text.len);
    key->limits = limits;
    key->set = limits->set;
    key->rule = rule;
    key->n_users = 1;
    key->len = text.len;
    if (text.len > 0)
        memcpy(key->text, text.data, text.len);
    TAILQ_INIT(&key->parked);
    LIST_INSERT_HEAD(bucket, key, entry);
    rule->n_keys++;
    limits->set->n_keys++;
    return key;
}

static void key_put(struct limit_key *key)
{
    if (--key->n_users > 0)
        return;
    LOG_INVARIANT(key->n_running == 0 && key->n_promised == 0 && key->n_parked == 0);
    struct limit_set *set = key->set;
    LIST_REMOVE(key, entry);
    key->rule->n_keys--;
    set->n_keys--;
    free(key);
    if (set->n_keys == 0 && !set->is_in_force)
        set_free(set);
}

/* The client's network: "192.0.2.0/24", "2001:db8::/64" as limit_prefix4 and limit_prefix6 have it;
 * "" for a program of this host, and for what is no address. */
static struct slice network_text(const struct conf *conf, struct slice client, char *out)
{
    char address[INET6_ADDRSTRLEN] = "";
    uint8_t bytes[16];
    if (client.len > 0 && client.len < sizeof(address))
        memcpy(address, client.data, client.len);
    int family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
    if (inet_pton(family, address, bytes) != 1)
        return slice_text("");
    size_t n_bytes = family == AF_INET6 ? 16 : 4;
    size_t bits = (size_t)(family == AF_INET6 ? conf->multiplexor.limit_prefix6
                                              : conf->multiplexor.limit_prefix4);
    for (size_t i = 0; i < n_bytes; i++) {
        size_t kept = bits > 8 * i ? bits - 8 * i : 0;
        bytes[i] &= (uint8_t)(kept >= 8 ? 0xff : 0xff00 >> kept);
    }
    return inet_ntop(family, bytes, out, KEY_TEXT_MAX) != NULL ? slice_text(out) : slice_text("");
}

/* ---- a request's part in it ---- */

static bool text_of_key(const struct mux *mux, const struct limit_spec *spec, struct slice client,
    struct slice domain, char *room, struct slice *out)
{
    *out = slice_text("");
    if (spec->by == LIMIT_BY_NETWORK)
        *out = network_text(mux->conf, client, room);
    if (spec->by == LIMIT_BY_DOMAIN)
        *out = domain;
    return spec->by != LIMIT_BY_DOMAIN || domain.len > 0;
}

void limits_join(struct request *request, struct slice client, struct slice domain)
{
    struct limits *limits = &request->mux->limits;
    struct limit_hold hold = {.n = 0};
    if (limits->set == NULL)
        return;
    for (unsigned i = 0; i < limits->set->n && hold.n < LIMITS_PER_REQUEST; i++) {
        struct limit_rule *rule = &limits->set->rules[i];
        char room[KEY_TEXT_MAX];
        struct slice text;
        if (limit_spec_has(&rule->spec, request->hook) &&
            text_of_key(request->mux, &rule->spec, client, domain, room, &text))
            hold.keys[hold.n++] = key_get(limits, rule, text);
    }
    if (hold.n == 0)
        return;
    request->limits = xmalloc(sizeof(*request->limits));
    *request->limits = hold;
}

/* Out of those that are set aside. */
static void unpark(struct request *request)
{
    struct limit_key *key = request->limits->parked_on;
    TAILQ_REMOVE(&key->parked, request, entry);
    TAILQ_REMOVE(&key->limits->parked, request, parked_entry);
    request->limits->parked_on = NULL;
    key->rule->n_waiting--;
    request->mux->n_queued--;
    if (--key->n_parked == 0)
        TAILQ_REMOVE(&key->limits->stuck, key, stuck_entry);
}

/* The place kept for it is free again. */
static void break_promise(struct request *request)
{
    struct limit_key *key = request->limits->promised_by;
    if (key == NULL)
        return;
    request->limits->promised_by = NULL;
    key->n_promised--;
    if (key->n_parked > 0)
        mux_wake(request->mux);
}

void limits_leave(struct request *request)
{
    struct limit_hold *hold = request->limits;
    if (hold == NULL)
        return;
    if (hold->parked_on != NULL)
        unpark(request);
    break_promise(request);
    for (unsigned i = 0; i < hold->n; i++)
        key_put(hold->keys[i]);
    free(hold);
    request->limits = NULL;
}

void limits_on_run(struct request *request)
{
    struct limit_hold *hold = request->limits;
    if (hold == NULL)
        return;
    break_promise(request);
    for (unsigned i = 0; i < hold->n; i++) {
        hold->keys[i]->n_running++;
        hold->keys[i]->rule->n_running++;
    }
}

void limits_on_end(struct request *request)
{
    struct limit_hold *hold = request->limits;
    for (unsigned i = 0; hold != NULL && i < hold->n; i++) {
        hold->keys[i]->n_running--;
        hold->keys[i]->rule->n_running--;
        if (hold->keys[i]->n_parked > 0)
            mux_wake(request->mux);
    }
}

struct limit_key *limits_full(const struct request *request)
{
    const struct limit_hold *hold = request->limits;
    for (unsigned i = 0; hold != NULL && i < hold->n; i++) {
        struct limit_key *key = hold->keys[i];
        unsigned own = hold->promised_by == key ? 1 : 0;
        if (key->n_running + key->n_promised - own >= key->rule->spec.most)
            return key;
    }
    return NULL;
}

const char *limit_key_name(const struct limit_key *key)
{
    return key->rule->spec.name;
}

bool limit_key_refuses(const struct limit_key *key)
{
    return key->rule->spec.refuses;
}

void limit_key_count_refusal(struct limit_key *key)
{
    key->rule->n_refused++;
}

void limits_park(struct request *request, struct limit_key *key)
{
    struct limits *limits = key->limits;
    bool has_waited = request->limits->promised_by != NULL;
    break_promise(request);
    request->limits->parked_on = key;
    /* One that was given back and must wait again has its turn before those that came later. */
    if (has_waited)
        TAILQ_INSERT_HEAD(&key->parked, request, entry);
    else
        TAILQ_INSERT_TAIL(&key->parked, request, entry);
    TAILQ_INSERT_TAIL(&limits->parked, request, parked_entry);
    key->rule->n_waiting++;
    request->mux->n_queued++;
    if (key->n_parked++ == 0)
        TAILQ_INSERT_TAIL(&limits->stuck, key, stuck_entry);
}

struct request *limits_youngest(const struct limits *limits)
{
    return TAILQ_LAST(&limits->parked, request_list);
}

int64_t limits_oldest_ms(const struct limits *limits, int64_t now_ms)
{
    const struct request *first = TAILQ_FIRST(&limits->parked);
    return first != NULL ? now_ms - first->queued_us / 1000 : 0;
}

/* One goes back to its queue; a place is kept for it until it runs, waits for another limit, or
 * ends. */
static void give_back(struct limit_key *key)
{
    struct request *request = TAILQ_FIRST(&key->parked);
    unpark(request);
    request->limits->promised_by = key;
    key->n_promised++;
    request_unpark(request);
}

void limits_tend(struct mux *mux)
{
    struct limit_key *key, *next;
    for (key = TAILQ_FIRST(&mux->limits.stuck); key != NULL; key = next) {
        next = TAILQ_NEXT(key, stuck_entry);
        unsigned n_parked = key->n_parked;
        /* With the last of its requests a key goes. */
        key->n_users++;
        while (key->n_parked > 0 && n_parked-- > 0 &&
               (mux->is_stopping || key->n_running + key->n_promised < key->rule->spec.most))
            give_back(key);
        key_put(key);
    }
}

/* ---- what is told ---- */

json_t *limits_json(const struct mux *mux)
{
    json_t *list = json_array();
    const struct limit_set *set = mux->limits.set;
    for (unsigned i = 0; set != NULL && i < set->n; i++) {
        const struct limit_rule *rule = &set->rules[i];
        json_array_append_new(
            list, json_pack("{s:s, s:i, s:s, s:i, s:i, s:I, s:i}", "limit", rule->spec.name, "most",
                      (int)rule->spec.most, "over", rule->spec.refuses ? "refuse" : "wait",
                      "running", (int)rule->n_running, "waiting", (int)rule->n_waiting, "refused",
                      (json_int_t)rule->n_refused, "keys", (int)rule->n_keys));
    }
    return list;
}

static uint64_t running_of(const struct limit_rule *rule)
{
    return rule->n_running;
}

static uint64_t waiting_of(const struct limit_rule *rule)
{
    return rule->n_waiting;
}

static uint64_t refused_of(const struct limit_rule *rule)
{
    return rule->n_refused;
}

void limits_put(const struct limits *limits, struct buf *out)
{
    static const struct {
        const char *name, *type, *suffix, *help;
        uint64_t (*value)(const struct limit_rule *rule);
    } rows[] = {
        {"limit_running", "gauge", "", "requests running under a limit", running_of},
        {"limit_waiting", "gauge", "", "requests set aside for a limit", waiting_of},
        {"limit_refused", "counter", "_total", "requests that a limit had refused", refused_of},
    };
    for (size_t row = 0; limits->set != NULL && row < sizeof(rows) / sizeof(rows[0]); row++) {
        (void)buf_printf(out, "# TYPE postern_%s %s\n# HELP postern_%s %s\n", rows[row].name,
            rows[row].type, rows[row].name, rows[row].help);
        for (unsigned i = 0; i < limits->set->n; i++)
            (void)buf_printf(out, "postern_%s%s{limit=\"%s\"} %" PRIu64 "\n", rows[row].name,
                rows[row].suffix, limits->set->rules[i].spec.name,
                rows[row].value(&limits->set->rules[i]));
    }
}
