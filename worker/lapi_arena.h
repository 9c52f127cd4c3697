/* Memory for one call of the API in a userdata: it is freed when the call ends, at the latest when
 * Lua collects it after an error. */
#ifndef POSTERN_WORKER_LAPI_ARENA_H
#define POSTERN_WORKER_LAPI_ARENA_H

#include <lua.h>

#include "common/arena.h"

struct arena *lapi_arena_push(lua_State *L); /* [-0, +1, m] */
/* Frees what the userdata at index holds, now. */
void lapi_arena_end(lua_State *L, int index);

#endif
