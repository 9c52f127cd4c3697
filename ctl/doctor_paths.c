/* The checks of sockets and folders of our own: there, ours, with the right owner and mode, with
 * room. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/err.h"
#include "common/trace_file.h"
#include "ctl/doctor.h"
#include "ctl/doctor_users.h"
#include "ctl/server.h"

enum { CONNECT_MS = 2000, MESSAGES_OF_ROOM = 10, INODES_FEW = 1000, STATE_ROOM = 64 << 20 };
#define MAGIC_TMPFS 0x01021994L
#define MAGIC_RAMFS 0x858458f6L

/* Where a daemon will make a socket or file. True: it can. */
static bool folder_takes_file(struct doctor *doctor, enum doctor_grade grade, const char *path,
    const struct access_user *user)
{
    char folder[ACCESS_PATH_MAX], blocker[ACCESS_PATH_MAX], mend[ACCESS_PATH_MAX + 128];
    struct stat st;
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL) {
        return true;
    }
    slash[slash == folder ? 1 : 0] = 0;
    if (stat(folder, &st) != 0) {
        snprintf(mend, sizeof(mend), "systemd-tmpfiles --create, or install -d -o %s %s",
            user->name, folder);
        doctor_say(
            doctor, grade, mend, "%s cannot be made: the folder %s is not there", path, folder);
        return false;
    }
    if (access_reach(user, path, blocker) != 0 || !access_is_granted(user, &st, 3)) {
        snprintf(
            mend, sizeof(mend), "chown %s %s, and x for each folder above", user->name, folder);
        doctor_say(doctor, grade, mend, "%s cannot be made: user %s may not write the folder %s",
            path, user->name, folder);
        return false;
    }
    return true;
}

/* Whether the path is free for a socket or is one; else says what is there. */
static bool is_socket_or_free(struct doctor *doctor, const char *path, bool *is_there_out)
{
    struct stat st;
    *is_there_out = lstat(path, &st) == 0;
    if (!*is_there_out || S_ISSOCK(st.st_mode)) {
        return true;
    }
    doctor_say(doctor, DOCTOR_PROBLEM, "move it away, or choose another path; it is left alone",
        "%s is no socket but a %s", path,
        S_ISDIR(st.st_mode)   ? "folder"
        : S_ISLNK(st.st_mode) ? "symbolic link"
        : S_ISREG(st.st_mode) ? "file"
                              : "special file");
    return false;
}

/* What stands at a path where somebody should listen. */
static void look_at_listener(struct doctor *doctor, const char *path, int type,
    const struct access_user *user, const char *who)
{
    bool is_there;
    int fd = -1;
    struct sock_spec spec = {.kind = SOCK_KIND_UNIX};
    /* The server runs: then somebody must be there. */
    enum doctor_grade absent = doctor->status != NULL ? DOCTOR_PROBLEM : DOCTOR_NOTE;
    snprintf(spec.path, sizeof(spec.path), "%s", path);
    if (!is_socket_or_free(doctor, path, &is_there)) {
        return;
    }
    if (!is_there) {
        if (folder_takes_file(doctor, DOCTOR_PROBLEM, path, user)) {
            doctor_say(doctor, absent, "start it", "%s is not there: %s does not run", path, who);
        }
        return;
    }
    if (sock_connect(&spec, type, CONNECT_MS, &fd) == 0) {
        close(fd);
        doctor_say(doctor, DOCTOR_OK, NULL, "%s answers at %s", who, path);
    } else if (errno == EACCES || errno == EPERM) {
        doctor_say(doctor, DOCTOR_NOTE, "run as root", "this user may not connect to %s", path);
    } else {
        doctor_say(doctor, absent, "start it: the old socket is replaced",
            "%s is left over: nobody listens (%s)", path, err_text(-ERR_SYSTEM));
    }
}

