/*
 * posternctl trap release: kept mail goes to its recipients, or to others, each once.
 *
 * What is about to be sent is written down before, and what came of it after: whoever was
 * interrupted between the two is told, and decides. Mail that waits for its sender's next try needs
 * no sending: the try goes on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/header.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "ctl/render.h"
#include "ctl/trap.h"
#include "ctl/trap_deliver.h"
#include "worker/trap.h"

struct release {
    const struct trap_ctl *ctl;
    const char *id;
    json_t *facts;            /* as they were at the start */
    bool is_for_others;       /* --to */
    struct slice *recipients; /* who still has to get it; borrowed from facts or argv */
    uint32_t n_recipients;
    struct smtp_send_answer *answers;
    struct smtp_send_result result;
    int rc; /* of the sending */
};

/* ---- what has been delivered ---- */

static json_t *find_delivery(const json_t *facts, struct slice address)
{
    size_t i;
    json_t *delivery;
    json_array_foreach(json_object_get(facts, "deliveries"), i, delivery)
    {
        if (address_is_same(slice_text(render_text_of(delivery, "address")), address)) {
            return delivery;
        }
    }
    return NULL;
}

static const char *delivery_state(const json_t *facts, struct slice address)
{
    return render_text_of(find_delivery(facts, address), "state");
}

static void set_delivery(json_t *facts, struct slice address, const char *state, const char *text)
{
    json_t *delivery = find_delivery(facts, address);
    if (delivery == NULL) {
        if (!json_is_array(json_object_get(facts, "deliveries"))) {
            json_object_set_new(facts, "deliveries", json_array());
        }
        delivery = json_object();
        json_object_set_new(delivery, "address", render_json_text(address));
        json_array_append_new(json_object_get(facts, "deliveries"), delivery);
    }
    json_object_set_new(delivery, "state", json_string(state));
    json_object_set_new(delivery, "time_ms", json_integer((json_int_t)clock_wall_ms()));
    json_object_set_new(delivery, "text", render_json_text(slice_text(text)));
}

/* ---- who gets it ---- */

static bool add_recipient(struct release *release, struct slice address)
{
    for (uint32_t i = 0; i < release->n_recipients; i++) {
        if (address_is_same(release->recipients[i], address)) {
            return true;
        }
    }
    bool is_forced = args_has(release->ctl->args, ARG_FORCE);
    const char *state = delivery_state(release->facts, address);
    if (strcmp(state, "sent") == 0) {
        return true;
    }
    if (strcmp(state, "sending") == 0 && !is_forced) {
        fprintf(stderr, "posternctl: %s: an earlier release was interrupted, and may have reached ",
            release->id);
        render_escaped(stderr, address);
        fprintf(stderr, "; --force sends it again\n");
        return false;
    }
    release->recipients[release->n_recipients++] = address;
    return true;
}

static bool take_others(struct release *release)
{
    const struct arg_values *to = &release->ctl->args->values[ARG_TO];
    release->recipients = xcalloc((size_t)to->n, sizeof(*release->recipients));
    for (int i = 0; i < to->n; i++) {
        struct slice address = address_strip(slice_text(to->items[i]));
        if (!address_is_valid(address, false)) {
            fprintf(stderr, "posternctl: --to: this is no mail address: ");
            render_escaped(stderr, address);
            fprintf(stderr, "\n");
            return false;
        }
        if (!add_recipient(release, address)) {
            return false;
        }
    }
    return true;
}

static bool take_recipients(struct release *release)
{
    const json_t *list = json_object_get(release->facts, "recipients");
    size_t i;
    json_t *recipient;
    if (release->is_for_others) {
        return take_others(release);
    }
    release->recipients = xcalloc(json_array_size(list) + 1, sizeof(*release->recipients));
    json_array_foreach(list, i, recipient)
    {
        if (!add_recipient(release, slice_text(render_text_of(recipient, "address")))) {
            return false;
        }
    }
    return true;
}

