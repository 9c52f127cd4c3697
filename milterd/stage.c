#include "milterd/stage.h"

#include <string.h>

#include "common/log.h"
#include "milterd/answer.h"
#include "milterd/apply.h"
#include "milterd/consult.h"
#include "milterd/front.h"
#include "milterd/record.h"
#include "milterd/trace.h"

enum { ACTIONS_TEXT_MAX = 256 };

/* What is being judged, besides the connection and the message. */
struct matter {
    enum stage stage;
    struct question question;
    const char *recipient; /* RCPT: as received */
    bool is_unlisted;      /* RCPT: it did not get into the envelope */
};

static bool has_reply(const struct conn *conn, enum stage stage)
{
    return (conn->no_reply & STAGE_BIT(stage)) == 0;
}

static sfsistat reply(const struct conn *conn, enum stage stage, sfsistat code)
{
    return has_reply(conn, stage) ? code : SMFIS_NOREPLY;
}

/* A message's command without a message: a client that does not follow the protocol. */
static sfsistat reply_out_of_order(const struct conn *conn, enum stage stage)
{
    return reply(conn, stage, SMFIS_TEMPFAIL);
}

static void end_message(struct conn *conn, const struct decision *decision, const char *actions)
{
    record_message(conn, decision, actions);
    trace_message(conn, decision, actions);
    message_close(conn);
}

static const struct {
    const char *outcome;
    uint16_t code;
    const char *dsn, *text;
} refusal_rows[] = {
    [REFUSAL_RECIPIENTS] = {"recipients", 452, "4.5.3", "Too many recipients"},
    [REFUSAL_ADDRESS] = {"address", 553, "5.1.7", "Address too long"},
    [REFUSAL_DRAINING] = {"stopping", 421, "4.3.2", "Service is restarting, please try again"},
};

/* The answer to a refusal remembered from an earlier stage. */
static void decide_refusal(struct conn *conn, enum refusal refusal, struct decision *decision)
{
    const struct conf *conf = conn->front->conf;
    const char *uid = conn->message.uid;

    if (refusal == REFUSAL_OVERSIZE) {
        decision->outcome = "oversize";
        decision_set_failure(decision, FAILURE_CAUSE_OVERSIZE, conf->milterd.on_oversize, uid);
    } else if (refusal == REFUSAL_PARCEL) {
        decision->outcome = "parcel";
        decision_set_failure(decision, FAILURE_CAUSE_NOBODY, conf->milterd.on_failure, uid);
    } else {
        decision->outcome = refusal_rows[refusal].outcome;
        decision_set_refusal(decision, refusal_rows[refusal].code, refusal_rows[refusal].dsn,
            refusal_rows[refusal].text);
    }
    if (decision->verdict == VERDICT_ACCEPT) /* an option's: the message goes on as it came */
        conn->message.has_no_changes = true;
}

/* accept in the middle of a message: at once where that loses nothing, else at its end. */
static sfsistat accept_message(
    struct conn *conn, const struct matter *matter, struct decision *decision)
{
    struct message *message = &conn->message;

    if (decision->is_failure)
        message->has_no_changes = true;
    if (has_reply(conn, matter->stage) && !apply_is_pending(conn)) {
        end_message(conn, decision, "");
        return SMFIS_ACCEPT;
    }
    message->is_accepted = true;
    message->refusal = REFUSAL_NONE;
    decision_move(&message->decision, decision);
    if (matter->stage == STAGE_BODY && conn->has_skip)
        return reply(conn, STAGE_BODY, SMFIS_SKIP);
    return reply(conn, matter->stage, SMFIS_CONTINUE);
}

static void refuse_recipient(
    struct conn *conn, const struct matter *matter, const struct decision *decision)
{
    record_recipient(conn, decision, matter->recipient);
    if (!matter->is_unlisted && conn->parcel != NULL)
        message_put_refused(conn, matter->question.recipient_number);
    else
        conn->message.n_refused++;
}

