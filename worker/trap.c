#include "worker/trap.h"

#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/err.h"
#include "common/xalloc.h"
#include "worker/job.h"
#include "worker/mime.h"
#include "worker/trap_facts.h"

static const char *const mode_names[TRAP_MODES] = {"copy", "store", "defer"};

const char *trap_mode_name(enum trap_mode mode)
{
    return mode_names[mode];
}

/* ---- ids ---- */

static int compare_slices(const void *left, const void *right)
{
    const struct slice *a = left, *b = right;
    const size_t common = a->len < b->len ? a->len : b->len;
    const int order = common > 0 ? memcmp(a->data, b->data, common) : 0;
    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

/*
 * The same for each try of a mail: whoever sends it again sends the same bytes, from and to the
 * same addresses, though over another connection, in another order, and with another queue id here.
 */
static int make_id(struct job *job, const uint8_t *secret, const char *sha256, const char *part,
    char out[TRAP_ID_CHARS + 1])
{
    uint8_t hash[KEYED_HASH_BYTES];
    if (job_need_recipients(job) != 0)
        return -ERR_BAD;
    const struct envelope *envelope = &job->envelope;
    struct slice *pieces = xcalloc(envelope->n_recipients + 3, sizeof(*pieces));
    size_t n = 3;
    pieces[0] = slice_text(part);
    pieces[1] = slice_text(sha256);
    pieces[2] = address_strip(envelope->sender);
    for (uint32_t i = 0; i < envelope->n_recipients; i++) {
        if (!envelope->recipients[i].is_refused)
            pieces[n++] = address_strip(envelope->recipients[i].address);
    }
    qsort(pieces + 3, n - 3, sizeof(*pieces), compare_slices);
    keyed_hash(secret, pieces, n, hash);
    keyed_hash_name(hash, out);
    free(pieces);
    return 0;
}

/* ---- writing one ---- */

static int write_new(struct trap_store *store, struct job *job, const struct trap_facts_more *more)
{
    struct trap_new entry = {.is_part = more->part != NULL};
    memcpy(entry.id, more->id, sizeof(entry.id));
    entry.content = entry.is_part ? mime_content(job_mime(job), more->part) : job->message;
    json_t *facts = trap_facts_new(job, more);
    char *text = facts != NULL ? json_dumps(facts, JSON_INDENT(1)) : NULL;
    entry.facts = slice_text(text);
    const int rc = text != NULL ? store->calls->keep(store, &entry) : -ERR_BAD;
    free(text);
    json_decref(facts);
    return rc;
}

/* ---- one that is there already ---- */

struct again {
    enum trap_mode mode;
    enum trap_fate fate;
};

static bool is_text(const json_t *facts, const char *name, const char *wanted)
{
    const char *text = json_string_value(json_object_get(facts, name));
    return text != NULL && strcmp(text, wanted) == 0;
}

/* A decision stands; else what the filter asks for now is what counts. */
static int take_again(json_t *facts, void *context)
{
    struct again *again = context;
    const bool is_defer = again->mode == TRAP_DEFER;
    again->fate = TRAP_KEPT;
    if (is_text(facts, "state", "refused") || is_text(facts, "state", "released")) {
        if (is_defer)
            again->fate = is_text(facts, "state", "refused")                  ? TRAP_REFUSED
                          : json_is_true(json_object_get(facts, "handed_on")) ? TRAP_SENT
                                                                              : TRAP_RELEASED;
        return -ERR_AGAIN;
    }
    if (is_defer)
        again->fate = TRAP_WAITING;
    if (is_text(facts, "mode", trap_mode_name(again->mode)))
        return -ERR_AGAIN;
    json_object_set_new(facts, "mode", json_string(trap_mode_name(again->mode)));
    json_object_set_new(facts, "state", json_string(is_defer ? "waiting" : "kept"));
    return 0;
}

/* ---- all that was asked for ---- */

static int keep_message(struct trap_store *store, const uint8_t *secret, struct job *job,
    const char *sha256, const struct wire_reply *reply, struct trap_result *out)
{
    const struct deeds *deeds = job->deeds;
    struct again again = {.mode = deeds->mode};
    struct trap_facts_more more = {.id = out->id,
        .mode = deeds->mode,
        .reason = deeds->reason,
        .where = deeds->where,
        .reply = reply};
    int rc = make_id(job, secret, sha256, "", out->id);
    if (rc == 0)
        rc = store->calls->change(store, out->id, take_again, &again);
    out->fate = again.fate;
    if (rc == -ERR_NOTFOUND) {
        rc = write_new(store, job, &more);
        out->is_new = rc == 0;
        out->fate = deeds->mode == TRAP_DEFER ? TRAP_WAITING : TRAP_KEPT;
        /* Another try of the same mail, at the same time, was a little faster. */
        return rc == -ERR_IN_USE ? 0 : rc;
    }
    return rc;
}

static int keep_parts(struct trap_store *store, const uint8_t *secret, struct job *job,
    const char *sha256, const struct wire_reply *reply)
{
    const struct deeds *deeds = job->deeds;
    int rc = 0;
    for (uint32_t i = 0; i < deeds->n_parts && rc == 0; i++) {
        const struct deeds_part *asked = &deeds->parts[i];
        char id[TRAP_ID_CHARS + 1];
        struct trap_facts_more more = {.id = id,
            .mode = TRAP_COPY,
            .reason = asked->reason,
            .where = asked->where,
            .part = asked->part,
            .reply = reply};
        rc = make_id(job, secret, sha256, asked->part->path, id);
        if (rc == 0)
            rc = write_new(store, job, &more);
        rc = rc == -ERR_IN_USE ? 0 : rc;
    }
    return rc;
}

int trap_keep(struct job *job, const struct wire_reply *reply, struct trap_result *out)
{
    uint8_t secret[KEYED_HASH_BYTES];
    struct trap_store *store = NULL;
    char sha256[65];
    *out = (struct trap_result){.fate = TRAP_KEPT};
    int rc = trap_store_open(job->conf, true, &store);
    if (rc == 0)
        rc = store->calls->secret(store, secret);
    trap_facts_sha256(job->message, sha256);
    if (rc == 0)
        rc = keep_parts(store, secret, job, sha256, reply);
    if (rc == 0 && job->deeds->has_trap)
        rc = keep_message(store, secret, job, sha256, reply, out);
    trap_store_close(store);
    return rc;
}
