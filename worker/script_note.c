/*
 * What the script is at, on the page that the multiplexor reads when the worker has died: the field
 * or method of ours that the filter asked for last, and the line, which the count hook notes now
 * and then, and the handler of a signal that ends the process. That handler only reads the chain of
 * calls and line tables; if it crashes over them, the kernel ends the process all the same.
 */
#include <signal.h>
#include <string.h>

#include "common/sanitizer.h"
#include "worker/script_internal.h"

enum { STACK_BYTES = 32 << 10, LINE_DIGITS = 16 };
_Static_assert(LUA_IDSIZE + LINE_DIGITS < NOTE_WHERE_MAX, "a place fits");

static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

/* A handler has no argument. */
static struct script *volatile noted;

/* Digits by hand: no printf in a handler. */
static void put_where(struct note *note, const lua_Debug *ar)
{
    char digits[LINE_DIGITS];
    size_t n = 0, len = strnlen(ar->short_src, sizeof ar->short_src);
    unsigned line = (unsigned)ar->currentline;
    for (; n == 0 || line > 0; line /= 10) {
        digits[n++] = (char)('0' + line % 10);
    }
    memcpy(note->where, ar->short_src, len);
    note->where[len++] = ':';
    while (n > 0) {
        note->where[len++] = digits[--n];
    }
    note->where[len] = '\0';
}

/* The innermost line of Lua that runs. */
static void note_line(struct note *note, lua_State *L)
{
    lua_Debug ar;
    for (int level = 0; L != NULL && lua_getstack(L, level, &ar); level++) {
        if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0) {
            put_where(note, &ar);
            return;
        }
    }
}

static void on_crash(int signo)
{
    struct script *script = noted;
    if (script != NULL && script->note != NULL) {
        note_line(script->note, script->running);
    }
    raise(signo); /* blocked until we return, and then not ours any more */
}

void script_note_watch(struct script *script)
{
    static uint8_t room[STACK_BYTES]; /* where a stack that has run out does not matter */
    const stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_RESETHAND};
    noted = script;
    if (SANITIZER_HAS_ANY) {
        return; /* it has handlers of its own */
    }
    action.sa_flags |= sigaltstack(&stack, NULL) == 0 ? SA_ONSTACK : 0;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) {
        (void)sigaction(crashes[i], &action, NULL);
    }
}

void script_note_set(struct script *script, struct note *note)
{
    script->note = note;
}

void script_note_begin(struct script *script)
{
    if (script->note != NULL) {
        script->note->operation[0] = script->note->where[0] = '\0';
    }
}

void script_note_operation(struct script *script, const char *word, const char *name, size_t len)
{
    struct note *note = script->note;
    size_t n;
    if (note == NULL) {
        return;
    }
    n = strlen(word); /* of a class: short */
    len = len < sizeof note->operation - n - 2 ? len : sizeof note->operation - n - 2;
    memcpy(note->operation, word, n);
    note->operation[n++] = '.';
    memcpy(note->operation + n, name, len);
    note->operation[n + len] = '\0';
}

void script_note_line(struct script *script, lua_State *L)
{
    if (script->note != NULL) {
        note_line(script->note, L);
    }
}
