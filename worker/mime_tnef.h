/*
 * A TNEF stream while it is read: mime_tnef.c (attributes, attachments) → mime_tnef_body.c (the
 * texts of the message) → mime_tnef_property.c (properties). Nobody else includes it.
 */
#ifndef POSTERN_WORKER_MIME_TNEF_H
#define POSTERN_WORKER_MIME_TNEF_H

#include "worker/mime_impl.h"

enum { MIME_TNEF_NAMES_MAX = 16 }; /* of one attachment, before they are compared */

/* Types of MAPI properties, in the lower half of their tags. */
enum {
    PT_SHORT = 0x0002,
    PT_LONG = 0x0003,
    PT_FLOAT = 0x0004,
    PT_DOUBLE = 0x0005,
    PT_CURRENCY = 0x0006,
    PT_APPTIME = 0x0007,
    PT_ERROR = 0x000a,
    PT_BOOLEAN = 0x000b,
    PT_OBJECT = 0x000d,
    PT_INT64 = 0x0014,
    PT_STRING8 = 0x001e,
    PT_UNICODE = 0x001f,
    PT_SYSTIME = 0x0040,
    PT_CLSID = 0x0048,
    PT_BINARY = 0x0102,
    PT_MULTIPLE = 0x1000,
};

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
    /* the texts of the message */
    struct mime_node *html;
    uint32_t code_page; /* that it is in; 0: not said */
    uint32_t n_bodies;
    bool is_full; /* no more parts */
};

/* ---- mime_tnef.c ---- */

/* The next n bytes, or the next number, least significant byte first; false when they are not
 * there, and then nothing moves. */
bool mime_tnef_take(struct slice bytes, size_t *pos, size_t n, struct slice *out);
bool mime_tnef_take_u32(struct slice bytes, size_t *pos, uint32_t *out);
/* UTF-16 with the least significant byte first; half a pair becomes U+FFFD. */
struct slice mime_tnef_from_utf16(struct slice in, struct arena *arena);
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

/* Calls cb with each value of each property in a list; with what is there of one that is cut off.
 */
typedef void (*mime_tnef_property_cb)(struct mime_tnef *tnef, uint32_t tag, struct slice value);
void mime_tnef_properties(struct mime_tnef *tnef, struct slice bytes, mime_tnef_property_cb cb);
/* One of an attachment: its names, type, content. */
void mime_tnef_attachment_property(struct mime_tnef *tnef, uint32_t tag, struct slice value);

/* ---- mime_tnef_body.c ---- */

/* One of the message itself: its texts become parts. */
void mime_tnef_body_property(struct mime_tnef *tnef, uint32_t tag, struct slice value);
/* When all are known. */
void mime_tnef_body_end(struct mime_tnef *tnef);

#endif
