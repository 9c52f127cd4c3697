/* What a process does to itself. Called at start or after a fork, while there is one thread. */
#include "common/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/text.h"
#include "common/xalloc.h"

static int find_user(const char *user, uid_t *uid_out, gid_t *gid_out)
{
    const struct passwd *entry = getpwnam(user);
    int64_t number;
    if (entry == NULL && text_to_i64(user, 0, UINT32_MAX - 1, &number) == 0)
        entry = getpwuid((uid_t)number);
    if (entry == NULL)
        return -ERR_NOTFOUND;
    *uid_out = entry->pw_uid;
    *gid_out = entry->pw_gid;
    return 0;
}

int proc_group_id(const char *group, gid_t *out)
{
    int64_t number;
    if (text_to_i64(group, 0, UINT32_MAX - 1, &number) == 0) {
        *out = (gid_t)number;
        return 0;
    }
    const struct group *entry = getgrnam(group);
    if (entry == NULL)
        return -ERR_NOTFOUND;
    *out = entry->gr_gid;
    return 0;
}

/* Groups first: without root nothing more can be given up. */
static int become(const char *user, uid_t uid, gid_t gid)
{
    if (initgroups(user, gid) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0)
        return -ERR_SYSTEM;
    if (uid != 0 && setuid(0) == 0)
        log_panic("root privileges came back after they were given up");
    return 0;
}

int proc_drop_privileges(const char *user, const char *group)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    int rc = user[0] != '\0' ? find_user(user, &uid, &gid) : 0;
    if (rc == 0 && group[0] != '\0')
        rc = proc_group_id(group, &gid);
    if (rc != 0)
        return rc;
    if (uid == geteuid() && (gid == getegid() || group[0] == '\0'))
        return 0;
    if (geteuid() != 0)
        return -ERR_DENIED;
    if (user[0] == '\0')
        return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 ? 0 : -ERR_SYSTEM;
    return become(user, uid, gid);
}

size_t proc_raise_fd_limit(size_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur >= wanted)
        return (size_t)limit.rlim_cur;
    struct rlimit raised = {wanted, limit.rlim_max < wanted ? wanted : limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) /* past the hard limit: root alone may */
        return wanted;
    raised = (struct rlimit){limit.rlim_max < wanted ? limit.rlim_max : wanted, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return (size_t)raised.rlim_cur;
    return (size_t)limit.rlim_cur;
}

/* Kernels and sandboxes without close_range make us try one by one. */
static void close_fds(unsigned first, unsigned last)
{
    if (first > last || close_range(first, last, 0) == 0)
        return;
    struct rlimit limit;
    unsigned end = 65536;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < end)
        end = (unsigned)limit.rlim_cur;
    for (unsigned fd = first; fd <= last && fd < end; fd++)
        close((int)fd);
}

static int compare_fds(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

void proc_close_fds_except(const int *keep, size_t n_keep)
{
    int *sorted = xreallocarray(NULL, n_keep + 1, sizeof(*sorted));
    for (size_t i = 0; i < n_keep; i++)
        sorted[i] = keep[i];
    sorted[n_keep] = log_fd();
    qsort(sorted, n_keep + 1, sizeof(*sorted), compare_fds);
    unsigned next = STDERR_FILENO + 1;
    for (size_t i = 0; i <= n_keep; i++) {
        if (sorted[i] < (int)next)
            continue;
        if ((unsigned)sorted[i] > next)
            close_fds(next, (unsigned)sorted[i] - 1);
        next = (unsigned)sorted[i] + 1;
    }
    close_fds(next, INT32_MAX);
    free(sorted);
}

/* The kernel counts a folder's subfolders as links: one call instead of reading the folder. */
int proc_thread_count(void)
{
    struct stat st;
    if (stat("/proc/self/task", &st) != 0)
        return -ERR_SYSTEM;
    return (int)st.st_nlink - 2;
}

void proc_exit(int code)
{
    fflush(NULL);
#ifdef POSTERN_TIDY_EXIT
    exit(code);
#else
    _exit(code);
#endif
}

size_t proc_resident_bytes(pid_t pid)
{
    char text[128];
    snprintf(text, sizeof(text), "/proc/%d/statm", (int)pid);
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (len <= 0)
        return 0;
    text[len] = '\0';
    const char *second = strchr(text, ' ');
    if (second == NULL)
        return 0;
    return strtoul(second + 1, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

void proc_notify(const char *notice)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path != NULL ? strlen(path) : 0;
    if (len < 2 || len >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (sendto(fd, notice, strlen(notice), MSG_DONTWAIT | MSG_NOSIGNAL,
            (const struct sockaddr *)&address, address_len) < 0)
        log_debug("service manager not told \"%s\": %s", notice, err_text(ERR_SYSTEM));
    close(fd);
}

int proc_die_with_parent(int sig, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, sig) != 0)
        return -ERR_PEER;
    return getppid() == parent ? 0 : -ERR_PEER;
}

int proc_program_dir(char *out, size_t out_bytes)
{
    ssize_t len = readlink("/proc/self/exe", out, out_bytes);
    if (len < 0)
        return -ERR_SYSTEM;
    if ((size_t)len >= out_bytes) {
        errno = ENAMETOOLONG;
        return -ERR_SYSTEM;
    }
    out[len] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL) {
        errno = ENOENT;
        return -ERR_SYSTEM;
    }
    *slash = '\0';
    return 0;
}
