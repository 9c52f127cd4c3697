/*
 * What the files behind conn, msg and rcpt share. Stack effects as in the Lua manual; self is at
 * index 1. Everything raises with file and line of the filter.
 *
 * lapi_msg.c fields · lapi_msg_header.c header · lapi_msg_envelope.c sender and recipients ·
 * lapi_msg_origin.c mark_origin · lapi_msg_split.c split · lapi_msg_body.c body, hold, log · lapi_msg_append.c append_text, append_html · lapi_trap.c trap ·
 * lapi_msg_content.c what MIME reading gives · lapi_macros.c ·
 * lapi_args.c.
 */
#ifndef POSTERN_WORKER_LAPI_MSG_H
#define POSTERN_WORKER_LAPI_MSG_H

#include <lua.h>

#include "common/action.h"
#include "worker/job.h"
#include "worker/lapi.h"

struct job *lapi_msg_check(lua_State *L); /* [-0, +0, e] */
/* The one at index; NULL when it is no msg. */
struct job *lapi_msg_test(lua_State *L, int index);
/* lapi_msg_check in a hook that knows what hook `first` knows; else raises "WHAT is known from …". */
struct job *lapi_msg_check_known(lua_State *L, const char *what, enum hook first);
/* The same in a hook that may ask for changes; `method` is named otherwise. */
struct job *lapi_msg_check_change(lua_State *L, const char *method);
/* Adds a change or raises "METHOD: why not". */
void lapi_msg_add(lua_State *L, struct job *job, const char *method, const struct action *action);

/* The domain of an address in lower case (ASCII); "" without one. [-0, +1, m] */
void lapi_domain_push(lua_State *L, struct slice address);

/* The recipient at index; NULL when it is no rcpt. Raises when it is one of an earlier hook. */
struct job_recipient *lapi_rcpt_test(lua_State *L, int index);
void lapi_rcpt_push(lua_State *L, const struct job_recipient *recipient); /* [-0, +1, m] */

/* A table that looks up macros: those that this hook knows; those of one recipient. [-0, +1, m] */
void lapi_macros_push(lua_State *L, struct job *job);
void lapi_recipient_macros_push(lua_State *L, struct envelope_recipient *recipient);
void lapi_macros_register(lua_State *L);

/* ESMTP arguments as a table { SIZE = "10", SMTPUTF8 = true }. [-0, +1, m] */
void lapi_args_push(lua_State *L, struct slice args);
/*
 * ESMTP arguments at index: none, nil, a text, or such a table; empty when none. Valid until the
 * next call of the API. Raises for what no MTA takes.
 */
struct slice lapi_args_check(lua_State *L, int index, struct job *job);

/* Methods. */
int lapi_msg_header(lua_State *L);
int lapi_msg_headers(lua_State *L);
int lapi_msg_raw_header(lua_State *L);
int lapi_msg_each_header(lua_State *L);
int lapi_msg_add_header(lua_State *L);
int lapi_msg_insert_header(lua_State *L);
int lapi_msg_set_header(lua_State *L);
int lapi_msg_delete_header(lua_State *L);
int lapi_msg_set_sender(lua_State *L);
int lapi_msg_add_recipient(lua_State *L);
int lapi_msg_delete_recipient(lua_State *L);
int lapi_msg_recipients(lua_State *L);
int lapi_msg_raw(lua_State *L);
int lapi_msg_raw_headers(lua_State *L);
int lapi_msg_raw_body(lua_State *L);
int lapi_msg_to_eml(lua_State *L);
int lapi_msg_hold(lua_State *L);
int lapi_msg_mark_origin(lua_State *L); /* lapi_msg_origin.c */
int lapi_msg_replace_body(lua_State *L);
int lapi_msg_append_text(lua_State *L);
int lapi_msg_append_html(lua_State *L);
int lapi_msg_log(lua_State *L);
int lapi_msg_trap(lua_State *L);
int lapi_msg_split(lua_State *L); /* lapi_msg_split.c */
int lapi_msg_is_split(lua_State *L);
int lapi_msg_notify_admin(lua_State *L); /* lapi_notify.c */
int lapi_msg_notify_sender(lua_State *L);
int lapi_msg_text(lua_State *L);
int lapi_msg_root(lua_State *L);
int lapi_msg_parts(lua_State *L);
int lapi_msg_walk(lua_State *L);
int lapi_msg_urls(lua_State *L);
int lapi_msg_charsets(lua_State *L);
int lapi_msg_defects(lua_State *L);
int lapi_msg_ambiguous(lua_State *L);

/* The first header field of that name as text; empty when absent. Needs the header to be known.
 * Valid until the next call of the API. */
struct slice lapi_msg_header_text(struct job *job, const char *name);

#endif
