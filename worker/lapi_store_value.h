/* Keys, ends and values of the store, from Lua and to Lua. What is wrong raises. */
#ifndef POSTERN_WORKER_LAPI_STORE_VALUE_H
#define POSTERN_WORKER_LAPI_STORE_VALUE_H

#include <lua.h>

#include "common/buf.h"
#include "worker/store.h"

/* A string of min_bytes to STORE_KEY_MAX. */
struct slice lapi_store_check_key(lua_State *L, int index, size_t min_bytes);
/* Seconds, given as milliseconds, rounded up; none or nil: otherwise. */
int64_t lapi_store_check_ttl(lua_State *L, int index, int64_t otherwise);
/* Leaves a string on the stack when the value is a table. nil: STORE_NONE. */
struct store_value lapi_store_check_value(lua_State *L, int index);
void lapi_store_push_value(lua_State *L, const struct store_value *value); /* [-0, +1, m] */

#endif
