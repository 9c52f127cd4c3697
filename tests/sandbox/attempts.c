/*
 * A Lua module in C that tries, for the test of the sandbox, what a filter must not be able to do:
 * raw system calls, since the C library would refuse some by itself. attempts.run(folder) returns a
 * table: name → errno as a number, or 0 where the deed was done.
 */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

int luaopen_attempts(lua_State *L);

static const char *const no_words[] = {"/bin/true", NULL};
static const char zeros[512];

/* What no filter may do, by number and arguments. Harmless where it is not refused. */
struct attempt {
    const char *name;
    long number;
    long arguments[5];
};

#define P(pointer) ((long)(intptr_t)(pointer))

static const struct attempt attempts[] = {
#ifdef SYS_fork
    {"fork", SYS_fork, {0}},
    {"vfork", SYS_vfork, {0}},
#endif
    {"clone", SYS_clone, {SIGCHLD}},
    {"clone a sibling", SYS_clone, {CLONE_PARENT | SIGCHLD}},
    {"clone a namespace", SYS_clone, {CLONE_NEWUSER | SIGCHLD}},
    {"clone3", SYS_clone3, {P(zeros), 64}},
    {"execve", SYS_execve, {P("/bin/true"), P(no_words), 0}},
    {"execveat", SYS_execveat, {AT_FDCWD, P("/bin/true"), P(no_words), 0, 0}},
    {"ptrace", SYS_ptrace, {PTRACE_TRACEME}},
    {"process_vm_readv", SYS_process_vm_readv, {1, 0, 0, 0, 0}},
    {"pidfd_open", SYS_pidfd_open, {1, 0}},
    {"kcmp", SYS_kcmp, {1, 1, 0}},
    {"raw socket", SYS_socket, {AF_INET, SOCK_RAW, 1}},
    {"inet socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}},
    {"inet6 socket", SYS_socket, {AF_INET6, SOCK_DGRAM, 0}},
    {"netlink socket", SYS_socket, {AF_NETLINK, SOCK_RAW, 0}},
    {"packet socket", SYS_socket, {AF_PACKET, SOCK_RAW, 0}},
    {"vsock socket", SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}},
    {"alg socket", SYS_socket, {AF_ALG, SOCK_SEQPACKET, 0}},
    {"mount", SYS_mount, {P("none"), P("/nowhere"), P("tmpfs"), 0, 0}},
    {"umount", SYS_umount2, {P("/nowhere"), 0}},
    {"pivot_root", SYS_pivot_root, {P("/"), P("/")}},
    {"chroot", SYS_chroot, {P("/")}},
    {"chdir", SYS_chdir, {P("/")}},
    {"unshare", SYS_unshare, {CLONE_NEWUSER}},
    {"setns", SYS_setns, {0, 0}},
    {"keyctl", SYS_keyctl, {KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0}},
    {"add_key", SYS_add_key, {P("user"), P("x"), P("x"), 1, KEY_SPEC_PROCESS_KEYRING}},
    {"bpf", SYS_bpf, {0, P(zeros), 128}},
    {"io_uring_setup", SYS_io_uring_setup, {1, P(zeros)}},
    {"perf_event_open", SYS_perf_event_open, {P(zeros), 0, -1, -1, 0}},
    {"userfaultfd", SYS_userfaultfd, {1}},
    {"personality", SYS_personality, {0}},
    {"setuid", SYS_setuid, {0}},
    {"setgid", SYS_setgid, {0}},
    {"setgroups", SYS_setgroups, {0, 0}},
    {"capset", SYS_capset, {0, 0}},
    {"reboot", SYS_reboot, {0, 0, 0}},
    {"sethostname", SYS_sethostname, {P("x"), -1}},
    {"settimeofday", SYS_settimeofday, {0, 0}},
    {"clock_settime", SYS_clock_settime, {0, 0}},
    {"swapon", SYS_swapon, {P("/nowhere"), 0}},
    {"init_module", SYS_init_module, {0, 0, P("")}},
    {"finit_module", SYS_finit_module, {-1, P(""), 0}},
    {"kexec_load", SYS_kexec_load, {0, 0, 0, 0}},
    {"syslog", SYS_syslog, {10, 0, 0}},
    {"acct", SYS_acct, {0}},
    {"quotactl", SYS_quotactl, {0, 0, 0, 0}},
    {"open_by_handle_at", SYS_open_by_handle_at, {-1, 0, 0}},
    {"name_to_handle_at", SYS_name_to_handle_at, {-1, 0, 0, 0, 0}},
    {"fanotify_init", SYS_fanotify_init, {0, 0}},
    {"inotify_init1", SYS_inotify_init1, {0}},
    {"prctl", SYS_prctl, {4 /* PR_SET_DUMPABLE */, 1}},
    {"seccomp", SYS_seccomp, {2, 0, P(zeros)}},
    {"setrlimit", SYS_setrlimit, {7, P(zeros)}},
    {"prlimit64", SYS_prlimit64, {0, 7, P(zeros), 0}},
    {"close_range", SYS_close_range, {250, 255, 0}},
    {"landlock_create_ruleset", SYS_landlock_create_ruleset, {0, 0, 1}},
    {"kill the parent", SYS_kill, {0, 0}},
    {"kill everybody", SYS_kill, {-1, 0}},
    {"tgkill init", SYS_tgkill, {1, 1, 0}},
    {"rt_sigqueueinfo", SYS_rt_sigqueueinfo, {1, 0, P(zeros)}},
    {"setpriority", SYS_setpriority, {0, 0, 0}},
    {"ioctl into a terminal", SYS_ioctl, {0, TIOCSTI, P("x")}},
    {"mlockall", SYS_mlockall, {2}},
    {"mbind", SYS_mbind, {0, 0, 0, 0, 0}},
    {"open_tree", SYS_open_tree, {AT_FDCWD, P("/"), 0}},
    {"fsopen", SYS_fsopen, {P("tmpfs"), 0}},
    {"listen", SYS_listen, {0, 1}},
    {"chmod", SYS_fchmodat, {AT_FDCWD, P("/tmp"), 01777}},
    {"chown", SYS_fchownat, {AT_FDCWD, P("/tmp"), 0, 0, 0}},
    {"mknod", SYS_mknodat, {AT_FDCWD, P("/tmp/postern-device"), 010600, 0}},
    {"setxattr", SYS_setxattr, {P("/tmp"), P("user.x"), P("x"), 1, 0}},
};

