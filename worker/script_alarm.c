/*
 * The deadline where no count hook runs: in a C function (a pattern match) and in a finaliser. A
 * hook cannot be stopped there; but a signal, halfway between its deadline and the end that the
 * multiplexor makes of the worker, tells the log where it is. The handler only reads: chain of
 * calls, line tables and names, which Lua does not move while C code runs.
 */
#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "common/clock.h"
#include "common/log.h"
#include "worker/script_internal.h"

/* A handler has no argument: whose deadline the timer is for. NULL: none is set. */
static struct script *volatile watched;

static void on_alarm(int signo)
{
    (void)signo;
    struct script *script = watched;
    lua_Debug ar;
    int saved_errno = errno;
    if (script == NULL || script->running == NULL) {
        return;
    }
    for (int level = 0; lua_getstack(script->running, level, &ar); level++) {
        if (lua_getinfo(script->running, "Sl", &ar) && ar.currentline > 0) {
            log_error("%s:%d: %s is past its time and cannot be stopped here, in a C function or a "
                      "finaliser",
                ar.short_src, ar.currentline,
                script->hook < HOOK_COUNT ? hook_info(script->hook)->name : "the top level");
            break;
        }
    }
    errno = saved_errno;
}

static void set_timer(int64_t after_ms)
{
    struct itimerval timer = {
        .it_value = {.tv_sec = after_ms / 1000, .tv_usec = after_ms % 1000 * 1000}};
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

void script_alarm_set(struct script *script)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    int64_t at_ms = script->deadline_ms + script->conf->multiplexor.kill_grace / 2;
    int64_t after_ms = at_ms - clock_now_ms();
    if (!script->has_alarm) {
        sigemptyset(&action.sa_mask);
        script->has_alarm = sigaction(SIGALRM, &action, NULL) == 0;
    }
    watched = script;
    if (script->has_alarm) {
        set_timer(after_ms > 0 ? after_ms : 1);
    }
}

void script_alarm_clear(void)
{
    set_timer(0);
    watched = NULL;
}
