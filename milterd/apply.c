#include "milterd/apply.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/action.h"
#include "common/address.h"
#include "common/envelope.h"
#include "common/err.h"
#include "common/header.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/plan.h"
#include "milterd/conn.h"
#include "milterd/front.h"
#include "milterd/trace.h"

enum {
    APPLY_FIELDS_MAX = 1000000,
    APPLY_COMPARISONS_MAX = 1000000, /* of names, to find out whether a field has namesakes */
    APPLY_AT_THE_END = 1 << 24,      /* an index past every field; MTAs put such a field last */
};

/* Everything that one message's application needs; lives in its arena. */
struct application {
    struct conn *conn;
    struct arena *arena;
    struct action_list actions;
    struct plan plan;
    enum plan_mta mta;        /* known when a position depends on it */
    uint32_t recipients_left; /* known when some are added or deleted */
    uint32_t comparisons;
};

bool apply_is_pending(const struct conn *conn)
{
    const struct message *message = &conn->message;

    if (message->has_no_changes)
        return false;
    return message->changes.len > 0 || (conn->front->conf->milterd.scanned_by[0] != '\0' &&
                                           conn->capabilities & MTA_CAN_ADD_HEADER);
}

/* A NUL-terminated copy; libmilter takes char pointers. */
static char *text_of(struct application *application, struct slice text)
{
    return arena_memdup0(application->arena, text.data, text.len);
}

static char *bracketed(struct application *application, struct slice address)
{
    return arena_printf(
        application->arena, "<%.*s>", (int)address.len, address.data != NULL ? address.data : "");
}

/* With the leading space negotiated, the MTA adds none of its own. An empty value would delete the
 * field. */
static char *value_of(struct application *application, struct slice value)
{
    bool has_space = application->conn->has_leading_space || value.len == 0;

    return arena_printf(application->arena, "%s%.*s", has_space ? " " : "", (int)value.len,
        value.data != NULL ? value.data : "");
}

static const char *validate(struct application *application)
{
    struct conn *conn = application->conn;
    int rc = action_list_get(
        buf_slice(&conn->message.changes), application->arena, &application->actions);

    if (rc != 0)
        return err_text(rc);
    for (uint32_t i = 0; i < application->actions.n; i++) {
        const char *fault = action_check(&application->actions.items[i], conn->capabilities);

        if (fault != NULL)
            return fault;
    }
    return NULL;
}

/* Which MTA this is, by its macro v: "Postfix 3.7.11", or a bare version with sendmail. */
static enum plan_mta mta_of(const struct envelope *envelope)
{
    for (uint32_t i = 0; i < envelope->n_macros[STAGE_CONNECT]; i++) {
        const struct envelope_macro *macro = &envelope->macros[STAGE_CONNECT][i];

        if (!slice_equal(macro->name, slice_text("v")) || macro->value.len == 0)
            continue;
        if (macro->value.len >= 7 && memcmp(macro->value.data, "Postfix", 7) == 0)
            return PLAN_MTA_POSTFIX;
        return macro->value.data[0] == '8' ? PLAN_MTA_SENDMAIL : PLAN_MTA_OTHER;
    }
    return PLAN_MTA_OTHER;
}

static bool make_plan(struct application *application)
{
    struct conn *conn = application->conn;
    struct slice message = parcel_message(conn->parcel);
    struct header_list headers;

    if (message.data == NULL && parcel_message_bytes(conn->parcel) > 0)
        return false;
    message.len = (size_t)conn->message.header_bytes;
    header_list_scan(message, APPLY_FIELDS_MAX, application->arena, &headers);
    plan_make(&headers, &application->actions, application->arena, &application->plan);
    return true;
}

/*
 * Plans are about the message; these two fit them to the MTA: whom it delivers to already, and
 * where it counts positions from. Reading the whole envelope is left out where nothing depends on
 * it.
 */
