/*
 * What is inside an archive: the names in it, and in archives in it, without unpacking anything to
 * anywhere. Formats and compression are libarchive's to read, from memory alone: no file, no
 * program, no thread. The directory of a zip is read by ourselves as well, since a zip says twice
 * what is in it and need not say the same. Entries, bytes unpacked, time and nesting are bounded.
 */
#ifndef POSTERN_WORKER_ARCHIVE_H
#define POSTERN_WORKER_ARCHIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"

/* What may still be spent; each call takes from it, so that all archives of a message share one. */
struct archive_budget {
    uint32_t depth; /* archives in archives; 1: what is inside of those inside is not looked at */
    uint32_t ratio; /* unpacked to packed, beyond which an entry is marked */
    int64_t entries_left, bytes_left, time_left_ms;
};

struct archive_item {
    const char *name;   /* as its archive has it, UTF-8; the first of names */
    const char **names; /* every reading of it, without repeats */
    uint32_t n_names;
    const char *within; /* names of the archives around it, "a.zip/b.tar"; "": in the first */
    uint32_t depth;     /* 1: in the first */
    int64_t size;       /* unpacked, as it is said to be or was counted; -1: not known */
    bool is_directory;
    bool is_encrypted;
    bool is_absolute;   /* a name or a link's target leaves the folder it is unpacked into: it is
                           absolute, has a drive, or a .. */
    bool is_over_ratio; /* over budget.ratio, and over 1 MiB */
    bool is_hidden;     /* only one of two directories has it, or they name it differently */
};

struct archive_listing {
    const struct archive_item *items; /* as far as they could be read, whatever error says */
    uint32_t n;
    bool is_archive;   /* by its content, or called one */
    const char *error; /* why that is not everything, or may not be; NULL: it is everything */
};

/*
 * Lists an archive. Never fails: what is none gives an empty listing.
 *
 * bytes        borrowed for the call.
 * names        of the file, NULL-safe: what is in a .gz is called after it; one called .zip that
 *              is none is an archive that cannot be read.
 * deadline_ms  monotonic clock; the call ends soon after it at the latest, as it does when
 *              budget->time_left_ms is used up.
 * The result lives in the arena.
 */
const struct archive_listing *archive_list(struct slice bytes, const char *const *names,
    uint32_t n_names, struct archive_budget *budget, int64_t deadline_ms, struct arena *arena);

#endif
