/*
 * Text or HTML at the end of a body, in the body's own charset and transfer encoding. append.c puts
 * it into one body; append_lines.c writes its lines; append_parts.c finds the parts it belongs
 * into; append_once.c looks whether it is there already.
 */
#ifndef POSTERN_WORKER_APPEND_H
#define POSTERN_WORKER_APPEND_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"
#include "worker/job.h"
#include "worker/mime.h"

struct append {
    struct slice body;        /* still encoded */
    const char *charset;      /* lower case; "" is us-ascii */
    const char *encoding;     /* Content-Transfer-Encoding, lower case; "" is 7bit */
    const char *line_end;     /* of the message: CR LF or LF */
    bool is_html;             /* the body is, and so is text */
    bool is_flowed;           /* format=flowed (RFC 3676) */
    bool has_delsp;           /* with delsp=yes */
    bool is_top;              /* the body is that of the message, not of a part in it */
    struct slice text;        /* UTF-8 without NUL */
    const char *new_charset;  /* out: what the header must say from now on; NULL: what it says */
    const char *new_encoding; /* out: the same */
};

/*
 * Writes the new body into out. Text starts on a line of its own at the end and ends its line,
 * unless a part's last line had no end of its own; characters that the charset cannot carry become
 * "?". HTML goes where html_place says, as ASCII with numeric references, which holds under any
 * charset. The bytes before stay as they are, except that base64 is written anew from there on, and
 * that a part of 7bit that would become 8bit becomes quoted-printable, since what is around it says
 * 7bit too. arena: for the work. Returns NULL, or why it cannot be done: "encoding" (unknown or
 * broken transfer encoding), "charset" (one without ASCII), "size".
 */
const char *append_to_body(struct append *append, struct arena *arena, struct buf *out);

/* ---- append_lines.c: 0 or -ERR_TOOBIG ---- */

/* Lines with that end, the last one too; those over 900 bytes are broken, at a blank if there is
 * one. */
int append_put_lines(struct slice text, const char *line_end, struct buf *out);
/* The same without an end for the last line, and broken at blanks only: for HTML. */
int append_put_html(struct slice html, const char *line_end, struct buf *out);
/* The same for format=flowed: blanks at ends of lines go, lines are stuffed, those over 76
 * characters are broken so that readers join them (RFC 3676 section 4.2). */
int append_put_flowed(struct slice text, bool has_delsp, const char *line_end, struct buf *out);
/* Text as a paragraph of HTML. */
int append_put_as_html(struct slice text, struct buf *out);

/* ---- append_parts.c ---- */

struct append_parts {
    const struct mime_part **items;
    uint32_t n;
};
/*
 * The parts that end the text which a person reads, with the changes so far: one, or one for each
 * of at most 64 alternatives. What is no text any more, attachments, attached messages, and text
 * with a file name beside other text are not readable text. NULL, or why there are none: "signed",
 * "encrypted" (unless forced), "no text part".
 */
const char *append_find_parts(
    struct job *job, bool is_forced, struct arena *arena, struct append_parts *out);
/* Whether the type (lower case) is HTML. */
bool append_is_html(const char *type);

/* ---- append_once.c ---- */

/*
 * Whether text holds one of n that are wanted, all UTF-8, when marks of quotation at starts of
 * lines are left out and all blanks and line ends are one blank. A NUL in what is wanted stands for
 * anything of up to APPEND_GAP_BYTES.
 */
enum { APPEND_GAP_BYTES = 1024 };
bool append_is_there(
    struct slice text, const struct slice *wanted, uint32_t n, struct arena *arena);
/* Whether there is anything to look for in it. */
bool append_is_wanted(struct slice wanted);

#endif
