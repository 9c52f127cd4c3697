/*
 * The header of one part while it is read: mime_entity.c (fields) → mime_entity_type.c (what
 * Content-Type says). Nobody else includes it.
 */
#ifndef POSTERN_WORKER_MIME_ENTITY_H
#define POSTERN_WORKER_MIME_ENTITY_H

#include "worker/mime_impl.h"

enum {
    MIME_ENTITY_VALUES_MAX = 24
}; /* content fields of one header kept for the search for names */

struct mime_entity {
    struct mime *mime;
    struct mime_node *node;
    bool is_second;
    struct slice
        values[MIME_ENTITY_VALUES_MAX]; /* dispositions, types, and lines that are no fields */
    uint32_t n_values;
    struct slice type_value, disposition_value, encoding_value;
    bool has_type, has_disposition, has_encoding, has_id;
    struct slice description, location;       /* the first of each; data NULL: none */
    const char *disposition_name, *type_name; /* the names of filename= and name= that count */
    bool has_blank_line;
    struct slice *boundaries;
    uint32_t n_boundaries;
};

static inline void mime_entity_report(
    struct mime_entity *e, enum mime_defect_kind kind, const char *detail)
{
    mime_defect_add(e->mime, e->node, kind, detail);
}

/* ---- mime_entity.c ---- */

/* Keeps a value for the search for names. */
void mime_entity_keep(struct mime_entity *e, struct slice value);
/* mime_params_read, and reports what was odd. */
void mime_entity_params(
    struct mime_entity *e, struct slice rest, const struct mime_param **out, uint32_t *n_out);

/* ---- mime_entity_type.c ---- */

/* A Content-Type, the first or a further one. */
void mime_entity_type(struct mime_entity *e, struct slice value);
/* The type at the front of a value: "text/plain" when it is none; reported. */
const char *mime_entity_type_read(
    struct mime_entity *e, struct slice value, struct slice *rest_out);
/* Those that hold a message, or its header, only for some programs: those that put pieces together,
 * or fetch the rest. */
bool mime_is_indirect_type(const char *type);

#endif
