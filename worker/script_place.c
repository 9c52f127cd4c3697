/*
 * Which line of the filter is running. Modules in Lua, ours and those of the system, stand between
 * the filter and what it asked for; the line that its author looks for is their caller's.
 */
#include <stdio.h>

#include "worker/script_internal.h"

enum { LEVELS_MAX = 100 };

/* Files of the filter's folder are named from there, all others by their whole path. */
static bool is_of_filter(const lua_Debug *ar)
{
    return ar->source[0] != '@' || ar->source[1] != '/';
}

/* True: a line of the filter. Else place is a module's, unless it had one before or no Lua runs in
 * L. */
static bool find(lua_State *L, int level, char *place, size_t place_bytes)
{
    lua_Debug ar;
    for (int last = level + LEVELS_MAX; level < last && lua_getstack(L, level, &ar); level++) {
        if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0) {
            continue;
        }
        bool is_found = is_of_filter(&ar);
        if (is_found || place[0] == '\0') {
            snprintf(place, place_bytes, "%s:%d", ar.short_src, ar.currentline);
        }
        if (is_found) {
            return true;
        }
    }
    return false;
}

bool script_place(
    lua_State *L, int level, const struct script_task *task, char *place, size_t place_bytes)
{
    place[0] = '\0';
    bool is_found = find(L, level, place, place_bytes);
    for (; task != NULL && !is_found; task = task->parent) {
        is_found = task->co != NULL && find(task->co, 0, place, place_bytes);
    }
    return place[0] != '\0';
}
