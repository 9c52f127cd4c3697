/*
 * HTML cut into tokens as browsers cut it (the tokenizer of the HTML standard), without a tree:
 * text, tags, comments, and the content of elements that hold no tags. Works on any bytes in which
 * ASCII means ASCII; tokens follow each other without gaps; time linear in the input.
 */
#ifndef POSTERN_WORKER_HTML_SCAN_H
#define POSTERN_WORKER_HTML_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"

enum html_kind {
    HTML_TEXT = 0,
    HTML_START_TAG,
    HTML_END_TAG,
    HTML_COMMENT, /* also doctypes, processing instructions, CDATA */
    HTML_RAW      /* content of script, style, title, textarea … */
};

struct html_token {
    enum html_kind kind;
    size_t start, end;
    struct slice name;       /* of a tag; for HTML_RAW of the element; else empty */
    struct slice attributes; /* of a start tag: what html_attribute_next reads */
    bool is_open;            /* the input ended before it did */
};

struct html_scan {
    struct slice html;
    size_t pos;
    struct slice raw;   /* the element whose content comes next; empty: none */
    bool has_no_double; /* no double quote follows: one that opens is never closed */
    bool has_no_single;
};

void html_scan_init(struct html_scan *scan, struct slice html);
bool html_scan_next(struct html_scan *scan, struct html_token *out); /* false at the end */

struct html_attribute {
    struct slice name;
    struct slice value; /* without quotes, as written; data NULL when there is no "=" */
    char quote;         /* double or single, 0: none */
};
/* The next attribute at *pos of a token's attributes; false at their end. */
bool html_attribute_next(struct slice attributes, size_t *pos, struct html_attribute *out);

bool html_is_space(char c); /* as HTML has it: without vertical tab */

/* html_entity.c: the character reference at the front of text ("&amp;"): the bytes it takes, 0 when
 * there is none. */
size_t html_entity_read(struct slice text, uint32_t *code_out);
/* One character as UTF-8, at most 4 bytes; what is no character as U+FFFD. */
size_t html_put_code(uint32_t code, char *out);
/* Text with its references decoded; the text itself when it has none. */
struct slice html_decode(struct slice text, struct arena *arena);
/* UTF-8 text so that it is text in HTML and in a quoted attribute: & < > " ' escaped, and with
 * ascii_only every character outside ASCII as a number. 0 or -ERR_TOOBIG. */
int html_escape(struct slice text, bool ascii_only, struct buf *out);
/* HTML in which characters outside ASCII are numbers, so that no charset can spoil them. The same
 * result. */
int html_to_ascii(struct slice html, struct buf *out);

#endif
