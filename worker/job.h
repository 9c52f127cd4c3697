/*
 * A job: one request being served, and the core's model of the message behind it: stage, envelope
 * with arguments, header, body, changes in order. Knows nothing of milter or Lua. Everything is in
 * its arena, everything is freed by job_close.
 */
#ifndef POSTERN_WORKER_JOB_H
#define POSTERN_WORKER_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/action.h"
#include "common/arena.h"
#include "common/conf.h"
#include "common/envelope.h"
#include "common/header.h"
#include "common/parcel.h"
#include "common/plan.h"
#include "common/wire.h"

struct deeds;
struct edit;
struct link_deeds;
struct mime;
struct append_memory;
struct job_finder;
struct job_recipient;

enum { JOB_CHANGES_MAX = 384 << 20, JOB_LOG_FIELDS_MAX = 8192 };

struct job {
    const struct conf *conf;
    struct arena *arena;
    struct wire_request request; /* slices borrowed from the record, which outlives the job */
    struct slice envelope_region;
    struct slice message; /* header block, empty line, body so far, as received */

    struct envelope envelope; /* front only until job_need_recipients */
    bool has_all_recipients;
    struct header_list headers; /* filled by job_headers */
    bool has_headers;
    struct action_list earlier; /* changes asked for by earlier hooks */
    struct action *added;       /* by this hook, in call order */
    uint32_t n_added, cap_added;
    size_t added_bytes; /* what the added ones hold, bounded by JOB_CHANGES_MAX */
    struct plan plan; /* of earlier and added; rebuilt by job_plan when something was added since */
    bool has_plan;
    struct job_recipient *recipients; /* for job_recipients; stale when something was added */
    uint32_t n_recipients;
    bool has_recipients;
    struct job_finder *finder;   /* NULL until an address is looked for */
    struct arena *plan_arena;    /* the present plan's own; emptied when it is rebuilt */
    struct arena *scratch_arena; /* for one call of the API: emptied at the next one */
    struct buf scratch;          /* bytes that must not leak when Lua runs out of memory */
    struct mime *mime;           /* NULL until job_mime */
    struct deeds *deeds;         /* NULL until the filter asks for one; deeds.h */
    const uint8_t *origin_key;   /* KEYED_HASH_BYTES; NULL: worker.origin_key names none */
    bool has_virus;              /* a scanner found one: its sender is told nothing */
    struct edit *edit;           /* NULL until a part is changed */
    struct append_memory *append; /* what the last msg:append_… did; NULL */
    struct buf log_fields;       /* msg:log pairs, bounded */
    struct link_deeds *links;    /* NULL until a part becomes a link; link_deeds.h */
};

/*
 * Opens a job over a decoded request. envelope_region and message are borrowed (from a parcel_view
 * or the caller's memory). 0, -ERR_BAD (malformed envelope or changes), -ERR_TOOBIG. On failure
 * nothing is left.
 */
int job_open(struct job *job, const struct conf *conf, const struct wire_request *request,
    struct slice envelope_region, struct slice message);
void job_close(struct job *job);

/* The envelope with all recipients read; -ERR_BAD. Cheap after the first call. */
int job_need_recipients(struct job *job);
/* The header as received; scanned at the first call, capped by worker.max_headers. */
const struct header_list *job_headers(struct job *job);
struct slice job_header_block(const struct job *job);
struct slice job_body(const struct job *job); /* as received; empty before body */
/* The message read as MIME, at the first call; in hooks that know all of it. */
struct mime *job_mime(struct job *job);
/* What the message would be with the changes asked for so far. */
const struct plan *job_plan(struct job *job);
/* The same with further actions, made in an arena of the caller's. */
void job_plan_with(struct job *job, const struct action *actions, uint32_t n, struct arena *arena,
    struct plan *out);
/*
 * Adds a change after action_check; bytes are copied into the arena. Returns NULL, or what is wrong
 * (borrowed).
 */
const char *job_add_action(struct job *job, const struct action *action);
/* The same for an action whose bytes live as long as the job: they are not copied. */
const char *job_add_lasting(struct job *job, const struct action *action);
/* Forgets the changes added after the first n_added, so that a call that makes several makes all or
 * none. */
void job_drop_actions(struct job *job, uint32_t n_added);
/* Encodes the changes added by this hook. 0 or -ERR_TOOBIG. */
int job_put_changes(struct job *job, struct buf *out);
/* The message as it would leave: header of the plan, empty line, body (replaced or as received). 0
 * or -ERR_TOOBIG. Changes of parts are edit_render's. */
int job_render(struct job *job, struct buf *out);
/* Only its header and the empty line, of any plan of this message. */
int job_render_header(struct job *job, const struct plan *plan, struct buf *out);

/* Whether a hook that sees the message may know this already: hooks outside the order of a
 * transaction know what was before it. */
bool job_knows(const struct job *job, enum hook first);
/* Whether a change was asked for, by this hook or an earlier one. */
bool job_has_changes(const struct job *job);
/* The sender as it would leave, without brackets. */
struct slice job_sender(struct job *job);
struct slice job_sender_args(struct job *job);

/* A recipient as it would leave. What it points to lives as long as the job. */
struct job_recipient {
    struct job *job;
    struct slice address; /* without brackets */
    struct slice args;
    uint32_t number;                     /* in the envelope; meaningless when received is NULL */
    struct envelope_recipient *received; /* NULL: added by a change */
};
/*
 * One recipient of the envelope: any number after job_need_recipients, before that only the one
 * being judged. False when there is no such one. Cost: does not read the others.
 */
bool job_recipient_at(struct job *job, uint32_t number, struct job_recipient *out);
/* Those not refused and not deleted, then those added that were not there (plan_fit_recipients).
 * The list is good until the next change. 0 or -ERR_BAD. */
int job_recipients(struct job *job, const struct job_recipient **list_out, uint32_t *n_out);
/*
 * Whether the message goes to this address: a recipient that was not refused, or one that was
 * added, and not deleted since. spelling_out is the address as the MTA knows it. One that is the
 * same (address_is_same) goes before one that differs in case only. Cost: in filter_recipient the
 * one being judged is found without reading the others; else the first look-up reads them all, and
 * later ones look at those that differ in case.
 */
bool job_find_recipient(struct job *job, struct slice address, struct slice *spelling_out);
/* All recipients are known, there were some, and changes have deleted every one: the message will
 * be thrown away. */
bool job_lost_all_recipients(struct job *job);

/*
 * The value of a macro by name, with or without braces; data NULL when it was not told. The newest
 * stage up to last that has it wins; macros of stage RCPT count in filter_recipient only, where
 * they are those of the recipient being judged.
 */
struct slice job_macro(struct job *job, enum stage last, struct slice name);

#endif
