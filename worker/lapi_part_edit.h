/* Methods that change parts; see lapi_part.c and lapi_msg.c, whose classes have them. */
#ifndef POSTERN_WORKER_LAPI_PART_EDIT_H
#define POSTERN_WORKER_LAPI_PART_EDIT_H

#include <lua.h>

int lapi_part_drop(lua_State *L);
int lapi_part_replace(lua_State *L);
int lapi_part_set_content(lua_State *L);
int lapi_part_set_header(lua_State *L);
int lapi_part_defang(lua_State *L);
int lapi_msg_add_part(lua_State *L);
int lapi_msg_replace_message(lua_State *L);

#endif
