#include "milterd/thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>

#include "common/err.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK_MIN = 4 << 20 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { STACK_MIN = 4 << 20 };
#else
enum { STACK_MIN = 64 << 10 };
#endif
#else
enum { STACK_MIN = 64 << 10 };
#endif

int thread_spawn(void *(*run)(void *), void *context, size_t stack_bytes)
{
    pthread_attr_t attributes;
    pthread_t id;
    sigset_t all, before;
    int rc;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, stack_bytes > STACK_MIN ? stack_bytes : STACK_MIN);
    sigfillset(&all);
    /* A crash must reach its handler, if there is one, and the kernel's report. */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&id, &attributes, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (rc == 0)
        return 0;
    errno = rc;
    return -ERR_SYSTEM;
}
