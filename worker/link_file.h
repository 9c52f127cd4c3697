/*
 * Files that appear whole or not at all: written under a random name that begins with a dot,
 * synced, and renamed by the caller. And the folders that they are in. Nothing here follows a link
 * below the folder that it is given.
 */
#ifndef POSTERN_WORKER_LINK_FILE_H
#define POSTERN_WORKER_LINK_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"

#define LINK_FILE_NEW ".new-" /* how names of files that are not whole begin */

enum { LINK_FILE_NAME_MAX = 40 };

/*
 * Opens a folder by its path; when it is not there and may_make, makes it (not those above it) with
 * this mode, whatever the umask, durably. A descriptor, -ERR_NOTFOUND or -ERR_SYSTEM.
 */
int link_folder_open(const char *path, bool may_make, mode_t mode);
/* The same below a folder; a link is refused with -ERR_BAD. */
int link_folder_open_at(int folder, const char *name, bool may_make, mode_t mode);

/*
 * Writes bytes into a new file of a folder, syncs it and gives it its mode. name_out (of
 * LINK_FILE_NAME_MAX bytes) is the temporary name; until the mode is set only we can read it.
 * Returns 0, or -ERR_SYSTEM with nothing left behind.
 */
int link_file_write(int folder, struct slice bytes, mode_t mode, char *name_out);
/* Gives it its name, replacing what has that name, and syncs the folder. 0, or -ERR_SYSTEM with
 * the temporary file gone. */
int link_file_rename(int folder, const char *temporary, const char *name);
/* Removes temporary files that are older than that. Returns how many there were. */
uint32_t link_file_clean(int folder, int64_t older_than_secs, bool is_rehearsal);
/*
 * Waits for the lock that goes with an open folder, until deadline_ms (monotonic clock). It ends
 * when the descriptor is closed. 0, -ERR_TIMEOUT or -ERR_SYSTEM.
 */
int link_folder_lock(int folder, int64_t deadline_ms);

#endif
