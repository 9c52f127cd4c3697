#include "milterd/negotiate.h"

#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>

#include "common/action.h"
#include "common/log.h"
#include "milterd/conn.h"
#include "milterd/front.h"
#include "milterd/generation.h"
#include "milterd/watch.h"

enum { NEGOTIATE_ASK_MS = 1000, NEGOTIATE_ASK_AGAIN_MS = 100 };

static const struct {
    enum stage stage;
    unsigned long off;      /* do not send it */
    unsigned long no_reply; /* do not wait for a reply */
} step_rows[] = {
    {STAGE_CONNECT, SMFIP_NOCONNECT, SMFIP_NR_CONN},
    {STAGE_HELO, SMFIP_NOHELO, SMFIP_NR_HELO},
    {STAGE_MAIL, SMFIP_NOMAIL, SMFIP_NR_MAIL},
    {STAGE_RCPT, SMFIP_NORCPT, SMFIP_NR_RCPT},
    {STAGE_DATA, SMFIP_NODATA, SMFIP_NR_DATA},
    {STAGE_HEADER, SMFIP_NOHDRS, SMFIP_NR_HDR},
    {STAGE_EOH, SMFIP_NOEOH, SMFIP_NR_EOH},
    {STAGE_BODY, SMFIP_NOBODY, SMFIP_NR_BODY},
    {STAGE_UNKNOWN, SMFIP_NOUNKNOWN, SMFIP_NR_UNKN},
};
enum { N_STEP_ROWS = sizeof step_rows / sizeof step_rows[0] };

static const struct {
    unsigned long action;
    enum mta_capability capability;
} action_rows[] = {
    {SMFIF_ADDHDRS, MTA_CAN_ADD_HEADER},
    {SMFIF_CHGHDRS, MTA_CAN_CHANGE_HEADER},
    {SMFIF_CHGBODY, MTA_CAN_REPLACE_BODY},
    {SMFIF_ADDRCPT, MTA_CAN_ADD_RECIPIENT},
    {SMFIF_ADDRCPT_PAR, MTA_CAN_ADD_RECIPIENT_ARGS},
    {SMFIF_DELRCPT, MTA_CAN_DELETE_RECIPIENT},
    {SMFIF_QUARANTINE, MTA_CAN_HOLD},
    {SMFIF_CHGFROM, MTA_CAN_CHANGE_SENDER},
    {SMFIF_SETSYMLIST, 0},
};
enum { N_ACTION_ROWS = sizeof action_rows / sizeof action_rows[0] };

static struct hook_needs find_needs(struct front *front)
{
    struct hook_needs needs;
    struct wire_needs learned;
    int64_t wait_ms = front->conf->milterd.reconnect_time;
    bool is_known;

    watch_catch_up(front->watch);
    is_known = generations_union(front->generations, &needs);
    if (is_known && watch_is_up(front->watch))
        return needs;
    /* Nobody tells us just now: ask, and not for long where something is known already. */
    if (wait_ms > (is_known ? NEGOTIATE_ASK_AGAIN_MS : NEGOTIATE_ASK_MS))
        wait_ms = is_known ? NEGOTIATE_ASK_AGAIN_MS : NEGOTIATE_ASK_MS;
    if (front->asker.ask_needs(front->asker.context, (int)wait_ms, &learned) == 0) {
        watch_learn_elsewhere(front->watch, front->generations, &learned);
        is_known = generations_union(front->generations, &needs);
    }
    return is_known ? needs : hook_needs_all();
}

static void choose_steps(
    struct conn *conn, struct hook_needs needs, unsigned long offered, unsigned long *steps_out)
{
    bool may_skip_body_reply = conn->front->conf->milterd.no_reply_body;
    unsigned long steps = 0;

    conn->stages = needs;
    conn->no_reply = 0;
    for (unsigned i = 0; i < N_STEP_ROWS; i++) {
        uint32_t bit = STAGE_BIT(step_rows[i].stage);

        if (!(needs.sees & bit) && (offered & step_rows[i].off)) {
            steps |= step_rows[i].off;
        } else if (!(needs.answers & bit) && (offered & step_rows[i].no_reply) &&
                   (step_rows[i].stage != STAGE_BODY || may_skip_body_reply)) {
            steps |= step_rows[i].no_reply;
            conn->no_reply |= bit;
        }
    }
    conn->has_skip = (offered & SMFIP_SKIP) != 0;
    conn->has_leading_space = (offered & SMFIP_HDR_LEADSPC) != 0;
    *steps_out = steps | (offered & (SMFIP_SKIP | SMFIP_HDR_LEADSPC));
}

static void choose_actions(struct conn *conn, unsigned long offered, unsigned long *actions_out)
{
    conn->capabilities = 0;
    *actions_out = 0;
    for (unsigned i = 0; i < N_ACTION_ROWS; i++) {
        if (!(offered & action_rows[i].action))
            continue;
        conn->capabilities |= action_rows[i].capability;
        *actions_out |= action_rows[i].action;
    }
}

void negotiate(struct conn *conn, unsigned long actions, unsigned long steps,
    unsigned long *actions_out, unsigned long *steps_out)
{
    choose_steps(conn, find_needs(conn->front), steps, steps_out);
    generations_claim(conn->front->generations, &conn->claim, conn->stages);
    choose_actions(conn, actions, actions_out);
    log_debug("connection %s: offered actions %lx, steps %lx; taken %lx, %lx", conn->id, actions,
        steps, *actions_out, *steps_out);
}