static long call(const struct attempt *attempt)
{
    const long *a = attempt->arguments;
    long result = syscall(attempt->number, a[0], a[1], a[2], a[3], a[4]);
    bool is_child = result == 0 && (strstr(attempt->name, "fork") != NULL ||
                                       strstr(attempt->name, "clone") != NULL);
    if (is_child) {
        _exit(0);
    }
    return result;
}

static void note(lua_State *L, const char *name, int error)
{
    lua_pushinteger(L, error);
    lua_setfield(L, -2, name);
}

static void try_open(lua_State *L, const char *name, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);
    note(L, name, fd >= 0 ? 0 : errno);
    if (fd >= 0) {
        close(fd);
    }
}

/* A file of the parent, or of a process that the test names. */
static void try_proc(lua_State *L, const char *name, pid_t pid, const char *file, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    try_open(L, name, path, flags);
}

static void try_files(lua_State *L, const char *folder, const char *secret)
{
    char path[4096];
    try_open(L, "open /etc/shadow", "/etc/shadow", O_RDONLY);
    try_open(L, "open the configuration", secret, O_RDONLY);
    try_open(L, "write the filter", luaL_checkstring(L, 3), O_WRONLY);
    try_open(L, "make a file outside", "/tmp/postern-outside", O_WRONLY | O_CREAT);
    try_open(L, "make a file in /dev/shm", "/dev/shm/postern-outside", O_WRONLY | O_CREAT);
    try_open(L, "open the disk", "/dev/sda", O_RDONLY);
    try_open(L, "open /dev/mem", "/dev/mem", O_RDONLY);
    try_open(L, "list /root", "/root", O_RDONLY | O_DIRECTORY);
    try_open(L, "list /proc", "/proc", O_RDONLY | O_DIRECTORY);
    try_proc(L, "memory of the parent", getppid(), "mem", O_RDWR);
    try_proc(L, "environment of the parent", getppid(), "environ", O_RDONLY);
    try_open(L, "own memory", "/proc/self/mem", O_RDWR);
    snprintf(path, sizeof path, "%s/link", folder);
    try_open(L, "write through a link in the state folder", path, O_WRONLY);
    note(L, "make a link", symlink("/etc", "/tmp/postern-link") == 0 ? 0 : errno);
    note(L, "remove the filter", unlink(luaL_checkstring(L, 3)) == 0 ? 0 : errno);
    snprintf(path, sizeof path, "%s/own", folder);
    note(L, "move a file out", rename(path, "/tmp/postern-moved") == 0 ? 0 : errno);
    snprintf(path, sizeof path, "%s/linked", folder);
    note(L, "link a file in", link(secret, path) == 0 ? 0 : errno);
}

