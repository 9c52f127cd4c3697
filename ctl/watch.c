#include "ctl/watch.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/err.h"

int watch_open(struct watch *watch, const char *folder, const char *name)
{
    *watch = (struct watch){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .name = name};
    if (watch->fd < 0) {
        return -ERR_SYSTEM;
    }
    if (inotify_add_watch(watch->fd, folder, IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR) < 0) {
        int saved = errno;
        watch_close(watch);
        errno = saved;
        return -ERR_SYSTEM;
    }
    return 0;
}

void watch_close(struct watch *watch)
{
    if (watch->fd >= 0) {
        close(watch->fd);
    }
    watch->fd = -1;
}

static bool is_of_interest(const struct watch *watch, const char *name)
{
    size_t len = strlen(name);
    return strcmp(name, watch->name) == 0 || (len > 4 && strcmp(name + len - 4, ".lua") == 0);
}

void watch_read(struct watch *watch, int64_t now_ms)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while ((n = read(watch->fd, events, sizeof(events))) > 0) {
        for (char *at = events; at < events + n;) {
            struct inotify_event event;
            memcpy(&event, at, sizeof(event));
            const char *name = event.len > 0 ? at + sizeof(event) : "";
            /* After an overflow anything may have changed. */
            if ((event.mask & IN_Q_OVERFLOW) != 0 || is_of_interest(watch, name)) {
                watch->changed_ms = now_ms;
            }
            at += sizeof(event) + event.len;
        }
    }
}

int64_t watch_due_ms(const struct watch *watch, int64_t now_ms)
{
    if (watch->changed_ms == 0) {
        return -1;
    }
    int64_t left = watch->changed_ms + WATCH_DEBOUNCE_MS - now_ms;
    return left > 0 ? left : 0;
}

void watch_take(struct watch *watch)
{
    watch->changed_ms = 0;
}
