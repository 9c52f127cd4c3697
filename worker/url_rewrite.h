/*
 * The addresses in one encoded body of text or HTML, and the body with other addresses in their
 * places: only their own bytes change, and in HTML the attributes that hold them.
 */
#ifndef POSTERN_WORKER_URL_REWRITE_H
#define POSTERN_WORKER_URL_REWRITE_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"
#include "worker/charset_out.h"
#include "worker/html.h"
#include "worker/splice.h"

enum { URL_REWRITE_MAX = 8192 }; /* bytes of a new address */

struct url_place {
    bool is_html;
    bool is_listed;        /* stands in a list or a style sheet: some characters would end it */
    struct html_link link; /* of plain text: from and to alone */
    struct slice url;      /* UTF-8, as msg:urls() gives it */
    struct slice new_url;  /* printable ASCII; data NULL: it stays */
};

struct url_rewrite {
    struct splice_body body; /* encoded, encoding, line_end are the caller's */
    const char *charset;     /* lower case; the caller's */
    bool is_html;            /* the caller's */
    struct charset_out form;
    struct arena *arena; /* the caller's, outlives it */
    struct url_place *places;
    size_t n_places, cap_places;
    const char *new_encoding; /* out of url_rewrite_put: what the header must say; NULL: as it is */
};

/*
 * Finds the addresses: http, https, ftp, mailto, in order. In HTML those of attributes and style
 * sheets, and those in the text outside <a>. False when the body cannot be read: unknown encoding,
 * charset without ASCII.
 */
bool url_rewrite_open(struct url_rewrite *rewrite);

/* A new address, as it can stand in any place: spaces, controls, quotes, < > and what is no ASCII
 * percent-encoded (RFC 3986 section 2.1). In arena. */
struct slice url_to_ascii(struct slice url, struct arena *arena);

/* Writes the body with each new_url. 0 or -ERR_TOOBIG. */
int url_rewrite_put(struct url_rewrite *rewrite, struct buf *out);

#endif
