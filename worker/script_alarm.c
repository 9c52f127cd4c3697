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

/* A handler has no argument: the script whose call is watched, NULL for none; when its time is past
 * mending; when the timer goes off, 0 when it is not set. */
static struct script *volatile watched;
static volatile int64_t due_ms, armed_ms;

static void set_timer(int64_t after_ms)
{
    struct itimerval timer = {
        .it_value = {.tv_sec = after_ms / 1000, .tv_usec = after_ms % 1000 * 1000}};
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

static void arm(int64_t now_ms)
{
    armed_ms = due_ms;
    set_timer(due_ms > now_ms ? due_ms - now_ms : 1);
}

static void on_alarm(int signo)
{
    (void)signo;
    struct script *script = watched;
    lua_Debug ar;
    int saved_errno = errno;
    int64_t now_ms = clock_now_ms();
    armed_ms = 0;
    if (script == NULL) {
        return;
    }
    if (now_ms < due_ms) { /* it was set for an earlier call */
        arm(now_ms);
        errno = saved_errno;
        return;
    }
    for (int level = 0; script->running != NULL && lua_getstack(script->running, level, &ar);
         level++) {
        if (lua_getinfo(script->running, "Sl", &ar) && ar.currentline > 0) {
            log_error("%s:%d: %s is past its time and cannot be stopped here, in a C function or a "
                      "finaliser",
                ar.short_src, ar.currentline, script_doing(script));
            break;
        }
    }
    errno = saved_errno;
}

/* The timer stays set from call to call, since the next deadline is later: no system call then. */
void script_alarm_set(struct script *script)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    if (!script->has_alarm) {
        sigemptyset(&action.sa_mask);
        script->has_alarm = sigaction(SIGALRM, &action, NULL) == 0;
    }
    due_ms = script->deadline_ms + script->conf->multiplexor.kill_grace / 2;
    watched = script;
    if (script->has_alarm && (armed_ms == 0 || armed_ms > due_ms)) {
        arm(clock_now_ms());
    }
}

void script_alarm_clear(const struct script *script)
{
    watched = NULL;
    if (script->phase != SCRIPT_SERVING) { /* a fork that comes has no timer, but knows armed_ms */
        set_timer(0);
        armed_ms = 0;
    }
}
