/*
 * The folder of poison: messages that killed two workers, kept below milterd.spool by the front end
 * and read by posternctl. One folder each, named by the message's uid, with three files; it gets
 * its name when all of them are on the disk, and loses it before the first of them goes, so that
 * who sees a name sees all. Names that begin with a dot are leftovers, or about to be whole.
 */
#ifndef POSTERN_POISON_H
#define POSTERN_POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

#define POISON_FOLDER   "poison"
#define POISON_FACTS    "facts.json"
#define POISON_ENVELOPE "envelope"    /* entries as envelope.h has them */
#define POISON_MESSAGE  "message.eml" /* as far as it had come: header block, CRLF, body */

enum { POISON_ID_MAX = 63, POISON_FACTS_MAX = 1 << 20 };

struct poison_entry {
    char id[POISON_ID_MAX + 1];
    int64_t time_ns; /* when it was kept, since 1970 */
    uint64_t bytes;  /* of its files */
};

struct poison_list {
    struct poison_entry *items; /* owned; the oldest first */
    size_t n;
};

/*
 * Opens the folder below spool; makes it when may_make. Returns a descriptor (the caller's),
 * -ERR_DENIED when it is not a folder that only its owner can enter, who is us (root may look into
 * anybody's), -ERR_NOTFOUND or -ERR_SYSTEM.
 */
int poison_open(const char *spool, bool may_make);

/* What is there; folders with other names are passed over. 0 or -ERR_SYSTEM; out needs
 * poison_list_clear either way. */
int poison_scan(int folder, struct poison_list *out);
void poison_list_clear(struct poison_list *list);

/* Opens one. A descriptor, -ERR_NOTFOUND, -ERR_BAD (no folder) or -ERR_SYSTEM. */
int poison_open_one(int folder, const char *id);
/* Reads one of its files: regular, no link, at most max_bytes. out is initialised, and needs
 * buf_clear when this is 0. -ERR_NOTFOUND, -ERR_BAD, -ERR_TOOBIG, -ERR_SYSTEM. */
int poison_read(int one, const char *name, size_t max_bytes, struct buf *out);
/* 0, -ERR_NOTFOUND, -ERR_SYSTEM. */
int poison_remove(int folder, const char *id);
/* Removes what a process that ended too early has left behind. Whoever is at work on one holds a
 * lock on it. */
void poison_clean(int folder);
/* Removes a folder named so and its three files, whatever state they are in. */
int poison_discard(int folder, const char *name);

#endif
