/*
 * What is told of a mail that is kept, as one JSON object:
 *
 *   v (1), id, kind ("message", "part"), mode ("copy", "store", "defer"), state ("kept"; "waiting",
 *   deferred; "released"; "refused"), time_ms, reason, where, uid, queue_id, conn_id, client {ip,
 *   port, name}, helo, auth, direction, sender, sender_args, recipients [{address, args}],
 *   message_id, subject, bytes, sha256, verdict, reply {code, dsn, text}, parts [{path, type,
 *   filename, filenames, size}], defects [{kind, part, detail}], part (path, of a part that
 *   is kept by itself); by posternctl: deliveries [{address, state, time_ms, text}], history
 *   [{time_ms, what, who}].
 */
#ifndef POSTERN_WORKER_TRAP_FACTS_H
#define POSTERN_WORKER_TRAP_FACTS_H

#include <jansson.h>

#include "worker/deeds.h"
#include "worker/job.h"

enum { TRAP_FACTS_PARTS_MAX = 1000, TRAP_FACTS_NAMES_MAX = 20, TRAP_FACTS_DEFECTS_MAX = 1000 };

struct trap_facts_more {
    const char *id;
    enum trap_mode mode;
    const char *reason, *where;
    const struct mime_part *part; /* NULL: the message */
    const struct wire_reply *reply;
};

/* A new reference; NULL without memory, or when the envelope cannot be read. */
json_t *trap_facts_new(struct job *job, const struct trap_facts_more *more);
/* SHA-256 in hexadecimal, with a NUL. */
void trap_facts_sha256(struct slice bytes, char out[65]);

#endif
