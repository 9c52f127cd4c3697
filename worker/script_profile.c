/*
 * Sampling of where a filter spends its time, while the multiplexor asks for it. The hook function
 * of script_deadline.c tells of each call, each return and every so many instructions; the time
 * since the last sample, when enough has passed, belongs to where the call, the return or the
 * instruction was. So a C function (a pattern match, a decoding, a wait) is seen at its return,
 * with the line that called it.
 */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/text.h"
#include "worker/profile.h"
#include "worker/script_internal.h"

enum {
    SAMPLE_US = 100,   /* between two samples */
    FLUSH_US = 250000, /* a hook that runs long is told of meanwhile */
    FRAMES_MAX = 64,
    FRAME_MAX = 120, /* bytes of one */
};

void script_profile(struct script *script, uint32_t number)
{
    profile_free(script->profile);
    script->profile = number != 0 ? profile_new(number) : NULL;
}

struct profile *script_samples(struct script *script)
{
    return script->profile;
}

void script_profile_watch(struct script *script, void (*tell)(void *context), void *context)
{
    script->tell_samples = tell;
    script->tell_samples_context = context;
}

void script_profile_begin(struct script *script)
{
    if (script->profile != NULL) {
        script->sampled_us = clock_now_us();
        script->told_us = script->sampled_us;
    }
}

/* ---- stacks ---- */

/* Names of functions and files are the filter's: clean text without the separator. */
static size_t clean_frame(char *out, const char *text)
{
    struct text_bounds bounds = {FRAME_MAX, FRAME_MAX, 1};
    size_t n = text_clean(out, slice_text(text), &bounds);
    for (size_t i = 0; i < n; i++) {
        out[i] = out[i] == ';' ? ',' : out[i];
    }
    return n;
}

/* "filter.lua:12 scan", "[C] find". */
static size_t put_frame(lua_State *L, lua_Debug *ar, char *out)
{
    char text[512];
    lua_getinfo(L, "nSl", ar);
    if (ar->what[0] == 'C') {
        snprintf(text, sizeof text, "[C] %s", ar->name != NULL ? ar->name : "function");
    } else if (ar->name != NULL) {
        snprintf(text, sizeof text, "%s:%d %s", ar->short_src, ar->currentline, ar->name);
    } else {
        snprintf(text, sizeof text, "%s:%d", ar->short_src, ar->currentline);
    }
    return clean_frame(out, text);
}

struct frames {
    char text[FRAMES_MAX][FRAME_MAX];
    size_t len[FRAMES_MAX];
    size_t n, bytes;
    bool is_cut;
};

/* The innermost first. first: the level that begins. */
static void get_frames(lua_State *L, int first, struct frames *frames)
{
    lua_Debug ar;
    for (int level = first; lua_getstack(L, level, &ar); level++) {
        size_t n = frames->n;
        if (n == FRAMES_MAX || frames->bytes > PROFILE_STACK_MAX - 2 * FRAME_MAX) {
            frames->is_cut = true;
            return;
        }
        frames->len[n] = put_frame(L, &ar, frames->text[n]);
        frames->bytes += frames->len[n] + 1;
        frames->n++;
    }
}

/* Root first: the hook, then what it called. */
static void sample(struct script *script, lua_State *L, int first, int64_t us)
{
    struct frames frames = {.n = 0};
    char text[PROFILE_STACK_MAX];
    get_frames(L, first, &frames);
    const char *hook = script->hook < HOOK_COUNT ? hook_info(script->hook)->name : "load";
    size_t len = (size_t)snprintf(text, sizeof text, "%s%s", hook, frames.is_cut ? ";..." : "");
    for (size_t i = frames.n; i-- > 0;) {
        text[len++] = ';';
        memcpy(text + len, frames.text[i], frames.len[i]);
        len += frames.len[i];
    }
    profile_add(script->profile, slice_of(text, len), us);
}

void script_profile_event(struct script *script, lua_State *L, const lua_Debug *ar)
{
    int64_t now_us = clock_now_us();
    int64_t us = now_us - script->sampled_us;
    if (us < SAMPLE_US) {
        return;
    }
    /* At a call the time was the caller's; else it was that of the function that runs or ends. */
    bool is_call = ar->event == LUA_HOOKCALL || ar->event == LUA_HOOKTAILCALL;
    script->sampled_us = now_us;
    sample(script, L, is_call ? 1 : 0, us);
    if (now_us - script->told_us >= FLUSH_US && script->tell_samples != NULL) {
        script->told_us = now_us;
        script->tell_samples(script->tell_samples_context);
    }
}
