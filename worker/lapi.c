#include "worker/lapi.h"

#include "common/hook.h"
#include "common/text.h"
#include "worker/mime.h"
#include "worker/script_internal.h"

enum { LAPI_NAMES_MAX = 128 };

struct lapi_box {
    void *object; /* borrowed */
    uint32_t serial;
    uint32_t tag;
};

/* ---- classes ---- */

static size_t names_add(const luaL_Reg *list, const char **names, size_t n)
{
    for (; list != NULL && list->name != NULL && n + 1 < LAPI_NAMES_MAX; list++) {
        names[n++] = list->name;
    }
    return n;
}

static const char *class_nearest(const struct lapi_class *class, const char *word)
{
    const char *names[LAPI_NAMES_MAX];
    size_t n = names_add(class->fields, names, 0);
    n = names_add(class->methods, names, n);
    names[n] = NULL;
    return text_nearest(word, names);
}

/* Pushes text that a filter's author wrote, escaped and cut, for a message. */
static const char *push_quoted(lua_State *L, int index)
{
    size_t len;
    const char *text = luaL_tolstring(L, index, &len);
    char out[80];
    text_escape(out, sizeof out, slice_of(text, len), '\'');
    lua_pop(L, 1);
    return lua_pushstring(L, out);
}

static int raise_no_field(lua_State *L, const struct lapi_class *class)
{
    if (lua_type(L, 2) != LUA_TSTRING) {
        return luaL_error(
            L, "%s has no field of type %s; fields have names", class->word, luaL_typename(L, 2));
    }
    const char *near = class_nearest(class, lua_tostring(L, 2));
    const char *name = push_quoted(L, 2);
    if (near == NULL) {
        return luaL_error(L, "%s has no field '%s'", class->word, name);
    }
    return luaL_error(L, "%s has no field '%s'; did you mean '%s'?", class->word, name, near);
}

/* Upvalues: the class, methods by name, getters by name. */
static int class_index(lua_State *L)
{
    const struct lapi_class *class = lua_touserdata(L, lua_upvalueindex(1));
    if (lua_type(L, 2) == LUA_TSTRING) {
        size_t len;
        const char *name = lua_tolstring(L, 2, &len);
        script_note_operation(script_of(L), class->word, name, len);
        lua_pushvalue(L, 2);
        if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) {
            return 1;
        }
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(3));
        lua_CFunction getter = lua_tocfunction(L, -1);
        if (getter != NULL) {
            lapi_check(L, 1, class);
            lua_settop(L, 1);
            return getter(L);
        }
    }
    lua_settop(L, 2);
    return raise_no_field(L, class);
}

static bool has_field(const struct lapi_class *class, const char *name)
{
    for (const luaL_Reg *field = class->fields; field != NULL && field->name != NULL; field++) {
        if (strcmp(field->name, name) == 0)
            return true;
    }
    return false;
}

/* Upvalues: the class, setters by name. */
static int class_newindex(lua_State *L)
{
    const struct lapi_class *class = lua_touserdata(L, lua_upvalueindex(1));
    if (lua_type(L, 2) == LUA_TSTRING) {
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(2));
        lua_CFunction setter = lua_tocfunction(L, -1);
        if (setter != NULL) {
            lapi_check(L, 1, class);
            lua_settop(L, 3);
            lua_remove(L, 2);
            return setter(L);
        }
    }
    if (!has_field(class, "state"))
        return luaL_error(L, "%s.%s cannot be assigned; changes are methods (%s:…)", class->word,
            push_quoted(L, 2), class->word);
    return luaL_error(L,
        "%s.%s cannot be assigned; changes are methods (%s:…) and notes belong into %s.state",
        class->word, push_quoted(L, 2), class->word, class->word);
}

static int class_tostring(lua_State *L)
{
    const struct lapi_class *class = lua_touserdata(L, lua_upvalueindex(1));
    lua_pushfstring(L, "%s: %p", class->word, lua_topointer(L, 1));
    return 1;
}

static void push_functions(lua_State *L, const luaL_Reg *list)
{
    lua_newtable(L);
    if (list != NULL) {
        luaL_setfuncs(L, list, 0);
    }
}

/* A class is const data of the program; Lua's light userdata has no const. */
static void push_class(lua_State *L, const struct lapi_class *class)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t) class);
}

void lapi_class_register(lua_State *L, const struct lapi_class *class)
{
    luaL_newmetatable(L, class->name);
    push_class(L, class);
    lua_pushcclosure(L, class_tostring, 1);
    lua_setfield(L, -2, "__tostring");
    push_class(L, class);
    push_functions(L, class->methods);
    push_functions(L, class->fields);
    lua_pushcclosure(L, class_index, 3);
    lua_setfield(L, -2, "__index");
    push_class(L, class);
    push_functions(L, class->setters);
    lua_pushcclosure(L, class_newindex, 2);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    if (class->metamethods != NULL) {
        luaL_setfuncs(L, class->metamethods, 0);
    }
    /* The address is a key that costs no string look-up at each unboxing. */
    lua_rawsetp(L, LUA_REGISTRYINDEX, class);
}

