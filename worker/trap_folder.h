/*
 * What the files of the trap's folder share; nobody else includes this. trap_folder.c entries,
 * trap_folder_file.c single files and locks, trap_folder_usage.c bounds, listing and mending.
 *
 * In the folder: ID.eml (a message) or ID.part (a part's content) and ID.json (facts); .secret;
 * .usage (two numbers); .lock (whose bytes are locked, one for each id); .tmp-… (being written).
 */
#ifndef POSTERN_WORKER_TRAP_FOLDER_H
#define POSTERN_WORKER_TRAP_FOLDER_H

#include <sys/types.h>

#include "worker/trap_store.h"

#define TRAP_SECRET ".secret"
#define TRAP_USAGE  ".usage"
#define TRAP_LOCK   ".lock"
#define TRAP_TMP    ".tmp-"

enum { TRAP_NAME_MAX = TRAP_ID_CHARS + 8, TRAP_LOCK_WAIT_MS = 5000, TRAP_LEFT_OVER_SECS = 3600 };

enum trap_lock { TRAP_LOCK_ENTRY = 0, TRAP_LOCK_RELEASE, TRAP_LOCK_USAGE };

struct trap_folder {
    struct trap_store store;
    const struct conf *conf;
    int fd;
    uid_t owner; /* of the folder: root gives it what it makes */
    gid_t group;
    int release_lock; /* a descriptor; -1: none is held */
};

/* ---- trap_folder_file.c ---- */

/* Reads a regular file of at most max_bytes; no link is followed. 0 and an initialised out, or
 * -ERR_NOTFOUND, -ERR_BAD, -ERR_TOOBIG, -ERR_SYSTEM and nothing. */
int trap_file_read(
    const struct trap_folder *folder, const char *name, size_t max_bytes, struct buf *out);
/* Writes a file under a temporary name, to the disk, and gives it its name; one that has it is
 * replaced. The folder itself is not synced. 0 or -ERR_SYSTEM, and then nothing is left. */
int trap_file_write(const struct trap_folder *folder, const char *name, struct slice bytes);
/* Root gives a file to whom the folder belongs to. 0 or -ERR_SYSTEM. */
int trap_file_give(const struct trap_folder *folder, int fd);
/* A lock of its own, which ends when *fd_out is closed. Waits wait_ms at most. id: any for
 * TRAP_LOCK_USAGE. 0, -ERR_TIMEOUT, -ERR_SYSTEM. */
int trap_file_lock(const struct trap_folder *folder, enum trap_lock kind, const char *id,
    int wait_ms, int *fd_out);
/* "ID.json", "ID.eml", "ID.part". out has TRAP_NAME_MAX bytes. */
void trap_file_name(char *out, const char *id, const char *ending);

/* ---- trap_folder_usage.c ---- */

/* Whether one more of so many bytes is within the bounds. 0, -ERR_TOOBIG, -ERR_SYSTEM (errno
 * ENOSPC: less than min_free would be left). */
int trap_usage_check(const struct trap_folder *folder, uint64_t bytes);
/* One more, or (is_gone) one less. Best effort: mend counts anew. */
void trap_usage_add(const struct trap_folder *folder, uint64_t bytes, bool is_gone);
int trap_folder_list(struct trap_store *store, struct trap_rows *out);
int trap_folder_mend(struct trap_store *store, struct trap_usage *usage_out);

#endif
