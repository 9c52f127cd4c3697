/*
 * For tests of MIME reading: a message read under a configuration, and short texts of what was
 * found, to compare with.
 */
#ifndef POSTERN_TESTS_MIME_FIXTURE_H
#define POSTERN_TESTS_MIME_FIXTURE_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/conf.h"
#include "common/header.h"
#include "worker/mime.h"

struct mime_fixture {
    struct conf *conf;
    struct arena *arena;
    struct header_list headers;
    char *bytes; /* the message, exactly as long as it is, so that a sanitizer sees what is read
                    beyond */
    struct slice message;
    struct mime *mime;
};

/* overrides: "worker.max_parts=5", NULL-terminated, or NULL. */
void mime_fixture_open(struct mime_fixture *f, const char *const *overrides);
void mime_fixture_close(struct mime_fixture *f);
/* Reads a message; what was read before is gone. */
void mime_fixture_read(struct mime_fixture *f, const void *data, size_t len);
/* The same from a C string, in which each LF becomes CRLF. */
void mime_fixture_read_text(struct mime_fixture *f, const char *text);

/*
 * "multipart/mixed(text/plain application/zip[a.zip|b.zip])": types, children in brackets,
 * candidate names. In the arena.
 */
const char *mime_fixture_tree(struct mime_fixture *f);
/* Kinds of the defects, sorted, separated by blanks; "" when there are none. */
const char *mime_fixture_defects(struct mime_fixture *f);
bool mime_fixture_has_defect(struct mime_fixture *f, const char *kind);
bool mime_fixture_is_ambiguous(struct mime_fixture *f);
/* The candidate names of a part, separated by "|". */
const char *mime_fixture_names(struct mime_fixture *f, const struct mime_part *part);
/* The part with this path; fails the test when there is none. */
const struct mime_part *mime_fixture_part(struct mime_fixture *f, const char *path);
/* Whether some part has this name. */
bool mime_fixture_has_name(struct mime_fixture *f, const char *name);
/* What must hold for any message: numbers, parents, depths, slices inside the message, UTF-8. Ends
 * the program otherwise. */
void mime_fixture_check(struct mime_fixture *f);

#endif