static void look_at_tcp(struct doctor *doctor)
{
    int fd = -1;
    const struct sock_spec *spec = &doctor->milter;
    const char *text = doctor->conf->milterd.socket;
    if (spec->port == 0) {
        doctor_say(doctor, DOCTOR_NOTE, "name a port",
            "%s: the kernel chooses the port, the mail server cannot know it", text);
    } else if (sock_connect(spec, SOCK_STREAM, CONNECT_MS, &fd) == 0) {
        close(fd);
        doctor_say(doctor, DOCTOR_OK, NULL, "postern-milterd answers at %s", text);
    } else {
        doctor_say(doctor, doctor->status != NULL ? DOCTOR_PROBLEM : DOCTOR_NOTE,
            "start it, or look at host and port", "nobody answers at %s: %s", text,
            err_text(-ERR_SYSTEM));
    }
}

void check_milter_socket(struct doctor *doctor)
{
    struct access_user user;
    users_of(doctor, USERS_MILTERD, &user);
    switch (doctor->milter.kind) {
    case SOCK_KIND_FD:
        doctor_say(doctor, DOCTOR_NOTE, NULL,
            "%s: the service manager makes the socket, it is not looked at here",
            doctor->conf->milterd.socket);
        break;
    case SOCK_KIND_INET:
    case SOCK_KIND_INET6:
        look_at_tcp(doctor);
        break;
    case SOCK_KIND_UNIX:
        look_at_listener(doctor, doctor->milter.path, SOCK_STREAM, &user, "postern-milterd");
        break;
    }
}

void check_inner_sockets(struct doctor *doctor)
{
    struct access_user user;
    users_of(doctor, USERS_MULTIPLEXOR, &user);
    look_at_listener(
        doctor, doctor->conf->multiplexor.socket, SOCK_SEQPACKET, &user, "postern-multiplexor");
    look_at_listener(doctor, server_socket(doctor->args, doctor->conf), SOCK_STREAM, &user,
        "its control socket");
    if (doctor->conf->multiplexor.map_socket[0] != 0) {
        look_at_listener(doctor, doctor->conf->multiplexor.map_socket, SOCK_STREAM, &user,
            "filter_map's socket");
    }
}

/* Whether a folder is there and the user's to write; else says what is wrong. */
static bool look_at_folder(
    struct doctor *doctor, const char *option, const char *path, const struct access_user *user)
{
    struct stat st;
    char blocker[ACCESS_PATH_MAX], mend[ACCESS_PATH_MAX + 128];
    snprintf(mend, sizeof(mend), "install -d -o %s -m 0700 %s", user->name, path);
    if (stat(path, &st) != 0) {
        doctor_say(
            doctor, DOCTOR_PROBLEM, mend, "%s = %s: %s", option, path, err_text(-ERR_SYSTEM));
    } else if (!S_ISDIR(st.st_mode)) {
        doctor_say(doctor, DOCTOR_PROBLEM, "move it away", "%s = %s: no folder", option, path);
    } else if (access_reach(user, path, blocker) != 0) {
        doctor_say(doctor, DOCTOR_PROBLEM, "chmod +x for that folder",
            "%s = %s: user %s does not get past %s", option, path, user->name, blocker);
    } else if (!access_is_granted(user, &st, 7)) {
        doctor_say(doctor, DOCTOR_PROBLEM, mend, "%s = %s: user %s may not write there", option,
            path, user->name);
    } else if ((st.st_mode & S_IWOTH) != 0) {
        doctor_say(doctor, DOCTOR_WARNING, "chmod 0700", "%s = %s: everybody may write there",
            option, path);
    } else {
        return true;
    }
    return false;
}