/* A socket that nobody hears, in the space of names that folders do not guard. */
static void try_abstract(lua_State *L, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s", name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    bool is_through = connect(fd, (struct sockaddr *)&address, len) == 0;
    note(L, "an abstract socket outside", is_through ? 0 : errno);
    close(fd);
}

/* The multiplexor's own sockets: through when it answers what another peer would get an answer to.
 */
static void try_ask(
    lua_State *L, const char *name, const char *path, int type, const void *question, size_t bytes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 5};
    char answer[64];
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        note(L, name, errno);
    } else {
        bool is_answered = send(fd, question, bytes, MSG_NOSIGNAL) == (ssize_t)bytes &&
                           recv(fd, answer, sizeof answer, 0) > 0;
        note(L, name, is_answered ? 0 : EACCES);
    }
    close(fd);
}

static void try_own_sockets(lua_State *L, const char *control, const char *records)
{
    static const char command[] = "{\"v\":1,\"command\":\"ping\"}\n";
    /* HELLO 1.0 of a milterd */
    static const unsigned char hello[] = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        13, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0};
    try_ask(
        L, "a command at the control socket", control, SOCK_STREAM, command, sizeof command - 1);
    try_ask(L, "a question at the record socket", records, SOCK_SEQPACKET, hello, sizeof hello);
}

/* program(path[, word]): the exit status, or the error of the system below 0. */
static int run_program(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    const char *word = luaL_optstring(L, 2, NULL);
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        execl(path, path, word, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        status = -errno;
    }
    lua_pushinteger(L, status);
    return 1;
}

/* ask(control, records): the same two from wherever a filter wants it. */
static int ask(lua_State *L)
{
    lua_settop(L, 2);
    lua_newtable(L);
    try_own_sockets(L, luaL_checkstring(L, 1), luaL_checkstring(L, 2));
    return 1;
}

/* run(folder, secret, filter, pid, abstract, pid): the table of errors. Of the two workers one is
 * not us. */
static int run(lua_State *L)
{
    const char *folder = luaL_checkstring(L, 1);
    const char *secret = luaL_checkstring(L, 2);
    pid_t sibling = (pid_t)luaL_checkinteger(L, 4);
    if (sibling == getpid()) {
        sibling = (pid_t)luaL_checkinteger(L, 6);
    }
    lua_settop(L, 6);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        note(L, attempts[i].name, call(&attempts[i]) >= 0 ? 0 : errno);
    }
    note(L, "kill a sibling", syscall(SYS_kill, sibling, SIGKILL) == 0 ? 0 : errno);
    note(L, "tgkill a sibling", syscall(SYS_tgkill, sibling, sibling, SIGKILL) == 0 ? 0 : errno);
    try_proc(L, "memory of a sibling", sibling, "mem", O_RDWR);
    try_files(L, folder, secret);
    try_abstract(L, luaL_checkstring(L, 5));
    return 1;
}

int luaopen_attempts(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"run", run}, {"program", run_program}, {"ask", ask}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
