/*
 * What the files of the archive reader share; nobody else includes it. archive.c (what is looked
 * into, nesting) → archive_zip.c (our own look at a zip's directories), archive_read.c (what
 * libarchive finds) → archive_reader.c (an archive opened by it), archive_library.c (it loaded) →
 * archive_item.c (entries, names, what may be spent).
 */
#ifndef POSTERN_WORKER_ARCHIVE_IMPL_H
#define POSTERN_WORKER_ARCHIVE_IMPL_H

#include "worker/archive.h"

enum {
    ARCHIVE_NAMES_MAX = 8,         /* readings of one entry's name */
    ARCHIVE_NAME_BYTES = 4096,     /* of one; of a longer one beginning and end are kept */
    ARCHIVE_RATIO_BYTES = 1 << 20, /* smaller entries are never over a ratio */
};

struct lister {
    struct arena *arena;
    struct archive_budget *budget;
    int64_t deadline_ms;
    struct archive_item *items;
    uint32_t n, cap;
    bool is_archive;
    bool is_stopped; /* a limit of the whole listing was reached */
    const char *error;
};

/* A file whose entries are listed. */
struct archive_place {
    struct slice bytes;
    const char *const *names;
    uint32_t n_names;
    const char *within; /* as of its entries */
    uint32_t depth;     /* of its entries */
};

/* ---- archive_item.c, archive_name.c ---- */

/* The first error stays. text: static or in the arena. */
void archive_fail(struct lister *lister, const char *text);
void archive_stop(struct lister *lister, const char *text);
/* Whether there is time left; stops the listing when there is none. */
bool archive_has_time(struct lister *lister);
/* Counts bytes unpacked; false when that was too many, or the time is over. */
bool archive_take_bytes(struct lister *lister, size_t n);
/* A new entry; NULL when there are too many. Good until the next one. */
struct archive_item *archive_item_add(struct lister *lister, const struct archive_place *place);
/* Adds the readings of a name: in UTF-8, and in code page 437 unless it is said to be UTF-8. */
void archive_item_name(
    struct lister *lister, struct archive_item *item, struct slice raw, bool is_utf8);
/* The names of what comes out of a compressed file: the one that gzip notes, one that was noted
 * further in (may be empty), and what is left of the file's own. */
void archive_item_name_unpacked(struct lister *lister, struct archive_item *item,
    const struct archive_place *place, struct slice noted);
/* What is known of a name or target that leaves its folder. */
bool archive_leaves_folder(const char *name);
/* Marks an entry that grows too much. packed, unpacked: bytes; -1: not known. */
void archive_item_ratio(
    const struct lister *lister, struct archive_item *item, int64_t packed, int64_t unpacked);
/* Whether a file of one of these names would be opened as an archive. */
bool archive_is_named(const char *const *names, uint32_t n);

/* ---- archive_magic.c ---- */

/* Whether a file with this beginning is an archive. */
bool archive_has_magic(struct slice head);
/* The same, and one file that is compressed. */
bool archive_is_packed(struct slice head);

/* ---- archive_zip.c ---- */

enum archive_zip { ARCHIVE_ZIP_NONE = 0, ARCHIVE_ZIP_PLAIN, ARCHIVE_ZIP_DISAGREES };
/* Adds what the central directories and the local headers of a zip name. DISAGREES: local headers
 * have more than the directory. */
enum archive_zip archive_zip_list(struct lister *lister, const struct archive_place *place);

/* ---- archive_read.c ---- */

enum archive_way {
    ARCHIVE_WAY_USUAL = 0, /* every format and filter */
    ARCHIVE_WAY_OTHER,     /* the same without zip */
    ARCHIVE_WAY_UNPACK,    /* filters alone: one file comes out */
    ARCHIVE_WAY_ZIP,       /* a zip by its directory */
    ARCHIVE_WAY_ZIP_LOCAL, /* a zip by its local headers */
    ARCHIVE_WAY_ISO_PLAIN, /* an ISO image by its oldest names */
    ARCHIVE_WAY_ISO_JOLIET
};
enum archive_adding { ARCHIVE_ADD_ALL = 0, ARCHIVE_ADD_NONE, ARCHIVE_ADD_NEW };
enum archive_read {
    ARCHIVE_READ_NONE = 0, /* no archive */
    ARCHIVE_READ_DONE,
    ARCHIVE_READ_ISO,    /* the same, and it is an ISO image */
    ARCHIVE_READ_UNPACK, /* compressed, with a format inside that has to be in memory as a whole:
                            nothing was added */
};
/* Adds what libarchive finds, and looks into archives inside. */
enum archive_read archive_read_list(struct lister *lister, const struct archive_place *place,
    enum archive_way way, enum archive_adding adding);

/* ---- archive_reader.c ---- */

/* One archive being read. Its memory is malloc'd, and lives until it is closed. */
struct archive_reader {
    struct lister *lister;
    const struct archive_place *place;
    enum archive_way way;
    enum archive_adding adding;
    const struct archive_library *library; /* NULL: missing */
    struct archive *archive;
    size_t pos;
    const char **known; /* names that are listed already, in order; NULL: none */
    uint32_t n_known;
    uint8_t *inside; /* an archive inside; NULL: none */
    size_t inside_len, inside_cap;
};
/* Needs lister, place and way. False when libarchive does not take it; to be closed all the same.
 */
bool archive_reader_open(struct archive_reader *reader);
void archive_reader_close(struct archive_reader *reader);
/* The listing fails with libarchive's words. */
void archive_reader_fail(struct archive_reader *reader);
/* ARCHIVE_FORMAT_…, without its variant; good when the first entry was read. So are those below. */
int archive_reader_format(const struct archive_reader *reader);
bool archive_reader_is_filtered(const struct archive_reader *reader);
/* Formats that are read from their start to their end; the others look at their end first, or are
 * to be looked at by ourselves. */
bool archive_reader_is_stream(const struct archive_reader *reader);
/* Whether going on to the next entry unpacks the rest of this one: then it is counted. */
bool archive_reader_must_unpack(const struct archive_reader *reader);

/* ---- archive.c ---- */

/* Lists an archive that lies in another one; bytes are borrowed for the call. */
void archive_list_inside(struct lister *lister, const struct archive_place *outer,
    const struct archive_item *item, struct slice bytes);

#endif
