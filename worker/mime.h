/*
 * MIME reading: the only user of GMime. Our own header scan and caps come first (header count and
 * length, parts, depth, nesting of address groups), so that GMime never sees what it cannot bear;
 * then the tree of parts with byte offsets into the message as received, names, decoded content and
 * text. Nothing is decoded before somebody asks. What two programs may read in two ways is a
 * defect.
 */
#ifndef POSTERN_WORKER_MIME_H
#define POSTERN_WORKER_MIME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/conf.h"
#include "common/header.h"

struct archive_budget;
struct archive_listing;
struct mime;

struct mime_param {
    const char *name;  /* lower case */
    const char *value; /* decoded, UTF-8 */
};

struct mime_part {
    struct mime *mime;
    uint32_t number;                /* in walk order, from 0 */
    const struct mime_part *parent; /* NULL: the root */
    const char *path;               /* "1", "1.2"; the root of a single-part mail is "1" */
    uint32_t depth;                 /* root: 0 */
    bool is_container;              /* multipart or message/rfc822 */
    bool is_decoded; /* found in the decoded content of a part above: header and content are not in
                        the message as received */
    bool is_signed, is_encrypted;
    const char *type;        /* "text/plain", lower case */
    const char *charset;     /* lower case; "" */
    const char *encoding;    /* "base64", lower case; "" */
    const char *disposition; /* lower case; "" */
    const char *content_id;  /* without brackets; "" */
    const char *filename;    /* the name a mail reader would show; NULL */
    const char **filenames;  /* every name some reader could derive */
    uint32_t n_filenames;
    bool lacks_names; /* there may be more: a limit was reached where they are looked for */
    const struct mime_param *params;
    uint32_t n_params;
    struct slice header;  /* its header block, as received */
    struct slice content; /* its content, still encoded */
};

struct mime_defect {
    const char *kind;             /* stable name: "too-many-parts" … see postern-filter(5) */
    const struct mime_part *part; /* NULL: the message */
    const char *detail;
    bool is_ambiguous; /* could hide content from some reader */
};

/* Once in each process, before any other call. */
void mime_start(void);
/* Gets ready for mime_detected_type, which does it itself at the first need: once before forks, so
 * that all share it. */
void mime_magic_start(void);

/*
 * Reads a message. Never fails: what cannot be read is a defect, and there is always a root.
 * Everything, the result too, lives in the arena except GMime's objects, freed by mime_free.
 */
struct mime *mime_new(struct slice message, const struct header_list *headers,
    const struct conf *conf, struct arena *arena);
void mime_free(struct mime *mime);

const struct mime_part *mime_root(const struct mime *mime);
/* All parts, containers too, in walk order. */
const struct mime_part *const *mime_parts(const struct mime *mime, uint32_t *n_out);
/* Looks through the encoded content of all parts at the first call. */
const struct mime_defect *mime_defects(struct mime *mime, uint32_t *n_out);

/* Decoded content, made at the first call and kept; a container's is its raw bytes. Over
 * worker.max_decoded: cut, with a defect. */
struct slice mime_content(struct mime *mime, const struct mime_part *part);
/* Whether some content was cut for it: what is to be kept or changed must be whole. */
bool mime_is_cut(const struct mime *mime);
/* The size of that, for base64 and quoted-printable without decoding; the same whichever is asked
 * first. */
size_t mime_content_size(struct mime *mime, const struct mime_part *part);
/* Bytes that were decoded so far, of all parts. Each is decoded at most once, and when somebody
 * asks. */
uint64_t mime_decoded_bytes(const struct mime *mime);
/* The part's text as UTF-8 (text/html with tags removed); empty for other types. Bounded by
 * worker.max_text. */
struct slice mime_text(struct mime *mime, const struct mime_part *part);
/* The same to the end of its content. */
struct slice mime_whole_text(struct mime *mime, const struct mime_part *part);
/* The text a person would read: text/plain, failing that text/html. */
struct slice mime_message_text(struct mime *mime);
/* A header value of the part, decoded to UTF-8; data NULL when absent. */
struct slice mime_part_header(struct mime *mime, const struct mime_part *part, struct slice name);
/* From the content itself ("application/zip"); "" when unknown. */
const char *mime_detected_type(struct mime *mime, const struct mime_part *part);

/* What is in the part, if it is an archive; made at the first call and kept. deadline_ms: as of
 * archive_list. All parts share the limits of worker.max_archive_*. */
const struct archive_listing *mime_archive(
    struct mime *mime, const struct mime_part *part, int64_t deadline_ms);
void mime_archive_budget(const struct conf *conf, struct archive_budget *out);

/* Decodes a header value as received (unfolds, RFC 2047, raw 8-bit) to UTF-8 in the arena. */
struct slice mime_decode_header(struct slice value, struct arena *arena);
/* Encodes UTF-8 text as a header value: ASCII as it is, else RFC 2047 in UTF-8; folded with "\n "
 * at 76 columns. */
struct slice mime_encode_header(struct slice text, size_t name_len, struct arena *arena);
/* All charsets named in parts and encoded words, lower case, without repeats. */
const char *const *mime_charsets(struct mime *mime, uint32_t *n_out);
/* Addresses of web pages and mail in the texts of all parts, without repeats, bounded. */
const char *const *mime_urls(struct mime *mime, uint32_t *n_out);

#endif
