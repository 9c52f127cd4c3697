/* JSON (RFC 8259) as Lua values. */
#ifndef POSTERN_WORKER_LAPI_JSON_H
#define POSTERN_WORKER_LAPI_JSON_H

#include <jansson.h>
#include <lua.h>

/* Pushes a value: null is nil, objects and arrays are tables. Raises when it is too deep for Lua's
 * stack; the value stays the caller's. [-0, +1, e] */
void lapi_json_push(lua_State *L, json_t *value);

#endif
