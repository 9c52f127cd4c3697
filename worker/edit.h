/*
 * Changes to the parts of a message. They are asked for one by one in filter_message and kept in
 * the job; the message as it would leave is rendered from them by replacing byte spans of the
 * message as received, so that what nobody touched keeps its bytes. edit_finish renders for good,
 * proves the result (edit_guard.c) and turns it into actions.
 *
 * Part numbers, content and headers mean the mail as received. Changes of one part compose in call
 * order; one that is asked for a part that is dropped, or that lies within one that is dropped or
 * replaced, changes nothing, except that a dropped part can still be replaced. The design is in
 * docs/design/editing.md.
 */
#ifndef POSTERN_WORKER_EDIT_H
#define POSTERN_WORKER_EDIT_H

#include <stdbool.h>

#include "worker/job.h"
#include "worker/mime.h"

/* A new part. What is empty is left out. */
struct edit_entity {
    struct slice type;     /* "text/plain"; no multipart; message/rfc822 to be added only */
    struct slice charset;  /* that body is in; for text/..., empty: utf-8 */
    struct slice filename; /* UTF-8 */
    struct slice body;     /* decoded; line ends of text/... become those of the message */
    bool is_inline;        /* Content-Disposition: inline, not attachment */
    uint32_t position;     /* to be added: before this one of the top multipart/mixed, from 1; 0, or
                              more than there are: behind all others */
};

/* Whether losing the change would let through what was to go (worker.on_rewrite_failure), or only
 * loses an addition (worker.on_append_failure). */
enum edit_kind { EDIT_ADDS = 0, EDIT_REMOVES };

/*
 * Each returns NULL, or what is wrong (borrowed; in the arena of the job), and then nothing was
 * changed: the mail server does not take a new body, msg:replace_body was called before, the
 * changes are too large, or as it says. job->mime must be there: the part is one of its parts. All
 * bytes are copied. A part that lies within decoded content of another (is_decoded) which cannot be
 * encoded again is dropped, replaced and defanged together with that one; other changes of it are
 * refused.
 */

/* Takes the part out, with all that is in it. warning: UTF-8 text of a text/plain part in its
 * place; data NULL: none. A message's top part becomes that text, or empty. */
const char *edit_drop(struct job *job, const struct mime_part *part, struct slice warning);
/* Puts a new part in its place. */
const char *edit_replace(
    struct job *job, const struct mime_part *part, const struct edit_entity *entity);
/* New decoded content for a part that is no container, in its own transfer encoding where that can
 * carry the bytes, else in base64. */
const char *edit_set_content(
    struct job *job, const struct mime_part *part, struct slice bytes, enum edit_kind kind);
/*
 * New content, encoded already, for a part that is no container; line ends as edit_line_end says.
 * charset, encoding: what the part's header must say of it from now on; NULL: what it says.
 */
const char *edit_set_encoded(struct job *job, const struct mime_part *part, struct slice encoded,
    const char *charset, const char *encoding, enum edit_kind kind);
/* One field of that name with this value (UTF-8), instead of all there are; value.data NULL: none.
 */
const char *edit_set_header(
    struct job *job, const struct mime_part *part, struct slice name, struct slice value);
/* A neutral type, this file name (UTF-8; empty: one made from the part's path) and no other; the
 * content stays byte for byte. */
const char *edit_defang(struct job *job, const struct mime_part *part, struct slice filename);
/* A new part, behind all others if it does not say where; a message that is no multipart/mixed
 * becomes one. A message/rfc822 begins with its header, and has no line that needs an encoding. */
const char *edit_add_part(struct job *job, const struct edit_entity *entity);

/*
 * Another message, header and body, instead of this one; changes of parts are forgotten. Fields
 * that are in both stay where they are, others are deleted, changed or added at the end. eml: with
 * a header; its line ends may be LF.
 */
const char *edit_replace_message(struct job *job, struct slice eml);

/* ---- the message as it will be so far ---- */

struct edit_now {
    bool is_gone;                   /* dropped, or within what is dropped or replaced */
    struct slice encoded;           /* its content, still encoded */
    const char *type;               /* lower case, as in struct mime_part */
    const char *charset;            /* lower case; "" */
    const char *encoding;           /* lower case; "" */
    const struct mime_part *header; /* what its header says besides: disposition, names, parameters;
                                       not where it stands and what it holds */
};
/* What the part is with the changes so far. Lives as long as the job. Costs nothing for a part
 * without changes. */
void edit_part_now(struct job *job, const struct mime_part *part, struct edit_now *out);
/* NULL, or why a part cannot get content of its own: it is a container, one to some readers, or
 * stands in content that cannot be encoded again. Borrowed. */
const char *edit_refuse_content(const struct mime_part *part);
/* The same content decoded. */
struct slice edit_content_now(struct job *job, const struct mime_part *part);
/* The part as a reader finds it with them, on its own: for its text. part itself when it has no
 * changes; NULL when it is gone. */
const struct mime_part *edit_reading_now(struct job *job, const struct mime_part *part);
/* "\r\n", or "\n" in a message that has these. */
const char *edit_line_end(const struct mime_part *part);

/* Whether a change was asked for. */
bool edit_is_pending(const struct job *job);
/* Forgets all changes of parts: the whole body is replaced. */
void edit_forget(struct job *job);

/* ---- the end ---- */

/*
 * The message as it would leave, part changes included; borrowed until the next call of this or
 * edit_finish. NULL, or what is wrong: the changes cannot be rendered.
 */
const char *edit_render(struct job *job, struct slice *message_out);

enum edit_outcome {
    EDIT_UNCHANGED = 0, /* nothing was asked for, or it comes to the same bytes */
    EDIT_CHANGED,       /* actions were added to the job */
    EDIT_REFUSED_ADDS,  /* the result is not what was asked for; only additions are lost */
    EDIT_REFUSED_REMOVES,
};
/*
 * Renders, proves and adds the actions. REFUSED: all changes of parts are dropped, nothing was
 * added, *why_out says what did not fit (in the arena of the job). Logs nothing. Forgets the
 * changes, whatever comes of them.
 */
enum edit_outcome edit_finish(struct job *job, const char **why_out);

/* For job_close; NULL is fine. */
void edit_free(struct edit *edit);

#endif
