/*
 * One reading of a region of bytes, the message or what a container decodes to, and the files that
 * share it: mime_tree.c (which regions, how often) → mime_region.c (boundaries and the stack) →
 * mime_part_open.c (a part's beginning) → mime_delimiter.c (which boundary a line is).
 */
#ifndef POSTERN_WORKER_MIME_REGION_H
#define POSTERN_WORKER_MIME_REGION_H

#include "common/text.h"
#include "worker/mime_impl.h"

/* An open multipart's boundary, compared by its first 8 bytes first. */
struct mime_delimiter {
    struct slice text;
    uint64_t key, mask;
    struct mime_node *node;
    uint32_t open_at; /* of node in the stack */
    bool is_closed;   /* its end was seen */
};

/* One reading of a region, as far as it has got. In the arena: the stack and the delimiters. */
struct mime_region_scan {
    struct mime *mime;
    struct slice bytes;
    size_t pos;
    size_t n_passed;         /* of the message's dashes, those before pos */
    bool is_second;          /* the generous reading */
    bool is_full;            /* too many parts: stop */
    struct mime_node *above; /* the container whose content the region is; NULL for the message */
    struct mime_node **open;
    uint32_t n_open;
    struct mime_delimiter *delimiters;
    uint32_t n_delimiters, cap_delimiters;
    struct mime_found found;
};

struct mime_match {
    uint32_t index; /* of the delimiter */
    bool is_end;
};

static inline uint32_t mime_max_depth(const struct mime *mime)
{
    return (uint32_t)mime->conf->worker.max_depth;
}

/* mime_region.c: reads the whole region; mime, bytes, above and is_second are set, all else is
 * zero. */
void mime_region_read(struct mime_region_scan *scan);
/* What follows is in none of node's parts until one begins. */
static inline void mime_gap_open(struct mime_region_scan *scan, struct mime_node *node)
{
    node->gap = scan->bytes.data + scan->pos;
}

/* mime_part_open.c: opens the part whose header starts at scan->pos; of a message, the part
 * inside as well, and so on. */
void mime_part_open(struct mime_region_scan *scan);
/* Whether its content has an encoding that a container must not have. */
bool mime_node_is_encoded(const struct mime_node *node);

/* mime_delimiter.c: the boundaries that are open. */
/* Opens those of a multipart that was put on the stack last; one is guessed for a
 * multipart that has none. */
void mime_delimiters_open(struct mime_region_scan *scan, struct mime_node *node);
void mime_delimiter_add(
    struct mime_region_scan *scan, struct mime_node *node, struct slice boundary);
/* Innermost open one first; one that was closed already only when no other fits; a mere beginning
 * only in the second reading. */
bool mime_delimiter_match(struct mime_region_scan *scan, struct slice line, struct mime_match *out);
/* Dashes at at with blanks before them: whether they are a boundary that only some programs see. */
void mime_delimiter_check_indented(struct mime_region_scan *scan, size_t at);

/* Whether a line is a boundary: few lines begin with dashes. */
static inline bool mime_is_delimiter(
    struct mime_region_scan *scan, struct slice line, struct mime_match *out)
{
    if (scan->is_second)
        line = text_after_blanks(line);
    return scan->n_delimiters > 0 && line.len >= 2 && line.data[0] == '-' && line.data[1] == '-' &&
           mime_delimiter_match(scan, line, out);
}

#endif
