/*
 * The content of an S/MIME object: what is signed, compressed or just wrapped in CMS (RFC 5652,
 * RFC 3274). For the MIME reader alone.
 */
#ifndef POSTERN_WORKER_MIME_CMS_H
#define POSTERN_WORKER_MIME_CMS_H

#include <stdbool.h>

#include "common/buf.h"

struct mime;
struct mime_node;

/* What an S/MIME object does to its content. */
enum mime_cms_kind {
    MIME_CMS_NONE = 0,  /* it is no such object, or one that nobody knows */
    MIME_CMS_SIGNED,    /* the content is there, with signatures */
    MIME_CMS_SIGNATURE, /* of a content that is elsewhere; or certificates only */
    MIME_CMS_SEALED,    /* encrypted */
    MIME_CMS_OPEN       /* compressed, digested, or just wrapped */
};

struct mime_cms_layer;
struct mime_cms {
    enum mime_cms_kind kind;
    struct slice content; /* when has_content */
    bool has_content;
    /* for mime_cms.c alone */
    const struct mime_cms_layer *inner; /* that the content is, without MIME around it; NULL */
    bool is_deflated, is_in_pieces, is_open;
    bool is_cut;          /* it ends before it should */
    bool is_inmost_whole; /* what was entered last says its length, and has it */
};
/* What the beginning of an object says. False: it does not say all yet, or cannot be read; kind may
 * be known all the same. */
bool mime_cms_look(struct slice bytes, struct mime_cms *out);
/* Finds the content, in the arena where it does not stand in bytes in one piece. False: it is
 * broken; content is what could be read. Counts against worker.max_decoded. */
bool mime_cms_open(
    struct mime *mime, struct mime_node *node, struct slice bytes, struct mime_cms *out);

#endif
