#include "milterd/listen.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/proc.h"
#include "common/text.h"

enum { LISTEN_FD_FIRST = 3, LISTEN_BACKLOG = 1024 };

/* Whether the service manager passed a socket to this very process. */
static bool is_activated(void)
{
    const char *pid_text = getenv("LISTEN_PID"), *count_text = getenv("LISTEN_FDS");
    int64_t pid, count;

    if (pid_text == NULL || count_text == NULL || text_to_i64(pid_text, 1, INT32_MAX, &pid) != 0 ||
        pid != getpid())
        return false;
    if (text_to_i64(count_text, 1, 1024, &count) != 0)
        return false;
    if (count > 1)
        log_warn("%d sockets were passed; only the first is used", (int)count);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return true;
}

static uid_t owner_of(const char *user)
{
    const struct passwd *entry = user[0] != '\0' ? getpwnam(user) : NULL;

    return entry != NULL && geteuid() == 0 ? entry->pw_uid : (uid_t)-1;
}

static struct sock_listen_options options_of(const struct conf *conf)
{
    struct sock_listen_options options = {
        .type = SOCK_STREAM,
        .mode = (mode_t)conf->milterd.socket_mode,
        .uid = owner_of(conf->milterd.user),
        .gid = (gid_t)-1,
        .backlog = LISTEN_BACKLOG,
    };
    const char *group = conf->milterd.socket_group;

    if (group[0] != '\0' && proc_group_id(group, &options.gid) != 0)
        log_fatal(EXIT_CODE_USAGE, "milterd.socket_group: there is no group %s", group);
    return options;
}

static void note_file(struct listener *listener)
{
    struct stat file;

    if (listener->spec.kind != SOCK_KIND_UNIX || stat(listener->spec.path, &file) != 0)
        return;
    listener->dev = file.st_dev;
    listener->ino = file.st_ino;
}

void listener_open(struct listener *listener, const struct conf *conf)
{
    struct sock_listen_options options = options_of(conf);
    const char *text = conf->milterd.socket;
    int rc = sock_spec_from_text(text, &listener->spec);

    if (rc == 0 && is_activated())
        listener->spec = (struct sock_spec){.kind = SOCK_KIND_FD, .fd = LISTEN_FD_FIRST};
    if (rc == 0)
        rc = sock_listen(&listener->spec, &options, &listener->fd);
    if (rc == -ERR_IN_USE)
        log_fatal(EXIT_CODE_SYSTEM, "%s is in use by a running process", text);
    if (rc != 0)
        log_fatal(EXIT_CODE_SYSTEM, "cannot listen on %s: %s", text, err_text(rc));
    listener->is_shared = listener->spec.kind == SOCK_KIND_FD;
    note_file(listener);
    sock_spec_to_text(&listener->spec, listener->fd, listener->text, sizeof listener->text);
}

void listener_remove(const struct listener *listener)
{
    struct stat file;

    if (listener->ino == 0 || stat(listener->spec.path, &file) != 0)
        return;
    if (file.st_dev == listener->dev && file.st_ino == listener->ino &&
        unlink(listener->spec.path) != 0)
        log_debug("the socket file stays: it is not ours to remove");
}