static bool fit_to_mta(struct application *application)
{
    struct plan *plan = &application->plan;
    struct envelope envelope;
    bool needs_envelope = plan->n_added > 0 || plan->n_deleted > 0;

    for (uint32_t i = 0; i < plan->n_ops && !needs_envelope; i++)
        needs_envelope = plan->ops[i].kind == PLAN_INSERT_HEADER && plan->ops[i].is_below_top;
    if (!needs_envelope)
        return true;
    if (envelope_read_all(
            parcel_envelope(application->conn->parcel), application->arena, &envelope) != 0)
        return false;
    plan_fit_recipients(plan, &envelope, application->arena);
    application->mta = mta_of(&envelope);
    application->recipients_left = plan->n_added;
    for (uint32_t i = 0; i < envelope.n_recipients; i++)
        application->recipients_left += !envelope.recipients[i].is_refused;
    application->recipients_left -= plan->n_deleted;
    return true;
}

/* Whether anybody is left to get the message. What the MTA itself refused we never saw. */
static bool has_recipients(const struct application *application)
{
    return application->plan.n_deleted == 0 || application->recipients_left > 0;
}

/* Whether the header as it will leave has another field of that name; true when that would be too
 * long to find out. */
static bool has_namesake(struct application *application, struct slice name)
{
    const struct plan *plan = &application->plan;
    uint32_t n = 0;

    for (uint32_t i = 0; i < plan->n_fields; i++) {
        if (application->comparisons++ > APPLY_COMPARISONS_MAX)
            return true;
        if (slice_equal_nocase(plan->fields[i].name, name) && ++n > 1)
            return true;
    }
    return false;
}

/*
 * sendmail puts an added field before the first of the same name, and so reverses the order of
 * several; a field that is inserted past the end stands last with sendmail and Postfix alike.
 */
static int add_header(struct application *application, const struct plan_op *op)
{
    SMFICTX *ctx = application->conn->ctx;
    char *name = text_of(application, op->name);
    char *value = value_of(application, op->value);

    if (has_namesake(application, op->name))
        return smfi_insheader(ctx, APPLY_AT_THE_END, name, value);
    return smfi_addheader(ctx, name, value);
}

static int apply_header(struct application *application, const struct plan_op *op)
{
    SMFICTX *ctx = application->conn->ctx;
    char *name = text_of(application, op->name);

    switch (op->kind) {
    case PLAN_CHANGE_HEADER:
        return smfi_chgheader(ctx, name, (int)op->index, value_of(application, op->value));
    case PLAN_DELETE_HEADER:
        return smfi_chgheader(ctx, name, (int)op->index, NULL);
    case PLAN_INSERT_HEADER:
        return smfi_insheader(ctx, (int)plan_insert_index(op, application->mta), name,
            value_of(application, op->value));
    case PLAN_ADD_HEADER:
        return add_header(application, op);
    }
    return MI_FAILURE;
}

static const char *apply_headers(struct application *application)
{
    for (uint32_t i = 0; i < application->plan.n_ops; i++)
        if (apply_header(application, &application->plan.ops[i]) != MI_SUCCESS)
            return "header";
    return NULL;
}

static int add_recipient(struct application *application, const struct plan_recipient *recipient)
{
    SMFICTX *ctx = application->conn->ctx;
    char *address = bracketed(application, recipient->address);

    if (recipient->args.len == 0)
        return smfi_addrcpt(ctx, address);
    return smfi_addrcpt_par(ctx, address, text_of(application, recipient->args));
}

static const char *apply_recipients(struct application *application)
{
    struct plan *plan = &application->plan;

    for (uint32_t i = 0; i < plan->n_added; i++)
        if (add_recipient(application, &plan->added[i]) != MI_SUCCESS)
            return "add_recipient";
    for (uint32_t i = 0; i < plan->n_deleted; i++)
        if (smfi_delrcpt(application->conn->ctx, bracketed(application, plan->deleted[i])) !=
            MI_SUCCESS)
            return "delete_recipient";
    return NULL;
}

