/* fork, descriptors, signals, exec. */
#include "multiplexor/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"
#include "common/sock.h"
#include "common/xalloc.h"

enum { NURSERY_FD = 3, SHADOW_NICE = 10 };

/* The argument list, made before the fork; pointers into conf. */
static char **make_arguments(
    const char *program, const struct conf *conf, bool is_shadow, char *number)
{
    static char conf_flag[] = "-c", override_flag[] = "-o", nursery_flag[] = "--nursery",
                shadow_flag[] = "--shadow";
    size_t n = 0;
    char **arguments = xcalloc((size_t)(2 * conf->n_overrides) + 6, sizeof(*arguments));
    arguments[n++] = (char *)(uintptr_t)program;
    if (conf->path != NULL) {
        arguments[n++] = conf_flag;
        arguments[n++] = conf->path;
    }
    for (int i = 0; i < conf->n_overrides; i++) {
        arguments[n++] = override_flag;
        arguments[n++] = conf->overrides[i];
    }
    arguments[n++] = is_shadow ? shadow_flag : nursery_flag;
    arguments[n] = number;
    return arguments;
}

static void reset_signals(void)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGPIPE};
    sigset_t none;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child: never returns. Its own process group keeps a terminal's Ctrl-C from the workers,
 * which end in good order after us. */
static void become_nursery(char **arguments, int fd, pid_t parent, bool is_shadow)
{
    static const int keep[] = {NURSERY_FD};
    reset_signals();
    (void)setpgid(0, 0);
    if (is_shadow)
        (void)setpriority(PRIO_PROCESS, 0,
            getpriority(PRIO_PROCESS, 0) + SHADOW_NICE); /* the processors are the others' first */
    if (proc_die_with_parent(SIGKILL, parent) != 0)
        _exit(EXIT_CODE_SYSTEM);
    if (fd == NURSERY_FD ? fcntl(fd, F_SETFD, 0) != 0 : dup2(fd, NURSERY_FD) < 0)
        _exit(EXIT_CODE_SYSTEM);
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd >= 0)
        (void)dup2(null_fd, STDIN_FILENO);
    proc_close_fds_except(keep, 1);
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
    char **arguments = make_arguments(program, conf, is_shadow, number);
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
