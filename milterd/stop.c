#include "milterd/stop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"
#include "milterd/front.h"
#include "milterd/listen.h"
#include "milterd/poison_store.h"
#include "milterd/session.h"
#include "milterd/thread.h"

enum { STOP_LOOK_MS = 10, STOP_POOL_MS = 200 };

static struct {
    struct front *front;
    const struct listener *listener;
} stop;

static void fill(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
}

void stop_block_signals(void)
{
    sigset_t signals;

    fill(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* The next SIGTERM or SIGINT, or 0 after timeout_ms (-1: never). */
static int await_signal(int timeout_ms)
{
    const struct timespec timeout = {
        .tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
    sigset_t signals;

    fill(&signals);
    for (;;) {
        int sig =
            timeout_ms < 0 ? sigwaitinfo(&signals, NULL) : sigtimedwait(&signals, NULL, &timeout);

        if (sig == SIGHUP)
            log_warn("SIGHUP has no meaning here: `posternctl reload` (or SIGHUP to the "
                     "multiplexor) reloads the filter");
        else if (sig > 0)
            return sig;
        else if (errno == EAGAIN)
            return 0;
    }
}

static bool is_quiet(const struct front *front)
{
    return atomic_load(&front->n_open) == 0 && session_busy_count() == 0 &&
           poison_store_is_idle(front->poison);
}

static void *stop_run(void *context)
{
    struct front *front = stop.front;
    int64_t until;

    (void)context;
    (void)await_signal(-1);
    log_info("stopping: waiting for %d messages", atomic_load(&front->n_open));
    proc_notify("STOPPING=1");
    atomic_store(&front->is_draining, true);
    session_stop_accepting(stop.listener->is_shared);
    listener_remove(stop.listener);
    until = clock_now_ms() + front->conf->milterd.drain_time;
    while (!is_quiet(front) && clock_now_ms() < until)
        if (await_signal(STOP_LOOK_MS) != 0)
            break;
    if (!session_is_ours())
        poll(NULL, 0,
            STOP_POOL_MS); /* replies on their way out, which the pool does not let us count */
    if (atomic_load(&front->n_open) > 0)
        log_warn("%d messages did not end in time", atomic_load(&front->n_open));
    front_log_counters(front);
    _exit(EXIT_CODE_OK);
}

int stop_start(struct front *front, const struct listener *listener)
{
    stop.front = front;
    stop.listener = listener;
    return thread_spawn(stop_run, NULL, (size_t)front->conf->milterd.thread_stack);
}
