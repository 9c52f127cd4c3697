/*
 * A TNEF stream while it is read: mime_tnef.c (attributes, attachments) → mime_tnef_property.c
 * (properties of an attachment). Nobody else includes it.
 */
#ifndef POSTERN_WORKER_MIME_TNEF_H
#define POSTERN_WORKER_MIME_TNEF_H

#include "worker/mime_impl.h"

enum { MIME_TNEF_NAMES_MAX = 16 }; /* of one attachment, before they are compared */

struct mime_tnef {
    struct mime_inside *inside;
    struct slice bytes;
    size_t pos;
    /* the attachment being read */
    struct mime_node *nodes[2]; /* made of it: its data, and that in its properties */
    uint32_t n_nodes;
    struct slice names[MIME_TNEF_NAMES_MAX];
    uint32_t n_names;
    const char *type;
    bool is_full; /* no more parts */
};

/* ---- mime_tnef.c ---- */

/* The next n bytes, or the next number, least significant byte first; false when they are not
 * there, and then nothing moves. */
bool mime_tnef_take(struct slice bytes, size_t *pos, size_t n, struct slice *out);
bool mime_tnef_take_u32(struct slice bytes, size_t *pos, uint32_t *out);
/* what: static. */
void mime_tnef_broken(struct mime_tnef *tnef, const char *what);
/* Of the attachment being read. Texts are UTF-16 or of some code page. */
void mime_tnef_add_data(struct mime_tnef *tnef, const char *type, struct slice data);
void mime_tnef_add_name(struct mime_tnef *tnef, struct slice value, bool is_unicode);
/* The long file name is what Outlook shows, wherever it stands among the names. */
void mime_tnef_add_shown_name(struct mime_tnef *tnef, struct slice value, bool is_unicode);
/* What an object's first 16 bytes say that it is. */
void mime_tnef_add_object(struct mime_tnef *tnef, struct slice value);
void mime_tnef_set_type(struct mime_tnef *tnef, struct slice value, bool is_unicode);

/* ---- mime_tnef_property.c ---- */

/* The properties in an attAttachment. */
void mime_tnef_properties(struct mime_tnef *tnef, struct slice bytes);

#endif
