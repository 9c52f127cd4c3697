/*
 * Files behind links: a part's content in a folder that a web server serves, as
 * DIRECTORY/ab/abcdef….bin with a name nobody can guess (link_key.h), and its entry in the index
 * (link_index.h). When link_store returns well, both are on the disk.
 *
 * The entry is written before the file gets its name: what is served is always in the index, and
 * what a process left half done is an entry without a file, or a file under a temporary name, that
 * `posternctl urls expire` takes away.
 */
#ifndef POSTERN_WORKER_LINK_STORE_H
#define POSTERN_WORKER_LINK_STORE_H

#include <stdint.h>

#include "common/arena.h"
#include "common/conf.h"
#include "worker/link_index.h"

#define LINK_SUFFIX ".bin" /* no web server knows it as something to run or show */

enum {
    LINK_FILE_LEN = 2 + 1 + LINK_ID_LEN + sizeof(LINK_SUFFIX) - 1, /* "ab/abcdef….bin" */
    LINK_NAME_BYTES = 1024, /* of an original name in the index */
    LINK_FACT_BYTES = 998,  /* of a message id, sender or queue id; RFC 5322 has no longer line */
};

struct link {
    const char *directory; /* absolute */
    const char *id;
    const char *url;
    struct slice content;
    const char *sha256; /* of it, in hexadecimal */
    const char *type;
    struct slice filename, message_id, sender, queue_id; /* any bytes */
    int64_t now_secs;                                    /* since 1970 */
    int64_t expires_secs;                                /* 0: never */
};

/* The file's path below the folder, and at the end of its address. */
void link_file_path(const char *id, char out[LINK_FILE_LEN + 1]);

/*
 * Stores. What is there already is not written again: its entry gets this use, and the later
 * expiry. deadline_ms: monotonic clock, for the lock. Returns NULL, or why not (in the arena),
 * naming the path that it failed at.
 */
const char *link_store(
    const struct link *link, const struct conf *conf, struct arena *arena, int64_t deadline_ms);

/*
 * Removes a file and its entry; the caller holds the lock of shard, the entry's folder in the
 * index. A file that does not belong to the index's owner stays. 0, -ERR_DENIED or -ERR_SYSTEM.
 */
int link_remove(int shard, const char *name, const json_t *entry);
/* Whether the file of an entry is there. */
bool link_has_file(const json_t *entry);
/* Opens the folder that the file of an entry is in. A descriptor, or as link_folder_open_at. */
int link_open_folder(const char *directory, const char *id);

#endif
