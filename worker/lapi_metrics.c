/*
 * postern.metrics: counters of the filter's own. What is counted stands at once, whatever becomes
 * of the hook, and is told to the multiplexor with the hook's answer.
 */
#include "common/count.h"
#include "common/text.h"
#include "worker/script_internal.h"
#include "worker/tally.h"

#define CLASS_NAME "postern.counter"
#define ADD_MAX    ((lua_Integer)1 << 53) /* what a float holds exactly */

struct counter {
    size_t name_len, help_len;
    char name[COUNT_NAME_MAX];
    char help[COUNT_HELP_MAX];
};

/* Cleaned for whoever shows it, and cut. Returns the length. */
static size_t clean(char *out, size_t max_bytes, struct slice text)
{
    struct text_bounds bounds = {max_bytes, max_bytes, 1};
    return text_clean(out, text, &bounds);
}

static int metrics_counter(lua_State *L)
{
    struct slice name = lapi_check_slice(L, 1);
    struct slice help = lua_isnoneornil(L, 2) ? slice_of(NULL, 0) : lapi_check_slice(L, 2);
    luaL_argcheck(L, count_name_is_valid(name), 1,
        "a counter's name has letters, digits and _, at most 64, no digit first, and no _total at "
        "its end");
    struct counter *counter = lua_newuserdatauv(L, sizeof *counter, 0);
    memcpy(counter->name, name.data, name.len);
    counter->name_len = name.len;
    counter->help_len = clean(counter->help, sizeof counter->help, help);
    luaL_setmetatable(L, CLASS_NAME);
    return 1;
}

/* Stack: … name, value of one label. Texts of values lie in values, one place for each label. */
static void add_label(lua_State *L, struct count *count, char (*values)[COUNT_VALUE_MAX])
{
    int type = lua_type(L, -1);
    if (lua_type(L, -2) != LUA_TSTRING || !count_label_is_valid(lapi_check_slice(L, -2))) {
        luaL_error(L, "a label's name has letters, digits and _, at most 64, and no digit first");
    }
    if (count->n_labels >= COUNT_LABELS_MAX) {
        luaL_error(L, "a counter has at most %d labels", COUNT_LABELS_MAX);
    }
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
        luaL_error(L, "label %s: a string, number or boolean expected, got %s", lua_tostring(L, -2),
            luaL_typename(L, -1));
    }
    size_t len;
    const char *text = luaL_tolstring(L, -1, &len);
    char *value = values[count->n_labels];
    len = clean(value, COUNT_VALUE_MAX, slice_of(text, len));
    lua_pop(L, 1);
    struct count_label label = {lapi_check_slice(L, -2), slice_of(value, len)};
    unsigned at = count->n_labels++;
    for (; at > 0 && strcmp(count->labels[at - 1].name.data, label.name.data) > 0; at--) {
        count->labels[at] = count->labels[at - 1];
    }
    count->labels[at] = label;
}

/* counter:inc([n[, labels]]) */
static int counter_inc(lua_State *L)
{
    struct script *script = script_of(L);
    const struct counter *counter = luaL_checkudata(L, 1, CLASS_NAME);
    lua_Integer n = luaL_optinteger(L, 2, 1);
    char values[COUNT_LABELS_MAX][COUNT_VALUE_MAX];
    struct count count = {.name = slice_of(counter->name, counter->name_len),
        .help = slice_of(counter->help, counter->help_len),
        .add = (uint64_t)n};
    luaL_argcheck(L, n >= 0 && n <= ADD_MAX, 2, "a counter only grows: a number from 0 expected");
    if (script->phase == SCRIPT_LOADING) {
        return luaL_error(L, "count in a hook: the top level runs once for all workers");
    }
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1)) {
            add_label(L, &count, values);
        }
    }
    tally_add(script->tally, &count);
    return 0;
}

static const luaL_Reg fields[] = {{NULL, NULL}};
static const luaL_Reg methods[] = {
    {"inc", counter_inc},
    {NULL, NULL},
};
static const struct lapi_class class = {
    .name = CLASS_NAME, .word = "counter", .fields = fields, .methods = methods};

static const luaL_Reg functions[] = {
    {"counter", metrics_counter},
    {NULL, NULL},
};

int lapi_metrics_open(lua_State *L)
{
    lapi_class_register(L, &class);
    luaL_newlib(L, functions);
    return 1;
}
