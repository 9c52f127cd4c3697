#include "ctl/mta.h"

#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>
#include <stdlib.h>
#include <string.h>

#include "common/action.h"
#include "common/address.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/header.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "ctl/milter_wire.h"
#include "ctl/mta_answer.h"
#include "ctl/render.h"
#include "ctl/report.h"

/* What we offer: all changes, all flags of protocol 6 that a mail server has (no larger packets).
 */
#define OFFERED_ACTIONS  SMFI_CURR_ACTS
#define OFFERED_PROTOCOL UINT32_C(0x1fffff)

enum { PROTOCOL_VERSION = 6, HEADERS_MAX = 1000000, COMMAND_MAX = 900000 };

struct mta {
    struct milter_wire wire;
    const struct transaction *transaction;
    const struct mail_file *mail;
    json_t *report;
    struct arena *arena;
    uint32_t protocol;     /* flags agreed on */
    bool is_over;          /* nothing more is to be sent for this message */
    uint32_t n_recipients; /* that were not refused */
};

static void fail(struct mta *mta, const char *doing, int rc)
{
    char *text = xasprintf("%s: %s", doing, err_text(rc));
    json_object_set_new(mta->report, "error", render_json_text(slice_text(text)));
    json_object_set_new(mta->report, "verdict", json_string("error"));
    free(text);
    mta->is_over = true;
}

static void note_stage(struct mta *mta, enum stage stage, const struct mta_answer *answer)
{
    json_array_append_new(json_object_get(mta->report, "stages"),
        json_pack("{s:s, s:s, s:o}", "stage", stage_name(stage), "answer", mta_answer_name(answer),
            "reply", report_reply(&answer->reply)));
}

/* Takes an answer as the verdict on the message. */
static void conclude(struct mta *mta, const struct mta_answer *answer)
{
    json_object_set_new(mta->report, "verdict", json_string(verdict_name(answer->verdict)));
    json_object_set_new(mta->report, "reply", report_reply(&answer->reply));
    mta->is_over = true;
}

/* Waits for the answer to a stage; progress only buys time. */
static int receive_answer(
    struct mta *mta, enum stage stage, int64_t timeout_ms, struct mta_answer *out)
{
    int n_actions = 0;
    for (;;) {
        char command;
        struct slice data;
        int rc = milter_wire_receive(&mta->wire, timeout_ms, &command, &data);
        if (rc < 0) {
            return rc;
        }
        if (command == SMFIR_PROGRESS) {
            continue;
        }
        if (mta_answer_from_packet(command, data, mta->arena, out)) {
            return 0;
        }
        struct action action;
        if (stage != STAGE_EOM || !mta_action_from_packet(command, data, &action) ||
            ++n_actions > MTA_ACTIONS_MAX) {
            return -ERR_BAD;
        }
        mta_add_action(json_object_get(mta->report, "actions"), &action);
    }
}

static void send_macros(struct mta *mta, enum stage stage)
{
    const struct transaction_macros *macros = &mta->transaction->macros[stage];
    struct buf data;
    buf_init(&data, COMMAND_MAX);
    int rc = buf_put_u8(&data, (uint8_t)milter_stage(stage)->command);
    for (uint32_t i = 0; i < macros->n && rc == 0; i++) {
        const struct envelope_macro *macro = &macros->items[i];
        rc = buf_put(&data, macro->name.data, macro->name.len);
        rc = rc == 0 ? buf_put_u8(&data, 0) : rc;
        rc = rc == 0 ? buf_put(&data, macro->value.data, macro->value.len) : rc;
        rc = rc == 0 ? buf_put_u8(&data, 0) : rc;
    }
    if (rc == 0 && macros->n > 0) {
        rc = milter_wire_send(&mta->wire, SMFIC_MACRO, buf_slice(&data), MTA_REPLY_MS);
    }
    buf_clear(&data);
    if (rc < 0) {
        fail(mta, "sending macros", rc);
    }
}

/*
 * Sends one command of a stage, unless the milter does not want it, and gets the answer where one
 * comes. answer  "continue" when none comes. Returns false when the conversation broke off.
 */
static bool ask(struct mta *mta, enum stage stage, struct slice data, struct mta_answer *answer)
{
    const struct milter_stage *info = milter_stage(stage);
    *answer = (struct mta_answer){.verdict = VERDICT_CONTINUE};
    if (mta->is_over || (mta->protocol & info->no_flag) != 0) {
        return !mta->is_over;
    }
    int rc = milter_wire_send(&mta->wire, info->command, data, MTA_REPLY_MS);
    if (rc == 0 && (mta->protocol & info->nr_flag) == 0) {
        rc = receive_answer(mta, stage, stage == STAGE_EOM ? MTA_END_MS : MTA_REPLY_MS, answer);
        if (rc == 0 && (stage != STAGE_HEADER || answer->verdict != VERDICT_CONTINUE) &&
            (stage != STAGE_BODY || answer->verdict != VERDICT_CONTINUE || answer->is_skip)) {
            note_stage(mta, stage, answer);
        }
    }
    if (rc < 0) {
        fail(mta, stage_name(stage), rc);
        return false;
    }
    return true;
}

