/* fork, descriptors, exec. */
#include "multiplexor/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/sock.h"
#include "multiplexor/spawn.h"

enum { NURSERY_FD = 3, SHADOW_NICE = 10 };

/* In the child: never returns. */
static void become_nursery(char **arguments, int fd, pid_t parent, bool is_shadow)
{
    static const int keep[] = {NURSERY_FD};
    spawn_begin(parent);
    if (is_shadow)
        (void)setpriority(PRIO_PROCESS, 0,
            getpriority(PRIO_PROCESS, 0) + SHADOW_NICE); /* the processors are the others' first */
    if (fd == NURSERY_FD ? fcntl(fd, F_SETFD, 0) != 0 : dup2(fd, NURSERY_FD) < 0)
        _exit(EXIT_CODE_SYSTEM);
    spawn_finish(keep, 1);
    /* Bound once here, not by each worker that it forks. */
    setenv("LD_BIND_NOW", "1", 1);
    execv(arguments[0], arguments);
    log_error("cannot run %s: %s", arguments[0], strerror(errno));
    _exit(EXIT_CODE_SYSTEM);
}

int nursery_spawn(const char *program, const struct conf *conf, uint32_t generation, bool is_shadow,
    pid_t *pid_out, int *fd_out)
{
    int pair[2];
    char number[16];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        log_error("cannot make a socket for a nursery: %s", strerror(errno));
        return -ERR_SYSTEM;
    }
    snprintf(number, sizeof(number), "%u", generation);
    const char *const more[] = {is_shadow ? "--shadow" : "--nursery", number, NULL};
    char **arguments = spawn_arguments(program, NULL, conf, more);
    pid_t parent = getpid();
    pid_t pid = sock_set_record_buffers(pair[1]) == 0 ? fork() : -1;
    if (pid == 0)
        become_nursery(arguments, pair[1], parent, is_shadow);
    int error = errno;
    free(arguments);
    close(pair[1]);
    if (pid < 0) {
        log_error("cannot start a nursery: %s", strerror(error));
        close(pair[0]);
        return -ERR_SYSTEM;
    }
    *pid_out = pid;
    *fd_out = pair[0];
    return 0;
}