/* ---- writing it down ---- */

static int note_sending(json_t *facts, void *context)
{
    const struct release *release = context;
    for (uint32_t i = 0; i < release->n_recipients; i++) {
        set_delivery(facts, release->recipients[i], "sending", "");
    }
    return 0;
}

/* A try that comes after its recipients have got it must not reach them again. */
static int note_sent(json_t *facts, void *context)
{
    const struct release *release = context;
    bool is_sent = false;
    for (uint32_t i = 0; i < release->n_recipients && !release->result.may_be_taken; i++) {
        const struct smtp_send_answer *answer = &release->answers[i];
        bool is_taken = release->rc == 0 && answer->code >= 200 && answer->code < 300;
        set_delivery(facts, release->recipients[i], is_taken ? "sent" : "failed",
            answer->code != 0 ? answer->text : err_text(release->rc));
        is_sent = is_sent || is_taken;
    }
    if (is_sent && !release->is_for_others) {
        json_object_set_new(facts, "state", json_string("released"));
        json_object_set_new(facts, "handed_on", json_true());
    }
    trap_ctl_note(
        facts, is_sent ? release->is_for_others ? "sent to others" : "released" : "release failed");
    return 0;
}

static int note_decision(json_t *facts, void *context)
{
    (void)context;
    if (strcmp(render_text_of(facts, "state"), "released") == 0) {
        return -ERR_AGAIN;
    }
    json_object_set_new(facts, "state", json_string("released"));
    trap_ctl_note(facts, "released");
    return 0;
}

/* ---- sending ---- */

static int make_head(const struct release *release, struct slice message, char *out, size_t bytes)
{
    uint8_t secret[KEYED_HASH_BYTES];
    char mark[TRAP_MARK_MAX];
    size_t body_at = 0;
    int rc = release->ctl->store->calls->secret(release->ctl->store, secret);
    if (rc != 0) {
        return rc;
    }
    (void)header_block_length(message, &body_at);
    trap_mark_make(secret, release->id, clock_wall_ms() / 1000,
        slice_of(message.data + body_at, message.len - body_at), mark);
    snprintf(out, bytes, "%s: %s\r\n", TRAP_MARK_NAME, mark);
    return 0;
}

static void deliver(struct release *release, const struct buf *content, bool *reached_out)
{
    char head[TRAP_MARK_MAX + 64];
    struct smtp_send_mail mail = {
        .sender = slice_text(render_text_of(release->facts, "sender")),
        .recipients = release->recipients,
        .n_recipients = release->n_recipients,
        .message = buf_slice(content),
    };
    release->result.answers = release->answers;
    release->result.stage = "";
    release->rc = make_head(release, mail.message, head, sizeof(head));
    mail.head = slice_text(head);
    if (release->rc == 0) {
        release->rc = trap_deliver(release->ctl->conf, &mail, &release->result, reached_out);
    }
}

static void say_why(const struct release *release)
{
    const struct smtp_send_result *result = &release->result;
    fprintf(stderr, "posternctl: %s: %s: ", release->id, result->stage);
    if (release->rc == -ERR_DENIED) {
        fprintf(stderr, "%u ", result->last.code);
        render_escaped(stderr, slice_text(result->last.text));
    } else {
        fprintf(stderr, "%s", err_text(release->rc));
    }
    fprintf(stderr, "%s\n", result->may_be_taken ? "; it may have been taken" : "");
}