/* The usual stage: macros, the command, and any answer but "go on" settles the message. */
static void play_stage(struct mta *mta, enum stage stage, struct slice data)
{
    struct mta_answer answer;
    if (mta->is_over || (mta->protocol & milter_stage(stage)->no_flag) != 0) {
        return;
    }
    send_macros(mta, stage);
    if (ask(mta, stage, data, &answer) && answer.verdict != VERDICT_CONTINUE) {
        conclude(mta, &answer);
    }
}

static void play_negotiation(struct mta *mta)
{
    struct buf offer;
    char command = 0;
    struct slice data = {0};
    uint32_t version = 0, actions = 0;
    buf_init(&offer, 64);
    (void)buf_put_u32(&offer, PROTOCOL_VERSION);
    (void)buf_put_u32(&offer, OFFERED_ACTIONS);
    (void)buf_put_u32(&offer, OFFERED_PROTOCOL);
    int rc = milter_wire_send(&mta->wire, SMFIC_OPTNEG, buf_slice(&offer), MTA_REPLY_MS);
    buf_clear(&offer);
    if (rc == 0) {
        rc = milter_wire_receive(&mta->wire, MTA_REPLY_MS, &command, &data);
    }
    if (rc == 0 &&
        (command != SMFIC_OPTNEG || !milter_take_u32(&data, &version) ||
            !milter_take_u32(&data, &actions) || !milter_take_u32(&data, &mta->protocol))) {
        rc = -ERR_BAD;
    }
    if (rc == 0 && (version < 2 || version > PROTOCOL_VERSION)) {
        rc = -ERR_VERSION;
    }
    if (rc < 0) {
        fail(mta, "negotiation", rc);
    }
}

static void put_text(struct buf *out, struct slice text)
{
    /* A NUL ends a text in this protocol, so none may be in it. */
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != 0 && buf_put_u8(out, (uint8_t)text.data[i]) < 0) {
            break;
        }
    }
    (void)buf_put_u8(out, 0);
}

static void play_connect(struct mta *mta)
{
    const struct transaction *t = mta->transaction;
    struct buf data;
    buf_init(&data, 4096);
    put_text(&data, t->hostname);
    (void)buf_put_u8(&data, (uint8_t)(t->family == 'l' ? SMFIA_UNIX : t->family));
    (void)buf_put_u16(&data, t->port);
    put_text(&data, t->family == 'l' ? slice_text("localhost") : t->ip);
    play_stage(mta, STAGE_CONNECT, buf_slice(&data));
    buf_clear(&data);
}

static void play_helo(struct mta *mta)
{
    struct buf data;
    buf_init(&data, 4096);
    put_text(&data, mta->transaction->helo);
    play_stage(mta, STAGE_HELO, buf_slice(&data));
    buf_clear(&data);
}

/* "<a@b>" NUL "SIZE=10" NUL "BODY=8BITMIME" NUL. */
static void put_envelope_address(struct buf *out, const struct transaction_address *address)
{
    put_text(out, address->address);
    struct slice args = address->args;
    while (args.len > 0) {
        const char *blank = memchr(args.data, ' ', args.len);
        size_t len = blank != NULL ? (size_t)(blank - args.data) : args.len;
        if (len > 0) {
            put_text(out, slice_of(args.data, len));
        }
        len += blank != NULL;
        args = slice_of(args.data + len, args.len - len);
    }
}

static void play_sender(struct mta *mta)
{
    struct buf data;
    buf_init(&data, 65536);
    put_envelope_address(&data, &mta->transaction->sender);
    play_stage(mta, STAGE_MAIL, buf_slice(&data));
    buf_clear(&data);
}

/* An answer to one recipient; true when it is taken. */
static bool judge_recipient(
    struct mta *mta, const struct transaction_address *rcpt, const struct mta_answer *answer)
{
    if (answer->verdict == VERDICT_CONTINUE) {
        return true;
    }
    if (answer->verdict == VERDICT_ACCEPT || answer->verdict == VERDICT_DISCARD) {
        conclude(mta, answer);
        return true;
    }
    json_array_append_new(json_object_get(mta->report, "recipients"),
        report_refusal(rcpt->address, answer->verdict, &answer->reply));
    return false;
}

static void play_recipients(struct mta *mta)
{
    const struct transaction *t = mta->transaction;
    struct mta_answer answer = {0};
    for (uint32_t i = 0; i < t->n_recipients && !mta->is_over; i++) {
        const struct transaction_address *rcpt = &t->recipients[i];
        struct buf data;
        buf_init(&data, 65536);
        put_envelope_address(&data, rcpt);
        if ((mta->protocol & SMFIP_NORCPT) == 0) {
            send_macros(mta, STAGE_RCPT);
        }
        if (ask(mta, STAGE_RCPT, buf_slice(&data), &answer)) {
            mta->n_recipients += judge_recipient(mta, rcpt, &answer) ? 1 : 0;
        }
        buf_clear(&data);
    }
    if (!mta->is_over && mta->n_recipients == 0) {
        conclude(mta, &answer); /* nobody left: the client has the last refusal */
    }
}

