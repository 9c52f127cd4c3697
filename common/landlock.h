/*
 * Landlock, the kernel's file and network fence for unprivileged processes: a list of allowed paths, put in force for good and inherited by
 * children. By raw system calls, with the rights of newer kernels asked for only where the kernel knows them.
 */
#ifndef POSTERN_LANDLOCK_H
#define POSTERN_LANDLOCK_H

#include <stdbool.h>

enum landlock_access {
    LANDLOCK_READ = 1, /* files and lists of folders */
    LANDLOCK_LIST = 2, /* lists of folders alone */
    LANDLOCK_WRITE = 4, /* change, make, rename and remove files and folders; no links by name, devices, sockets */
    LANDLOCK_WRITE_FILE = 8, /* write a file or device that is there */
    LANDLOCK_EXECUTE = 16,
};

struct landlock;

/* The version of the kernel's Landlock; 0: it has none, or it is switched off. */
int landlock_abi(void);
/*
 * Begins a list. files: paths are fenced; tcp: TCP is refused (from ABI 4 on); scopes: signals and abstract sockets to processes outside are
 * refused (from ABI 6 on). Returns 0 and *out, or -ERR_SYSTEM (-ERR_NOTFOUND: the kernel has no Landlock).
 */
int landlock_open(bool files, bool tcp, bool scopes, struct landlock **out);
/* Allows enum landlock_access bits below a path, links followed. A path that is not there is no error. 0 or -ERR_SYSTEM. */
int landlock_allow(struct landlock *landlock, const char *path, unsigned access);
/* Allows to connect to a TCP port, of whatever address, where TCP is refused otherwise. 0 or -ERR_SYSTEM. */
int landlock_allow_connect(struct landlock *landlock, unsigned port);
/* Puts it in force for this thread and its children; needs no-new-privs. May be entered by many: each gets a domain of its own. 0 or -ERR_SYSTEM. */
int landlock_enter(struct landlock *landlock);
int landlock_fd(const struct landlock *landlock); /* its own; closed on exec */
void landlock_close(struct landlock *landlock);

#endif