static int send_it(struct release *release)
{
    struct trap_store *store = release->ctl->store;
    struct buf content;
    bool is_reached = false;
    int rc = store->calls->read(store, release->id, &content);
    if (rc == 0) {
        rc = store->calls->change(store, release->id, note_sending, release);
        if (rc != 0) {
            buf_clear(&content);
        }
    }
    if (rc != 0) {
        return trap_ctl_fail(release->id, rc);
    }
    deliver(release, &content, &is_reached);
    buf_clear(&content);
    if (release->rc != 0) {
        say_why(release);
    }
    rc = store->calls->change(store, release->id, note_sent, release);
    if (rc != 0) {
        return trap_ctl_fail(release->id, rc);
    }
    if (!is_reached) {
        return EXIT_CODE_NO_SERVER;
    }
    for (uint32_t i = 0; i < release->n_recipients; i++) {
        if (release->rc != 0 || release->answers[i].code < 200 || release->answers[i].code > 299) {
            return EXIT_CODE_FOUND;
        }
    }
    return EXIT_CODE_OK;
}

/* ---- the whole ---- */

static void tell(const struct release *release)
{
    json_t *facts = NULL, *delivery;
    size_t i;
    if (release->ctl->store->calls->find(release->ctl->store, release->id, &facts) != 0) {
        return;
    }
    json_t *deliveries = json_object_get(facts, "deliveries");
    if (args_has(release->ctl->args, ARG_JSON)) {
        json_t *list = deliveries != NULL ? json_incref(deliveries) : json_array();
        json_t *line = json_pack("{s:s, s:s, s:o}", "id", release->id, "state",
            render_text_of(facts, "state"), "deliveries", list);
        render_json_line(stdout, line);
        json_decref(line);
    } else {
        printf("%s: %s\n", release->id, render_text_of(facts, "state"));
        json_array_foreach(deliveries, i, delivery)
        {
            printf("  ");
            render_escaped(stdout, slice_text(render_text_of(delivery, "address")));
            printf(" %s ", render_text_of(delivery, "state"));
            render_escaped(stdout, slice_text(render_text_of(delivery, "text")));
            printf("\n");
        }
    }
    json_decref(facts);
}

static const char *why_not(const struct release *release)
{
    const json_t *facts = release->facts;
    if (strcmp(render_text_of(facts, "kind"), "message") != 0) {
        return "it is a part; trap show --raw gives its content";
    }
    if (strcmp(render_text_of(facts, "state"), "refused") == 0 && !release->is_for_others &&
        !args_has(release->ctl->args, ARG_FORCE)) {
        return "it has been refused; --force releases it all the same";
    }
    return NULL;
}

/* Its sender tries again: that is enough, unless somebody asks for more. */
static bool waits(const struct release *release)
{
    const char *mode = render_text_of(release->facts, "mode");
    return strcmp(mode, "defer") == 0 && !release->is_for_others &&
           !args_has(release->ctl->args, ARG_NOW);
}

static int release_one(struct release *release)
{
    struct trap_store *store = release->ctl->store;
    const char *why = why_not(release);
    int code = EXIT_CODE_FOUND;
    if (why != NULL) {
        fprintf(stderr, "posternctl: %s: %s\n", release->id, why);
        return code;
    }
    if (waits(release)) {
        int rc = store->calls->change(store, release->id, note_decision, NULL);
        code = rc == 0 ? EXIT_CODE_OK : trap_ctl_fail(release->id, rc);
    } else if (take_recipients(release)) {
        release->answers = xcalloc(release->n_recipients + 1, sizeof(*release->answers));
        code = release->n_recipients > 0 ? send_it(release) : EXIT_CODE_OK;
    }
    tell(release);
    free(release->answers);
    free(release->recipients);
    return code;
}

int trap_ctl_release(const struct trap_ctl *ctl, const char *id)
{
    struct release release = {.ctl = ctl, .id = id, .is_for_others = args_has(ctl->args, ARG_TO)};
    int rc = ctl->store->calls->lock(ctl->store, id);
    if (rc == 0) {
        rc = ctl->store->calls->find(ctl->store, id, &release.facts);
    }
    int code = rc == 0 ? release_one(&release) : trap_ctl_fail(id, rc);
    json_decref(release.facts);
    ctl->store->calls->unlock(ctl->store);
    return code;
}