/* False: little, and that has been said. */
static bool look_at_room(
    struct doctor *doctor, const char *option, const char *path, int64_t wanted)
{
    struct statvfs fs;
    char left[32], need[32];
    if (statvfs(path, &fs) != 0) {
        return true;
    }
    int64_t free_bytes = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    doctor_bytes_text(left, sizeof(left), free_bytes);
    doctor_bytes_text(need, sizeof(need), wanted);
    if (free_bytes < wanted) {
        doctor_say(doctor, DOCTOR_WARNING, "make room, or move it to another file system",
            "%s = %s: %s free, %s were better", option, path, left, need);
        return false;
    }
    if (fs.f_files > 0 && fs.f_favail < INODES_FEW) {
        doctor_say(doctor, DOCTOR_WARNING, "remove files, or move it to another file system",
            "%s = %s: only %llu more files fit", option, path, (unsigned long long)fs.f_favail);
        return false;
    }
    return true;
}

static bool is_memory(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && (fs.f_type == MAGIC_TMPFS || fs.f_type == MAGIC_RAMFS);
}

void check_spool(struct doctor *doctor)
{
    const struct conf *conf = doctor->conf;
    struct access_user user;
    users_of(doctor, USERS_MILTERD, &user);
    if (!look_at_folder(doctor, "milterd.spool", conf->milterd.spool, &user) ||
        !look_at_room(doctor, "milterd.spool", conf->milterd.spool,
            MESSAGES_OF_ROOM * conf->milterd.max_message)) {
        return;
    }
    if (is_memory(conf->milterd.spool)) {
        doctor_say(doctor, DOCTOR_WARNING, "a folder on a disk",
            "milterd.spool = %s is memory (tmpfs): messages over milterd.parcel_memory go there in "
            "order to leave it",
            conf->milterd.spool);
    } else {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s belongs to %s and has room", conf->milterd.spool,
            user.name);
    }
}

/* A folder that the configuration names elsewhere: without it, mail that needs it is deferred. */
static void look_at_named(
    struct doctor *doctor, const char *option, const char *path, const struct access_user *user)
{
    if (path[0] == 0) {
        return;
    }
    if (path[0] != '/') {
        doctor_say(doctor, DOCTOR_PROBLEM, "name it from / on", "%s = %s is no absolute path",
            option, path);
    } else if (look_at_folder(doctor, option, path, user) &&
               look_at_room(doctor, option, path, STATE_ROOM)) {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s = %s: %s may write, and has room", option, path,
            user->name);
    }
}

void check_state(struct doctor *doctor)
{
    const char *path = doctor->conf->worker.state_dir;
    struct access_user user;
    struct stat st;
    users_of(doctor, USERS_MULTIPLEXOR, &user);
    if (stat(path, &st) != 0 && errno == ENOENT) {
        doctor_say(doctor, DOCTOR_NOTE, "make it, if a filter keeps files",
            "worker.state_dir = %s is not there", path);
    } else if (look_at_folder(doctor, "worker.state_dir", path, &user) &&
               look_at_room(doctor, "worker.state_dir", path, STATE_ROOM)) {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s belongs to %s and has room", path, user.name);
    }
    look_at_named(doctor, "urls.directory", doctor->conf->urls.directory, &user);
    look_at_named(doctor, "trap.directory", doctor->conf->trap.directory, &user);
}

void check_trace(struct doctor *doctor)
{
    char path[TRACE_PATH_MAX], folder[TRACE_PATH_MAX];
    struct access_user user;
    trace_path(doctor->conf, path);
    if (!trace_is_on(doctor->conf)) {
        doctor_say(doctor, DOCTOR_NOTE, "set trace.size",
            "trace.size = 0: posternctl why and trace know nothing");
        return;
    }
    users_of(doctor, USERS_MILTERD, &user);
    if (!folder_takes_file(doctor, DOCTOR_WARNING, path, &user)) {
        return;
    }
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        slash[slash == folder ? 1 : 0] = 0;
    }
    if (is_memory(folder)) {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s is in memory", path);
    } else {
        doctor_say(doctor, DOCTOR_NOTE, "trace.file in a folder in memory, such as /run/postern",
            "%s is on a disk, to which the kernel writes it now and then", path);
    }
}
