#include "multiplexor/kin.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sock.h"

enum { DEPTH_MAX = 4096, GONE = -1 };

void kin_adopt(void)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
        log_warn("programs of a filter that lose their parent are not ours to know");
}

/* From /proc/PID/stat, whose second field is the name and may hold anything but its end. */
static pid_t parent_of(pid_t pid)
{
    char path[64], text[1024];
    int parent;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return GONE;
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && sscanf(end + 1, " %*c %d", &parent) == 1 ? parent : GONE;
}

static bool descends(pid_t pid)
{
    pid_t own = getpid();
    for (int depth = 0; pid > 1 && depth < DEPTH_MAX; depth++) {
        if (pid == own)
            return true;
        pid_t parent = parent_of(pid);
        if (parent == GONE)
            return access("/proc/self/stat", R_OK) == 0;
        pid = parent;
    }
    return false;
}

bool kin_is_peer(int fd)
{
    uid_t uid;
    gid_t gid;
    pid_t pid;
    return sock_peer(fd, &uid, &gid, &pid) == 0 && uid == geteuid() && descends(pid);
}
