/*
 * The plan of a message's changes: what a list of actions, asked for over several hooks, comes to when applied to the header fields as
 * received. The worker reads through it (rule 6 of the filter contract), posternctl run prints and renders it, milterd applies it; so there is one
 * place that knows what indexes mean.
 *
 * Rules: indexes count fields as received. Changes and deletes come first, from the highest index down; for the same field the last one asked for
 * wins. SET of an nth that was not received changes the (nth - received)th field of that name added by us, if there is one, else it adds. DELETE
 * of such an nth takes that field back, without index all of that name added before: they are as if never asked for. Inserts follow in call
 * order, each at its position as received (earlier inserts at or above it and nothing else shift it), then adds in call order. Recipients: the last
 * word about an address counts (an added one that is deleted later is deleted: it may have been a recipient before); adding one twice is once.
 * Sender, body: the last one wins. HOLD: the first reason wins.
 */
#ifndef POSTERN_PLAN_H
#define POSTERN_PLAN_H

#include "common/action.h"
#include "common/envelope.h"
#include "common/header.h"

enum plan_op_kind { PLAN_CHANGE_HEADER = 0, PLAN_DELETE_HEADER, PLAN_INSERT_HEADER, PLAN_ADD_HEADER };

struct plan_op {
    enum plan_op_kind kind;
    uint32_t index; /* CHANGE, DELETE: nth of that name, from 1; INSERT: the position, see plan_insert_index */
    struct slice name;
    struct slice value;
    bool is_below_top;        /* INSERT: at least one received field stands above it */
    uint32_t n_deleted_above; /* INSERT: received fields above it that are deleted */
};

struct plan_recipient {
    struct slice address;
    struct slice args;
};

/* A header field as it would leave. */
struct plan_field {
    struct slice name;
    struct slice value;                 /* of a new or changed field: without leading space; else as received */
    const struct header_field *received; /* NULL when we added or changed it */
};

struct plan {
    struct plan_op *ops; /* in the order in which an MTA must get them */
    uint32_t n_ops;
    struct plan_field *fields; /* the header as it would leave */
    uint32_t n_fields;
    struct plan_recipient *added;
    uint32_t n_added;
    struct slice *deleted; /* addresses */
    uint32_t n_deleted;
    bool has_sender;
    struct slice sender, sender_args;
    bool has_body;
    struct slice body;
    bool has_hold;
    struct slice hold_reason;
};

enum plan_mta { PLAN_MTA_OTHER = 0, PLAN_MTA_SENDMAIL, PLAN_MTA_POSTFIX };

/* Never fails; everything is in the arena, slices point into headers and actions. Cost: n log n. */
void plan_make(const struct header_list *headers, const struct action_list *actions, struct arena *arena, struct plan *out);
/*
 * The index to give this MTA for an INSERT, after the changes, deletes and earlier inserts. MTAs count fields that the filter does not see, each
 * in its own way. Postfix: its own Received, and not what was deleted. sendmail: the header lines of its configuration (the stock one is
 * taken), and what was deleted. Both: 0 is above their Received. Measured with sendmail 8.17.1 and Postfix 3.7.11.
 */
uint32_t plan_insert_index(const struct plan_op *op, enum plan_mta mta);
/*
 * Fits added and deleted to the message's recipients (envelope_read_all's): takes out those added that it has already (Postfix would deliver
 * twice; so one that was deleted and added again simply stays), and those deleted that it has not; the others get the MTA's own spelling, since
 * it compares byte by byte. Addresses are equal when the local parts are, and the domains but for case.
 */
void plan_fit_recipients(struct plan *plan, const struct envelope *envelope, struct arena *arena);

#endif
