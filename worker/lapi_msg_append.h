/* The files behind msg:append_text and msg:append_html. lapi_msg_append.c: the parts of a message;
 * lapi_msg_append_body.c: a body that msg:replace_body gave. */
#ifndef POSTERN_WORKER_LAPI_MSG_APPEND_H
#define POSTERN_WORKER_LAPI_MSG_APPEND_H

#include "worker/job.h"
#include "worker/mime.h"

struct lapi_append_options {
    bool is_forced;
    bool is_once;
    struct slice marker; /* empty: the text itself */
};

/*
 * Appends to the body that takes the place of the received one, when its header says text/plain or
 * text/html. NULL when it was done, or why not; *wrong_out (NULL at first) is set for what is an
 * error. root: of the message as received.
 */
const char *lapi_append_to_replaced(struct job *job, const struct mime_part *root,
    struct slice text, bool is_html, bool is_forced, const char **wrong_out);

#endif
