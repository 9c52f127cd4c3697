/* Reading an INI text line by line. Only conf.c needs this. */
#ifndef POSTERN_CONF_READ_H
#define POSTERN_CONF_READ_H

#include "common/buf.h"

enum {
    CONF_LINE_MAX = 8192,    /* bytes of one line, without its end */
    CONF_FILE_MAX = 1 << 20, /* bytes of a whole file */
    CONF_SECTION_MAX =
        40, /* libinih cuts longer names in silence, so they are refused before it sees them */
};

/*
 * What is done with the parts of a text. line: number from 1. Each returns NULL, or what is wrong
 * (malloc'd), which ends the reading.
 */
struct conf_reader {
    char *(*on_section)(void *context, int line, const char *section);
    char *(*on_value)(
        void *context, int line, const char *section, const char *name, const char *value);
    void *context;
};

/*
 * Reads "[section]" and "name = value" lines; "#" and ";" start a comment at the front of a line or
 * after a blank. A line is never continued on the next.
 *
 * name       stands for the file in errors.
 * error_out  malloc'd "NAME:LINE: …" on failure.
 * Returns 0, or -ERR_BAD.
 */
int conf_read_text(
    struct slice text, const char *name, const struct conf_reader *reader, char **error_out);
/* Reads a whole file into out (emptied first; cap CONF_FILE_MAX). 0, -ERR_NOTFOUND, -ERR_TOOBIG or
 * -ERR_SYSTEM. */
int conf_read_file(const char *path, struct buf *out);

#endif
