/*
 * What the files of the Lua API share: classes as full userdata with a named metatable, boxes that
 * are cleared when the hook returns, checked option tables. One type per file: lapi_conn, lapi_msg,
 * lapi_rcpt, lapi_part, lapi_verdict, lapi_state, lapi_log.
 */
#ifndef POSTERN_WORKER_LAPI_H
#define POSTERN_WORKER_LAPI_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

#include "common/action.h"
#include "common/buf.h"
#include "common/verdict.h"
#include "worker/job.h"
#include "worker/script.h"

/*
 * A class. Fields are read by a getter (self at index 1, pushes one value); methods are ordinary
 * functions. Reading anything else raises "msg has no field 'sbuject'; did you mean 'subject'?";
 * writing raises, except through setters.
 */
struct lapi_class {
    const char *name;        /* "postern.msg": the metatable's name */
    const char *word;        /* "msg": in errors */
    const luaL_Reg *fields;  /* getters */
    const luaL_Reg *setters; /* may be NULL: self at 1, value at 2 */
    const luaL_Reg *methods;
    const luaL_Reg *metamethods; /* __tostring, __eq …; may be NULL */
};

void lapi_class_register(lua_State *L, const struct lapi_class *class); /* [-0, +0, m] */

/*
 * A box holds one borrowed pointer, valid while the hook runs. lapi_box_new pushes a new one [-0,
 * +1, m]; all boxes made during a job are cleared by lapi_boxes_clear at its end. lapi_check raises
 * on a wrong type ("msg expected, got nil: call it as msg:header(…)"), on a cleared box ("msg is no
 * longer available"), and in a finaliser: __gc may run whenever a function of ours allocates, with
 * pointers into the job in its hands.
 */
void lapi_box_new(lua_State *L, const struct lapi_class *class, void *object);
/* The same with a copy of the object, of `bytes` bytes, in Lua's own memory. */
void lapi_box_copy(lua_State *L, const struct lapi_class *class, const void *object, size_t bytes);
void *lapi_check(lua_State *L, int index, const struct lapi_class *class);
bool lapi_is_in_finaliser(lua_State *L);
/* The box's further word (e.g. a recipient's number); 0 at first. */
void lapi_box_set_tag(lua_State *L, int index, uint32_t tag);
uint32_t lapi_box_tag(lua_State *L, int index);
void lapi_boxes_clear(lua_State *L);

/*
 * The userdata on top of the stack owns something outside of Lua's memory that `free` gives back:
 * gives it the metatable `class`, made at its first use, which scripts cannot see. [-0, +0, m]
 */
void lapi_own(lua_State *L, const char *class, lua_CFunction free);

void lapi_push_slice(lua_State *L, struct slice s);
void lapi_push_utf8(lua_State *L, struct slice s);      /* invalid sequences replaced by U+FFFD */
struct slice lapi_check_slice(lua_State *L, int index); /* a string; raises */
/* Raises with file and line of the filter: "msg.subject is known from filter_headers on". */
int lapi_raise_too_early(lua_State *L, const char *what, enum hook first);
/* Checks that every key of the table at index is in keys (NULL-terminated), else raises with "did
 * you mean". */
void lapi_check_keys(lua_State *L, int index, const char *const *keys);

/* Each file's registration, called by script_new in this order. */
void lapi_verdict_register(lua_State *L);
void lapi_state_register(lua_State *L);
void lapi_conn_register(lua_State *L);
void lapi_rcpt_register(lua_State *L);
void lapi_part_register(lua_State *L);
void lapi_msg_register(lua_State *L);
void lapi_log_register(lua_State *L);

/* Pushes the object that a hook gets. */
void lapi_push_conn(lua_State *L, struct job *job);
void lapi_push_msg(lua_State *L, struct job *job);
void lapi_push_rcpt(
    lua_State *L, struct job *job, uint32_t number); /* number in the envelope, from 0 */
struct mime_part;
void lapi_push_part(lua_State *L, struct job *job, const struct mime_part *part);
struct mime *lapi_mime(lua_State *L,
    struct job *job); /* reads the message at the first call; raises before filter_message */

/* What a hook returned, at stack index (none or nil: continue). */
struct lapi_verdict {
    enum verdict verdict;
    struct smtp_reply reply;
    uint32_t delay_ms;
    bool whole_message;
    char where[256];
};
/* Returns NULL, or why it is not a verdict that this hook may return (in the arena of the job). */
const char *lapi_verdict_take(lua_State *L, int index, const struct hook_info *hook,
    struct job *job, struct lapi_verdict *out);
/* A verdict was made during this hook and not returned: its place "filter.lua:12" and name; NULL
 * when none is pending. Reset at each hook's start. */
const char *lapi_verdict_unreturned(lua_State *L, const char **name_out);
void lapi_verdict_reset(lua_State *L);

/* conn.state and msg.state: set up before a hook from bytes, taken after it. -ERR_BAD: error text
 * on the Lua stack. */
enum lapi_state_kind { LAPI_STATE_CONN = 0, LAPI_STATE_MSG };
int lapi_state_set(lua_State *L, enum lapi_state_kind kind, struct slice bytes);
void lapi_state_push(lua_State *L, enum lapi_state_kind kind);
/* Encodes; *changed_out is false when the bytes equal those set. 0 or -ERR_BAD/-ERR_TOOBIG with
 * error_out set to a borrowed text (naming the key). */
int lapi_state_take(lua_State *L, enum lapi_state_kind kind, struct buf *out, bool *changed_out,
    const char **error_out);

#endif
