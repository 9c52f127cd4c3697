/*
 * A message file as a mail server would transfer it: raw bytes, an mbox "From " line dropped, and
 * when its first line ends with a bare LF (a file written on this system) each bare LF made CRLF. A
 * file whose first line ends with CRLF is taken exactly as it is, so that bare CR, bare LF and NUL
 * can be tried.
 */
#ifndef POSTERN_CTL_MAIL_FILE_H
#define POSTERN_CTL_MAIL_FILE_H

#include <stdint.h>

#include "common/buf.h"

#define MAIL_FILE_MAX                                                                              \
    ((size_t)320 << 20) /* above the largest max_message that can be configured                    \
                         */

/* Slices point into message. */
struct mail_file {
    uint8_t *bytes; /* owned: header block, CRLF, body */
    struct slice message;
    struct slice header; /* header block with its last line end, without the empty line */
    struct slice body;
};

/* Reads a file ("-": standard input). 0, -ERR_SYSTEM (errno), -ERR_TOOBIG; then nothing is left. */
int mail_file_read(const char *path, struct mail_file *out);
/* The same of a text that is copied. 0 or -ERR_TOOBIG. */
int mail_file_of_text(struct slice text, struct mail_file *out);
/* The same of bytes (malloc'd, taken over) that are to be taken exactly as they are. */
void mail_file_of(uint8_t *bytes, size_t len, struct mail_file *out);
void mail_file_clear(struct mail_file *mail);

#endif