/* A value as mail servers send it: lines end with LF, and the blank after the colon only when it
 * was agreed on. */
static void put_header_value(struct mta *mta, struct buf *out, struct slice value)
{
    if ((mta->protocol & SMFIP_HDR_LEADSPC) == 0 && value.len > 0 && value.data[0] == ' ') {
        value = slice_of(value.data + 1, value.len - 1);
    }
    for (size_t i = 0; i < value.len; i++) {
        bool is_line_end = value.data[i] == '\r' && i + 1 < value.len && value.data[i + 1] == '\n';
        if (value.data[i] != 0 && !is_line_end && buf_put_u8(out, (uint8_t)value.data[i]) < 0) {
            break;
        }
    }
    (void)buf_put_u8(out, 0);
}

static void play_headers(struct mta *mta)
{
    struct header_list headers;
    if (mta->is_over || (mta->protocol & SMFIP_NOHDRS) != 0) {
        return;
    }
    header_list_scan(mta->mail->header, HEADERS_MAX, mta->arena, &headers);
    for (uint32_t i = 0; i < headers.n && !mta->is_over; i++) {
        struct mta_answer answer;
        struct buf data;
        buf_init(&data, COMMAND_MAX);
        put_text(&data, headers.items[i].name);
        put_header_value(mta, &data, headers.items[i].value);
        if (ask(mta, STAGE_HEADER, buf_slice(&data), &answer) &&
            answer.verdict != VERDICT_CONTINUE) {
            conclude(mta, &answer);
        }
        buf_clear(&data);
    }
}

static void play_body(struct mta *mta)
{
    struct slice left = mta->mail->body;
    bool skips = false;
    while (left.len > 0 && !skips && !mta->is_over && (mta->protocol & SMFIP_NOBODY) == 0) {
        size_t n = left.len < MILTER_CHUNK_MAX ? left.len : MILTER_CHUNK_MAX;
        struct mta_answer answer;
        if (ask(mta, STAGE_BODY, slice_of(left.data, n), &answer)) {
            skips = answer.is_skip;
            if (answer.verdict != VERDICT_CONTINUE) {
                conclude(mta, &answer);
            }
        }
        left = slice_of(left.data + n, left.len - n);
    }
}

static void play_end(struct mta *mta)
{
    struct mta_answer answer;
    if (mta->is_over) {
        return;
    }
    send_macros(mta, STAGE_EOM);
    if (ask(mta, STAGE_EOM, slice_of(NULL, 0), &answer)) {
        conclude(mta, &answer);
    }
}

/* A message that ended early is aborted; either way the connection ends in good order. */
static void play_close(struct mta *mta, bool was_ended)
{
    int rc = 0;
    if (!was_ended) {
        rc = milter_wire_send(&mta->wire, SMFIC_ABORT, slice_of(NULL, 0), MTA_REPLY_MS);
    }
    if (rc == 0) {
        (void)milter_wire_send(&mta->wire, SMFIC_QUIT, slice_of(NULL, 0), MTA_REPLY_MS);
    }
}

static void play(struct mta *mta)
{
    play_negotiation(mta);
    play_connect(mta);
    play_helo(mta);
    play_sender(mta);
    play_recipients(mta);
    play_stage(mta, STAGE_DATA, slice_of(NULL, 0));
    play_headers(mta);
    play_stage(mta, STAGE_EOH, slice_of(NULL, 0));
    play_body(mta);
    bool reaches_end = !mta->is_over;
    play_end(mta);
    play_close(mta, reaches_end);
}

/* Changes are applied only when the mail goes on. */
static void drop_actions_of_refused(json_t *report)
{
    const char *verdict = json_string_value(json_object_get(report, "verdict"));
    if (verdict == NULL || (strcmp(verdict, "continue") != 0 && strcmp(verdict, "accept") != 0)) {
        json_array_clear(json_object_get(report, "actions"));
    }
}

int mta_send(const struct sock_spec *spec, const struct transaction *transaction,
    const struct mail_file *mail, json_t *report)
{
    int fd;
    int rc = sock_connect(spec, SOCK_STREAM, MTA_CONNECT_MS, &fd);
    if (rc < 0) {
        return rc;
    }
    static const char *const lists[] = {"actions", "recipients", "stages"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        json_object_set_new(report, lists[i], json_array());
    }
    struct mta mta = {
        .transaction = transaction, .mail = mail, .report = report, .arena = arena_new()};
    milter_wire_init(&mta.wire, fd);
    play(&mta);
    drop_actions_of_refused(report);
    milter_wire_clear(&mta.wire);
    arena_free(mta.arena);
    return 0;
}
