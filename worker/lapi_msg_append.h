/* The files behind msg:append_text and msg:append_html. lapi_msg_append.c: the parts of a message;
 * lapi_msg_append_body.c: a body that msg:replace_body gave; lapi_msg_append_once.c: what is there
 * already. */
#ifndef POSTERN_WORKER_LAPI_MSG_APPEND_H
#define POSTERN_WORKER_LAPI_MSG_APPEND_H

#include "worker/job.h"
#include "worker/lapi.h"
#include "worker/mime.h"

enum { LAPI_APPEND_MARKERS_MAX = 8 };

struct lapi_append_options {
    bool is_forced;
    bool is_once;
    struct slice markers[LAPI_APPEND_MARKERS_MAX]; /* borrowed from the table of options */
    uint32_t n_markers;                            /* 0: the text itself */
};

/* Reads `once` of the table at index; raises what is wrong with it. */
void lapi_append_check_once(lua_State *L, int index, struct lapi_append_options *out);
/* Whether one of the markers, or the text, is in any text that is shown, as received. */
bool lapi_append_is_there(struct mime *mime, const struct lapi_append_options *options,
    struct slice text, bool is_html, struct arena *arena);

/*
 * Appends to the body that takes the place of the received one, when its header says text/plain or
 * text/html. NULL when it was done, or why not; *wrong_out (NULL at first) is set for what is an
 * error. root: of the message as received.
 */
const char *lapi_append_to_replaced(struct job *job, const struct mime_part *root,
    struct slice text, bool is_html, bool is_forced, const char **wrong_out);

#endif
