/*
 * Files that a hook wants stored for its links. They are noted while it runs and stored, in call
 * order, when it has ended well and the mail goes on with its changes, before the MTA is answered.
 * When one cannot be stored the message is deferred, whatever worker.on_error says and whatever the
 * filter catches: a part that was to leave the mail is neither lost nor delivered in it.
 */
#ifndef POSTERN_WORKER_LINK_DEEDS_H
#define POSTERN_WORKER_LINK_DEEDS_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/link_store.h"

struct job;
struct mime_part;

enum { LINK_DEEDS_MAX = 1000 /* of a message: each is synced to the disk */ };

struct link_deed {
    const struct mime_part *part;
    struct link link; /* with all that it points to in the arena of the job */
    struct link_deed *next;
};

/* Whether a text that takes a part's place is HTML. */
enum link_html { LINK_HTML_UNKNOWN = 0, LINK_HTML_NO, LINK_HTML_YES };

/* Of one message's hook; in the arena of the job. */
struct link_deeds {
    struct link_deed *first, *last;
    uint32_t n;
    const char *failure; /* why the message must be deferred; NULL */
    enum link_html html;
};

/* Made at the first call. */
struct link_deeds *link_deeds_of(struct job *job);
/* deed is borrowed, for the job's life. */
void link_deeds_add(struct link_deeds *deeds, struct link_deed *deed);
/* What a part has become already; NULL. */
const struct link_deed *link_deeds_find(
    const struct link_deeds *deeds, const struct mime_part *part);
/* The hook may end as it likes: the message will be deferred. The first reason stays. */
void link_deeds_fail(struct link_deeds *deeds, const char *why);
/* Whether link_deeds_fail was called. NULL, or why. */
const char *link_deeds_failure(const struct job *job);
/* Stores all, up to the first that fails: NULL, or why it did. deadline_ms: monotonic clock, for
 * locks. */
const char *link_deeds_do(struct job *job, int64_t deadline_ms);

#endif
