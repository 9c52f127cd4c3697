/*
 * For tests of the editor: a message, a script of changes of its parts as bytes, and what comes of
 * it. Two bytes are one change: which (modulo EDIT_PLAY_KINDS), and of which part (modulo their
 * number, in walk order).
 */
#ifndef POSTERN_TESTS_EDIT_PLAY_H
#define POSTERN_TESTS_EDIT_PLAY_H

#include "common/conf.h"
#include "worker/edit.h"
#include "worker/job.h"

enum edit_play_kind {
    EDIT_PLAY_DROP = 0,
    EDIT_PLAY_WARN, /* drop with a warning */
    EDIT_PLAY_REPLACE_TEXT,
    EDIT_PLAY_REPLACE_BINARY,
    EDIT_PLAY_SET_TEXT,
    EDIT_PLAY_SET_BINARY,
    EDIT_PLAY_SET_HEADER,
    EDIT_PLAY_DEFANG,
    EDIT_PLAY_ADD,    /* of the message */
    EDIT_PLAY_APPEND, /* a line to a part that is not encoded */
    EDIT_PLAY_ADD_FIRST,
    EDIT_PLAY_ADD_MESSAGE,
    EDIT_PLAY_KINDS,
};

struct edit_play {
    struct conf *conf;
    struct job job;
    struct buf message; /* header, CRLF, body, as a mail server hands it over */
    bool has_job;
    enum edit_outcome outcome;
    const char *why;
    uint32_t n_refused; /* changes that the editor did not take */
    struct buf result;  /* the message as it would leave */
};

/* overrides: "worker.max_parts=5", NULL-terminated, or NULL. Ends the program when it cannot. */
void edit_play_open(struct edit_play *play, const char *const *overrides);
void edit_play_close(struct edit_play *play);
/* Reads the message; what was played before is gone. */
void edit_play_message(struct edit_play *play, struct slice bytes);
/* Asks for the changes and finishes; once for each message. */
void edit_play_script(struct edit_play *play, struct slice script);

#endif
