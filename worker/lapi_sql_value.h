/* Parameters of statements from Lua, and their results to Lua. */
#ifndef POSTERN_WORKER_LAPI_SQL_VALUE_H
#define POSTERN_WORKER_LAPI_SQL_VALUE_H

#include <lua.h>
#include <stdbool.h>

#include "worker/sql.h"

/* No text of a data base may have one. */
bool lapi_sql_has_nul(struct slice text);

/*
 * The n values of the list at index: numbers, booleans, strings, nil, { blob = bytes }. What they
 * borrow is kept alive by the table at `anchors`. Why they cannot be sent, on the stack; or NULL.
 * Raises when one is no value. [-0, +0 or +1, e]
 */
const char *lapi_sql_take_values(
    lua_State *L, int index, int anchors, struct sql_value *out, size_t n);

/* Rows as a list of tables, how many were changed, the name of the first column or nil; or what
 * link:run gives when two columns have the same name. The number of results. [-0, +3 or more, m] */
int lapi_sql_push_result(lua_State *L, struct sql_ask *ask);

#endif