/* End of message: what was asked for is applied, or the message does not go on. */
static sfsistat deliver(struct conn *conn, sfsistat code, struct decision *decision)
{
    struct message *message = &conn->message;
    char actions[ACTIONS_TEXT_MAX];

    if (message->is_accepted)
        decision_move(decision, &message->decision);
    switch (apply_changes(conn, actions, sizeof actions)) {
    case APPLY_DONE:
        break;
    case APPLY_NO_RECIPIENTS:
        decision->verdict = VERDICT_DISCARD;
        code = SMFIS_DISCARD;
        break;
    case APPLY_BAD:
    case APPLY_FAILED:
        decision->outcome = "bad_changes";
        decision_set_failure(decision, FAILURE_CAUSE_NOBODY, FAILURE_TEMPFAIL, message->uid);
        answer_set_reply(conn->ctx, decision);
        code = SMFIS_TEMPFAIL;
        break;
    }
    end_message(conn, decision, actions);
    return code;
}

/* Turns a decision into what the MTA gets and what it does to the thing judged. Takes the decision.
 */
static sfsistat give(struct conn *conn, const struct matter *matter, struct decision *decision)
{
    struct answer_row row = answer_row(matter->stage, decision->verdict);
    sfsistat code = reply(conn, matter->stage, row.code);

    decision->stage = matter->stage;
    if (code == SMFIS_REJECT || code == SMFIS_TEMPFAIL)
        answer_set_reply(conn->ctx, decision);
    switch (row.effect) {
    case EFFECT_GO_ON:
    case EFFECT_NONE:
    case EFFECT_REFUSE_COMMAND:
        break;
    case EFFECT_MISTAKE:
    case EFFECT_REFUSE_CONNECTION:
        record_connection(conn, decision);
        break;
    case EFFECT_ACCEPT_CONNECTION:
        conn->is_accepted = true;
        break;
    case EFFECT_ACCEPT_MESSAGE:
        code = accept_message(conn, matter, decision);
        break;
    case EFFECT_REFUSE_RECIPIENT:
        refuse_recipient(conn, matter, decision);
        break;
    case EFFECT_REFUSE_MESSAGE:
    case EFFECT_DISCARD:
        end_message(conn, decision, "");
        break;
    case EFFECT_DELIVER:
        code = deliver(conn, row.code, decision);
        break;
    }
    decision_clear(decision);
    return code;
}

/* The client left while its answer was made: what libmilter sends now reaches nobody, and its abort
 * or close follows. */
static sfsistat give_to_nobody(
    struct conn *conn, const struct matter *matter, struct decision *decision)
{
    decision->outcome = "client_left";
    trace_stage(conn, matter->stage, matter->question.hook, matter->recipient, decision);
    decision_clear(decision);
    return reply(conn, matter->stage, SMFIS_TEMPFAIL);
}

static bool is_of_message(enum stage stage)
{
    return stage >= STAGE_MAIL && stage <= STAGE_EOM;
}

/* Judges: an early refusal first, then the filter; without either it goes on. */
static sfsistat judge(struct conn *conn, const struct matter *matter)
{
    struct decision decision = {0};
    bool is_refused = is_of_message(matter->stage) && conn->message.refusal != REFUSAL_NONE;
    bool is_there = true, is_asked = false;

    if (is_refused && !has_reply(conn, matter->stage))
        return SMFIS_NOREPLY;
    if (is_refused)
        decide_refusal(conn, conn->message.refusal, &decision);
    else if ((is_asked = consult_is_due(conn, matter->stage)))
        is_there = consult(conn, &matter->question, &decision);
    else if (matter->stage != STAGE_EOM)
        return reply(conn, matter->stage, SMFIS_CONTINUE);
    if (!is_there)
        return give_to_nobody(conn, matter, &decision);
    if (is_refused || is_asked)
        trace_stage(conn, matter->stage, is_asked ? matter->question.hook : HOOK_NONE,
            matter->recipient, &decision);
    return give(conn, matter, &decision);
}

static struct matter matter_of(enum stage stage)
{
    return (struct matter){.stage = stage, .question = {.hook = hook_of_stage(stage)}};
}

sfsistat stage_connect(struct conn *conn, const char *hostname, const struct sockaddr *address)
{
    struct matter matter = matter_of(STAGE_CONNECT);

    stage_abort(conn);
    conn_begin(conn, hostname, address);
    return judge(conn, &matter);
}

sfsistat stage_helo(struct conn *conn, const char *helo)
{
    struct matter matter = matter_of(STAGE_HELO);

    stage_abort(conn);
    conn_put_helo(conn, helo);
    return judge(conn, &matter);
}

sfsistat stage_mail(struct conn *conn, char **argv)
{
    struct matter matter = matter_of(STAGE_MAIL);

    stage_abort(conn);
    message_open(conn);
    message_note_id(conn);
    message_put_sender(conn, argv);
    return judge(conn, &matter);
}

