/*
 * What is kept by msg:trap and part:trap, behind a table of functions, so that another store can
 * stand in the folder's place: workers put entries in, posternctl looks at them, decides, and takes
 * them out. An entry is its content (a message as received, or a part decoded) and its facts (a
 * JSON object; trap_facts.h names the members).
 *
 * An id is a name made with keyed_hash.h from what was trapped: the same mail gets the same id, and
 * nobody else can tell it.
 */
#ifndef POSTERN_WORKER_TRAP_STORE_H
#define POSTERN_WORKER_TRAP_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/conf.h"
#include "worker/keyed_hash.h"

enum {
    TRAP_ID_CHARS = KEYED_HASH_NAME_CHARS,
    TRAP_CONTENT_MAX = 256 << 20,
    TRAP_FACTS_MAX = 64 << 20, /* JSON of the longest envelope, and parts */
};

/* One to be kept. Everything is borrowed. */
struct trap_new {
    char id[TRAP_ID_CHARS + 1];
    bool is_part;
    struct slice content;
    struct slice facts; /* JSON */
};

/* What a list tells of one without reading its facts. */
struct trap_row {
    char id[TRAP_ID_CHARS + 1];
    int64_t time_ms; /* when it was kept, since 1970 */
    uint64_t bytes;
};

struct trap_rows {
    struct trap_row *items; /* owned; the oldest first */
    size_t n;
};

struct trap_usage {
    uint64_t n_entries, bytes;
};

/*
 * Changes the facts of an entry in place. Returns 0 to have them written, -ERR_AGAIN to leave them
 * as they are (change then returns 0), or an error that change returns.
 */
typedef int (*trap_change_cb)(json_t *facts, void *context);

struct trap_store;

struct trap_calls {
    void (*close)(struct trap_store *store);
    /* For ids and for the mark of released mail. 0, -ERR_NOTFOUND, -ERR_BAD, -ERR_SYSTEM. */
    int (*secret)(struct trap_store *store, uint8_t out[KEYED_HASH_BYTES]);
    /* Keeps one for good before it returns: content first, facts last, so that one without facts
     * does not exist. -ERR_IN_USE (it is there already), -ERR_TOOBIG (the bounds of [trap]),
     * -ERR_TIMEOUT (its lock), -ERR_SYSTEM; then nothing of it is left. */
    int (*keep)(struct trap_store *store, const struct trap_new *entry);
    /* 0 and a reference for the caller; -ERR_NOTFOUND, -ERR_BAD (unreadable), -ERR_SYSTEM. */
    int (*find)(struct trap_store *store, const char *id, json_t **facts_out);
    /* Reads, changes and writes the facts while nobody else can. As find, and -ERR_TIMEOUT. */
    int (*change)(struct trap_store *store, const char *id, trap_change_cb change, void *context);
    /* out is initialised by the call and needs buf_clear when this is 0. As find. */
    int (*read)(struct trap_store *store, const char *id, struct buf *out);
    /* 0 or -ERR_SYSTEM; out needs trap_rows_clear either way. */
    int (*list)(struct trap_store *store, struct trap_rows *out);
    /* 0, -ERR_NOTFOUND, -ERR_TIMEOUT, -ERR_SYSTEM. */
    int (*remove)(struct trap_store *store, const char *id);
    /* For one release at a time: 0, and a lock that ends with unlock or the process; -ERR_IN_USE.
     */
    int (*lock)(struct trap_store *store, const char *id);
    void (*unlock)(struct trap_store *store);
    /* Removes what processes left that ended too early, and counts anew. 0 or -ERR_SYSTEM. */
    int (*mend)(struct trap_store *store, struct trap_usage *usage_out);
};

struct trap_store {
    const struct trap_calls *calls;
};

/*
 * Opens the store of a configuration (borrowed for the store's life); may_make: makes what is
 * missing. Returns 0; -ERR_NOTFOUND; -ERR_DENIED (others than its owner could write there, or it is
 * somebody else's); -ERR_SYSTEM.
 */
int trap_store_open(const struct conf *conf, bool may_make, struct trap_store **out);
void trap_store_close(struct trap_store *store); /* NULL is fine */
/* Where it is, for messages: the folder's path. out has PATH_MAX bytes. */
void trap_store_place(const struct conf *conf, char *out, size_t out_bytes);
/* Whether a text is an id: so many letters and digits, and so safe as the name of a file. */
bool trap_id_is_good(const char *id);
void trap_rows_clear(struct trap_rows *rows);

#endif
