/*
 * One request while its hook runs: script_run.c → script_arguments.c (what goes in),
 * script_result.c (what comes out). Nobody else includes it.
 */
#ifndef POSTERN_WORKER_SCRIPT_RUN_H
#define POSTERN_WORKER_SCRIPT_RUN_H

#include "worker/script_internal.h"

struct script_run {
    struct job *job;
    const struct hook_info *info;
    struct wire_reply *reply;
    bool is_refused; /* the answer is that of a failed rewriting */
    enum failure_answer refusal;
};

/* script_arguments.c. Whether a request may ask for the hook. */
bool script_has_arguments(enum hook hook);
/* For struct script_call; context is a struct script_run. [-0, +n, m] */
int script_push_arguments(lua_State *L, struct script *script, void *context);

/* script_result.c. The same. */
const char *script_take_results(
    lua_State *L, struct script *script, int first, int n, void *context);
/*
 * What filter_map returned, as the socketmap server passes it on in the reply's text: a string is
 * the value, nil not found, nil and a text a temporary failure, and with "perm" a lasting one.
 */
const char *script_take_map_results(
    lua_State *L, struct script *script, int first, int n, void *context);

#endif