static const char *apply_rest(struct application *application)
{
    struct plan *plan = &application->plan;
    SMFICTX *ctx = application->conn->ctx;

    if (plan->has_sender) {
        char *args = plan->sender_args.len > 0 ? text_of(application, plan->sender_args) : NULL;

        if (smfi_chgfrom(ctx, bracketed(application, plan->sender), args) != MI_SUCCESS)
            return "set_sender";
    }
    if (plan->has_body) {
        unsigned char *body =
            (unsigned char *)(uintptr_t)(plan->body.data != NULL ? plan->body.data : "");

        /* libmilter's length is an int's: action_check bounds it. */
        if (smfi_replacebody(ctx, body, (int)plan->body.len) != MI_SUCCESS)
            return "replace_body";
    }
    if (plan->has_hold &&
        smfi_quarantine(ctx, text_of(application, plan->hold_reason)) != MI_SUCCESS)
        return "hold";
    return NULL;
}

static const char *add_scanned_by(struct application *application)
{
    struct conn *conn = application->conn;
    const char *text = conn->front->conf->milterd.scanned_by;
    char name[] = "Scanned-By";

    if (text[0] == '\0' || !(conn->capabilities & MTA_CAN_ADD_HEADER))
        return NULL;
    return smfi_addheader(conn->ctx, name, value_of(application, slice_text(text))) == MI_SUCCESS
               ? NULL
               : "scanned_by";
}

static const char *apply_all(struct application *application)
{
    const char *failed = apply_headers(application);

    if (failed == NULL)
        failed = add_scanned_by(application);
    if (failed == NULL)
        failed = apply_recipients(application);
    return failed != NULL ? failed : apply_rest(application);
}

static void summarise(const struct action_list *actions, char *out, size_t out_bytes)
{
    uint32_t counts[32] = {0};
    size_t len = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < actions->n; i++)
        counts[(unsigned)actions->items[i].kind % 32]++;
    for (unsigned kind = 0; kind < 32; kind++) {
        const struct action_info *info = counts[kind] > 0 ? action_info(kind) : NULL;

        if (info != NULL && len < out_bytes)
            len += (size_t)snprintf(out + len, out_bytes - len, "%s%s:%u", len > 0 ? "," : "",
                info->name, counts[kind]);
    }
}

static enum apply_result run(struct application *application, const char **fault_out)
{
    *fault_out = validate(application);
    if (*fault_out != NULL)
        return APPLY_BAD;
    if (!make_plan(application) || !fit_to_mta(application)) {
        *fault_out = "the message cannot be read back";
        return APPLY_BAD;
    }
    if (!has_recipients(application))
        return APPLY_NO_RECIPIENTS;
    *fault_out = apply_all(application);
    if (*fault_out != NULL)
        return APPLY_FAILED;
    trace_actions(application->conn, &application->actions);
    return APPLY_DONE;
}

enum apply_result apply_changes(struct conn *conn, char *summary_out, unsigned long summary_bytes)
{
    struct front_counters *counters = &conn->front->counters;
    struct application application = {.conn = conn};
    enum apply_result result;
    const char *fault;

    summary_out[0] = '\0';
    if (!apply_is_pending(conn))
        return APPLY_DONE;
    application.arena = arena_new();
    result = run(&application, &fault);
    summarise(&application.actions, summary_out, summary_bytes);
    if (result == APPLY_BAD || result == APPLY_FAILED) {
        atomic_fetch_add(result == APPLY_BAD ? &counters->bad_changes : &counters->not_applied, 1);
        log_error("message %s: its changes are not applied, %s: %s", conn->message.uid,
            result == APPLY_BAD ? "they do not validate" : "libmilter refused one", fault);
    }
    arena_free(application.arena);
    return result;
}
