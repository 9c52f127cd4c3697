#include "multiplexor/loop.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "common/sock.h"

void loop_add(struct event *event, const struct timeval *after)
{
    if (event_add(event, after) != 0) {
        log_fatal(EXIT_CODE_SYSTEM, "the event loop takes no further event: %s", strerror(errno));
    }
}

void loop_add_ms(struct event *timer, int64_t after_ms)
{
    int64_t ms = after_ms > 0 ? after_ms : 0;
    struct timeval after = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    loop_add(timer, &after);
}

void loop_listen(struct event *event, int fd)
{
    if (sock_set_nonblocking(fd, true) != 0) {
        log_fatal(EXIT_CODE_SYSTEM, "a listening socket cannot be made non-blocking: %s",
            strerror(errno));
    }
    loop_add(event, NULL);
}