void lapi_own(lua_State *L, const char *class, lua_CFunction free)
{
    if (luaL_newmetatable(L, class)) {
        lua_pushcfunction(L, free);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

/* ---- boxes ---- */

static void push_box(lua_State *L, const struct lapi_class *class, struct lapi_box *box)
{
    box->serial = script_of(L)->box_serial;
    box->tag = 0;
    lua_rawgetp(L, LUA_REGISTRYINDEX, class);
    lua_setmetatable(L, -2);
}

void lapi_box_new(lua_State *L, const struct lapi_class *class, void *object)
{
    struct lapi_box *box = lua_newuserdatauv(L, sizeof *box, 0);
    box->object = object;
    push_box(L, class, box);
}

void lapi_box_copy(lua_State *L, const struct lapi_class *class, const void *object, size_t bytes)
{
    struct lapi_box *box = lua_newuserdatauv(L, sizeof *box + bytes, 0);
    box->object = memcpy(box + 1, object, bytes);
    push_box(L, class, box);
}

static bool is_instance(lua_State *L, int index, const struct lapi_class *class)
{
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) {
        return false;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, class);
    bool is_same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is_same;
}

static void raise_type(lua_State *L, int index, const struct lapi_class *class)
{
    const char *got = luaL_typename(L, index);
    lua_Debug ar;
    if (index == 1 && lua_getstack(L, 0, &ar) && lua_getinfo(L, "n", &ar) && ar.name != NULL) {
        luaL_error(
            L, "%s expected, got %s: call it as %s:%s(…)", class->word, got, class->word, ar.name);
    }
    luaL_argerror(L, index, lua_pushfstring(L, "%s expected, got %s", class->word, got));
}

/* No option of lua_gc is valid while it runs a finaliser: so it says -1. */
bool lapi_is_in_finaliser(lua_State *L)
{
    return lua_gc(L, LUA_GCISRUNNING) < 0;
}

void *lapi_check(lua_State *L, int index, const struct lapi_class *class)
{
    if (!is_instance(L, index, class)) {
        raise_type(L, index, class);
    }
    if (lapi_is_in_finaliser(L)) {
        luaL_error(L, "%s is not available in __gc", class->word);
    }
    struct lapi_box *box = lua_touserdata(L, index);
    if (box->object == NULL || box->serial != script_of(L)->box_serial) {
        luaL_error(L, "%s is no longer available: it may be used only in the hook that got it",
            class->word);
    }
    return box->object;
}

static struct lapi_box *box_at(lua_State *L, int index)
{
    struct lapi_box *box = lua_touserdata(L, index);
    if (lua_type(L, index) != LUA_TUSERDATA || lua_rawlen(L, index) < sizeof *box) {
        luaL_argerror(L, index, "an object of Postern expected");
    }
    return box;
}

void lapi_box_set_tag(lua_State *L, int index, uint32_t tag)
{
    box_at(L, index)->tag = tag;
}

uint32_t lapi_box_tag(lua_State *L, int index)
{
    return box_at(L, index)->tag;
}

/* All at once: a box knows the serial of the job that it was made for. */
void lapi_boxes_clear(lua_State *L)
{
    script_of(L)->box_serial++;
}

/* ---- values ---- */

void lapi_push_slice(lua_State *L, struct slice s)
{
    lua_pushlstring(L, s.len > 0 ? s.data : "", s.len);
}

void lapi_push_utf8(lua_State *L, struct slice s)
{
    if (text_is_utf8(s)) {
        lapi_push_slice(L, s);
        return;
    }
    /* In the script's buffer, since Lua may raise for want of memory while we hold it. */
    struct buf *scratch = &script_of(L)->scratch;
    buf_reset(scratch);
    if (text_to_utf8(scratch, s) != 0) {
        luaL_error(L, "text of %I bytes is too long", (lua_Integer)s.len);
    }
    lapi_push_slice(L, buf_slice(scratch));
}

struct slice lapi_check_slice(lua_State *L, int index)
{
    size_t len;
    const char *data = luaL_checklstring(L, index, &len);
    return slice_of(data, len);
}

int lapi_raise_too_early(lua_State *L, const char *what, enum hook first)
{
    return luaL_error(L, "%s is known from %s on", what, hook_info(first)->name);
}

static bool has_key(const char *const *keys, const char *key)
{
    for (; *keys != NULL; keys++) {
        if (strcmp(*keys, key) == 0) {
            return true;
        }
    }
    return false;
}

static void raise_key(lua_State *L, int key_index, const char *const *keys)
{
    const char *near = lua_type(L, key_index) == LUA_TSTRING
                           ? text_nearest(lua_tostring(L, key_index), keys)
                           : NULL;
    const char *name = push_quoted(L, key_index);
    if (near != NULL) {
        luaL_error(L, "unknown key '%s'; did you mean '%s'?", name, near);
    }
    luaL_error(L, "unknown key '%s'", name);
}

void lapi_check_keys(lua_State *L, int index, const char *const *keys)
{
    luaL_checktype(L, index, LUA_TTABLE);
    index = lua_absindex(L, index);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || !has_key(keys, lua_tostring(L, -2))) {
            raise_key(L, lua_absindex(L, -2), keys);
        }
    }
}

struct mime *lapi_mime(lua_State *L, struct job *job)
{
    enum hook hook = script_current_hook(L);
    if (hook != HOOK_MESSAGE) {
        lapi_raise_too_early(L, "the content of a message", HOOK_MESSAGE);
    }
    return job_mime(job);
}