/* A recipient that milterd itself does not take: where RCPT has an answer only it is refused, else
 * the message will be. */
static sfsistat refuse_here(struct conn *conn, struct matter *matter)
{
    enum refusal refusal = conn->message.refusal;
    struct decision decision = {0};

    if (!has_reply(conn, STAGE_RCPT) ||
        (refusal != REFUSAL_RECIPIENTS && refusal != REFUSAL_ADDRESS))
        return judge(conn, matter);
    conn->message.refusal = REFUSAL_NONE;
    decide_refusal(conn, refusal, &decision);
    trace_stage(conn, STAGE_RCPT, HOOK_NONE, matter->recipient, &decision);
    return give(conn, matter, &decision);
}

sfsistat stage_rcpt(struct conn *conn, char **argv)
{
    struct matter matter = matter_of(STAGE_RCPT);

    if (!conn->message.is_open)
        return reply_out_of_order(conn, STAGE_RCPT);
    message_note_id(conn);
    matter.recipient = argv[0] != NULL ? argv[0] : "";
    matter.question.recipient_number = conn->message.n_recipients;
    if (conn->message.refusal != REFUSAL_NONE) {
        matter.is_unlisted = true;
        return judge(conn, &matter);
    }
    matter.is_unlisted = !message_put_recipient(conn, argv, &matter.question.recipient_offset);
    return matter.is_unlisted ? refuse_here(conn, &matter) : judge(conn, &matter);
}

sfsistat stage_data(struct conn *conn)
{
    struct matter matter = matter_of(STAGE_DATA);

    if (!conn->message.is_open)
        return reply_out_of_order(conn, STAGE_DATA);
    message_put_macros(conn, STAGE_DATA);
    return judge(conn, &matter);
}

sfsistat stage_header(struct conn *conn, const char *name, const char *value)
{
    struct matter matter = matter_of(STAGE_HEADER);

    if (!conn->message.is_open)
        return reply_out_of_order(conn, STAGE_HEADER);
    message_put_header(conn, name, value);
    matter.question.name = slice_of(name, strnlen(name, 512));
    matter.question.argument = slice_of(value, strnlen(value, 1048576));
    return judge(conn, &matter);
}

sfsistat stage_eoh(struct conn *conn)
{
    struct matter matter = matter_of(STAGE_EOH);

    if (!conn->message.is_open)
        return reply_out_of_order(conn, STAGE_EOH);
    message_put_macros(conn, STAGE_EOH);
    message_put_eoh(conn);
    return judge(conn, &matter);
}

sfsistat stage_body(struct conn *conn, const unsigned char *data, size_t len)
{
    struct matter matter = matter_of(STAGE_BODY);

    if (!conn->message.is_open)
        return reply_out_of_order(conn, STAGE_BODY);
    message_put_body(conn, data, len, &matter.question.chunk_offset);
    if (conn->message.is_accepted && conn->has_skip)
        return reply(conn, STAGE_BODY, SMFIS_SKIP);
    matter.question.chunk_bytes = (uint32_t)len;
    return judge(conn, &matter);
}

sfsistat stage_eom(struct conn *conn)
{
    struct matter matter = matter_of(STAGE_EOM);

    if (!conn->message.is_open)
        return reply_out_of_order(conn, STAGE_EOM);
    message_put_macros(conn, STAGE_EOM);
    message_put_eoh(conn);
    return judge(conn, &matter);
}

sfsistat stage_unknown(struct conn *conn, const char *command)
{
    struct matter matter = matter_of(STAGE_UNKNOWN);

    matter.question.argument = slice_of(command, strnlen(command, 65536));
    return judge(conn, &matter);
}

/* Asks a hook whose verdict nobody waits for. */
static void tell(struct conn *conn, enum stage stage)
{
    struct matter matter = matter_of(stage);
    struct decision decision = {0};

    if (consult_is_due(conn, stage)) {
        (void)consult(conn, &matter.question, &decision);
        trace_stage(conn, stage, matter.question.hook, NULL, &decision);
    }
    decision_clear(&decision);
}

void stage_abort(struct conn *conn)
{
    if (!conn->message.is_open)
        return;
    tell(conn, STAGE_ABORT);
    end_message(conn, NULL, "");
}

void stage_close(struct conn *conn)
{
    stage_abort(conn);
    if (conn->is_connected)
        tell(conn, STAGE_CLOSE);
    conn_end(conn);
}
