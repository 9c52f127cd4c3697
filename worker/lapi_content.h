/* Bytes that are handed to a server: lapi_content.c. */
#ifndef POSTERN_WORKER_LAPI_CONTENT_H
#define POSTERN_WORKER_LAPI_CONTENT_H

#include <lua.h>

#include "common/buf.h"

/*
 * What is at index: a string; a msg: the message as received; a part: its decoded content. These
 * two lie outside the Lua heap, are not copied, and stay where they are until the hook ends.
 * Raises for anything else, and for a msg in a hook that does not know the whole message.
 */
struct slice lapi_check_content(lua_State *L, int index);

#endif
