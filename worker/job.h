/*
 * A job: one request being served, and the core's model of the message behind it: stage, envelope with arguments, header, body, changes in order. Knows nothing of
 * milter or Lua. Everything is in its arena, everything is freed by job_close.
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

struct mime;

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
    struct plan plan; /* of earlier and added; rebuilt by job_plan when something was added since */
    bool has_plan;
    struct mime *mime; /* NULL until mime_of asks for it */
    struct buf log_fields; /* msg:log pairs, bounded */
};

/*
 * Opens a job over a decoded request. envelope_region and message are borrowed (from a parcel_view or the caller's memory).
 * 0, -ERR_BAD (malformed envelope or changes), -ERR_TOOBIG. On failure nothing is left.
 */
int job_open(struct job *job, const struct conf *conf, const struct wire_request *request, struct slice envelope_region, struct slice message);
void job_close(struct job *job);

/* The envelope with all recipients read; -ERR_BAD. Cheap after the first call. */
int job_need_recipients(struct job *job);
/* The header as received; scanned at the first call, capped by worker.max_headers. */
const struct header_list *job_headers(struct job *job);
struct slice job_header_block(const struct job *job);
struct slice job_body(const struct job *job); /* as received; empty before body */
/* What the message would be with the changes asked for so far. */
const struct plan *job_plan(struct job *job);
/*
 * Adds a change after action_check; bytes are copied into the arena. Returns NULL, or what is wrong (borrowed).
 */
const char *job_add_action(struct job *job, const struct action *action);
/* Encodes the changes added by this hook. 0 or -ERR_TOOBIG. */
int job_put_changes(struct job *job, struct buf *out);
/* The message as it would leave: header of the plan, empty line, body (replaced or as received). 0 or -ERR_TOOBIG. */
int job_render(struct job *job, struct buf *out);

#endif
