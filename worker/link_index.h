/*
 * The index of files behind links: one JSON object in a file of its own for each, in folders by the
 * first two digits of its id, below urls.index. It stands outside the folder that a web server
 * serves, since it tells senders and names; and it is no data base, since each entry is written
 * once for each mail, by any of many processes, and must be on the disk with the file that it tells
 * of: a rename does that, and posternctl can walk it while workers write.
 *
 * Whoever changes an entry or its file holds the lock of its folder in the index.
 */
#ifndef POSTERN_WORKER_LINK_INDEX_H
#define POSTERN_WORKER_LINK_INDEX_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "worker/link_key.h"

enum {
    LINK_ENTRY_MAX = 256 << 10, /* bytes of an entry */
    LINK_USES_MAX = 32,         /* messages that an entry names, the newest */
    LINK_INDEX_NAME_MAX = 64,
};

/* urls.index and urls.key_file, or where they are by default. out: PATH_MAX bytes. False when that
 * is too long. */
bool link_index_path(const struct conf *conf, char *out);
bool link_key_path(const struct conf *conf, char *out);

/*
 * Opens the index; makes it when may_make. A descriptor, -ERR_NOTFOUND, -ERR_DENIED (others than
 * its owner can enter it, or it is not ours; root may look into anybody's) or -ERR_SYSTEM.
 */
int link_index_open(const struct conf *conf, bool may_make);
/* Opens the folder of the index that an id is in. As link_folder_open_at. */
int link_index_shard(int index, const char *id, bool may_make);
/* The name of an entry in there: files of the same content in two folders are two entries. */
void link_index_name(const char *id, const char *directory, char out[LINK_INDEX_NAME_MAX]);

/*
 * An entry: {"id", "directory", "url", "type", "size", "sha256", "stored", "used", "expires",
 * "uses": [{"time", "filename", "message_id", "sender", "queue_id"}]}; times in seconds since 1970,
 * expires 0: never.
 *
 * link_index_read gives one that has all of these with the right types, and whose id and directory
 * can be trusted as parts of a path: 0 and *out (json_decref), -ERR_NOTFOUND, -ERR_BAD,
 * -ERR_SYSTEM.
 */
int link_index_read(int shard, const char *name, json_t **out);
/* Durably. 0, -ERR_TOOBIG or -ERR_SYSTEM. */
int link_index_write(int shard, const char *name, const json_t *entry);
int link_index_remove(int shard, const char *name); /* 0, -ERR_NOTFOUND, -ERR_SYSTEM */

/* Calls cb for each entry that can be read; those that cannot are counted in *broken_out. Stops
 * when cb returns false. 0 or -ERR_SYSTEM. */
typedef bool (*link_index_cb)(int shard, const char *name, json_t *entry, void *context);
int link_index_walk(int index, link_index_cb cb, void *context, uint32_t *broken_out);

/* The same for the entries of one id. */
int link_index_each(
    int index, const char *id, link_index_cb cb, void *context, uint32_t *broken_out);

/* An entry's text from bytes, for tests and fuzzers; as link_index_read. */
int link_index_parse(const char *name, struct slice text, json_t **out);

#endif
