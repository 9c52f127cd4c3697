/* The files of the `part` object. lapi_part.c: fields, content, deeds; lapi_part_name.c: questions
 * about its names; lapi_archive.c: what is in it. */
#ifndef POSTERN_WORKER_LAPI_PART_H
#define POSTERN_WORKER_LAPI_PART_H

#include "worker/archive.h"
#include "worker/lapi.h"
#include "worker/mime.h"

const struct mime_part *lapi_part_check(lua_State *L);           /* at index 1; raises */
const struct mime_part *lapi_part_test(lua_State *L, int index); /* NULL: it is no part */

int lapi_part_replace_with_url(lua_State *L); /* lapi_part_link.c */
int lapi_part_filter_through(lua_State *L);   /* lapi_part_command.c */
int lapi_part_entries(lua_State *L);
/* What is in the part, within the hook's time. */
const struct archive_listing *lapi_part_archive(lua_State *L, const struct mime_part *part);
int lapi_part_has_extension(lua_State *L);
int lapi_part_name_matches(lua_State *L);
int lapi_part_trap(lua_State *L); /* lapi_trap.c */
int lapi_part_strip_html(lua_State *L); /* lapi_part_strip.c */
/* What follows the last dot of a name, dots and blanks at its end left out; empty when there is
 * none. */
struct slice lapi_part_extension_of(const char *name);

#endif
