#include "multiplexor/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include "common/err.h"
#include "common/proc.h"
#include "common/xalloc.h"

char **spawn_arguments(
    const char *program, const char *word, const struct conf *conf, const char *const *more)
{
    static char conf_flag[] = "-c", override_flag[] = "-o";
    size_t n = 0, n_more = 0;
    while (more[n_more] != NULL)
        n_more++;
    char **arguments = xcalloc((size_t)(2 * conf->n_overrides) + n_more + 5, sizeof(*arguments));
    arguments[n++] = (char *)(uintptr_t)program;
    if (word != NULL)
        arguments[n++] = (char *)(uintptr_t)word;
    if (conf->path != NULL) {
        arguments[n++] = conf_flag;
        arguments[n++] = conf->path;
    }
    for (int i = 0; i < conf->n_overrides; i++) {
        arguments[n++] = override_flag;
        arguments[n++] = conf->overrides[i];
    }
    for (size_t i = 0; i < n_more; i++)
        arguments[n++] = (char *)(uintptr_t)more[i];
    return arguments;
}

void spawn_begin(pid_t parent)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGPIPE};
    sigset_t none;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    if (proc_die_with_parent(SIGKILL, parent) != 0)
        _exit(EXIT_CODE_SYSTEM);
}

void spawn_finish(const int *keep, size_t n_keep)
{
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd >= 0)
        (void)dup2(null_fd, STDIN_FILENO);
    proc_close_fds_except(keep, n_keep);
}
