/*
 * What stands in a mail where a file was: a text with ${…} in it, filled in. Names come out of
 * mails: whatever they hold, they cannot add lines, tags or variables, nor turn the direction of
 * the text around (Unicode's bidirectional controls become "_").
 */
#ifndef POSTERN_WORKER_LINK_TEXT_H
#define POSTERN_WORKER_LINK_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"

enum {
    LINK_TEMPLATE_MAX = 64 << 10, /* bytes of a template */
    LINK_TEXT_MAX = 256 << 10,    /* of what it becomes */
    LINK_SHOWN_BYTES = 200,       /* of a name in it */
};

struct link_facts {
    struct slice name; /* any bytes */
    const char *url, *type, *sha256;
    uint64_t size;
    int64_t expires_secs; /* 0: never */
};

/* The text when the filter gives none: with or without an expiry, as text or HTML. */
const char *link_text_default(bool expires, bool is_html);
/*
 * Fills in ${name}, ${url}, ${size} ("1.4 MB"), ${expires} ("2026-12-22", in UTC; "never"), ${type}
 * and ${sha256}. A "$" that is not followed by "{" stands for itself. html: values are escaped for
 * element content and quoted attributes.
 *
 * Returns NULL and *out (in the arena), or what is wrong with the template (in the arena).
 */
const char *link_text_fill(struct slice template, const struct link_facts *facts, bool is_html,
    struct arena *arena, struct slice *out);

#endif
