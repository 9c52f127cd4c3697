/* The files behind require "postern.url". lapi_url.c: parts of an address; lapi_url_rewrite.c: the
 * addresses in a message. */
#ifndef POSTERN_WORKER_LAPI_URL_H
#define POSTERN_WORKER_LAPI_URL_H

#include <lua.h>

int lapi_url_rewrite(lua_State *L);

#endif
