/*
 * Archives through libarchive: from memory, formats and filters enabled one by one, those that
 * would start a program never. What it reads is handed out in small pieces, and at each of them the
 * clock is looked at, so that no packed data keeps it busy.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/archive_impl.h"

enum {
    PIECE_BYTES = 8192, /* of the archive handed out together */
    HEAD_BYTES = 1024,  /* of an entry looked at to see whether it is an archive */
    SCRATCH_BYTES = 32768,
    ERROR_BYTES = 200,
};

typedef int (*enable)(struct archive *);

/* Without lrzip, grzip, lzop and program (they run programs), uu (a part's matter), mtree and warc
 * (no archives that people open), xar (XML from a stranger). */
static const enable filters[] = {archive_read_support_filter_gzip,
    archive_read_support_filter_bzip2, archive_read_support_filter_xz,
    archive_read_support_filter_lzma, archive_read_support_filter_lzip,
    archive_read_support_filter_zstd, archive_read_support_filter_lz4,
    archive_read_support_filter_compress, archive_read_support_filter_rpm};
static const enable formats[] = {archive_read_support_format_zip, archive_read_support_format_tar,
    archive_read_support_format_7zip, archive_read_support_format_rar,
    archive_read_support_format_rar5, archive_read_support_format_iso9660,
    archive_read_support_format_cab, archive_read_support_format_lha,
    archive_read_support_format_cpio, archive_read_support_format_ar,
    archive_read_support_format_raw};
static const enable unpack_formats[] = {archive_read_support_format_raw};
static const enable zip_local_formats[] = {archive_read_support_format_zip_streamable};
static const enable iso_formats[] = {archive_read_support_format_iso9660};

#define ROWS(rows) rows, sizeof(rows) / sizeof((rows)[0])

static const struct way {
    const enable *formats;
    size_t n_formats;
    const enable *filters;
    size_t n_filters;
    const char *options;
} ways[] = {
    [ARCHIVE_WAY_USUAL] = {ROWS(formats), ROWS(filters), NULL},
    [ARCHIVE_WAY_UNPACK] = {ROWS(unpack_formats), ROWS(filters), NULL},
    [ARCHIVE_WAY_ZIP_LOCAL] = {ROWS(zip_local_formats), NULL, 0, NULL},
    [ARCHIVE_WAY_ISO_PLAIN] = {ROWS(iso_formats), NULL, 0, "!joliet,!rockridge"},
    [ARCHIVE_WAY_ISO_JOLIET] = {ROWS(iso_formats), NULL, 0, "!rockridge"},
};

/* One archive being read. Its memory is malloc'd and freed before archive_read_list returns. */
struct reader {
    struct lister *lister;
    const struct archive_place *place;
    enum archive_way way;
    enum archive_adding adding;
    struct archive *archive;
    size_t pos;
    const char **known; /* names that are listed already, in order; NULL: none */
    uint32_t n_known;
    uint8_t *inside; /* an archive inside; NULL: none */
    size_t inside_len, inside_cap;
};

/* ---- what libarchive calls ---- */

static la_ssize_t on_read(struct archive *archive, void *context, const void **out)
{
    struct reader *reader = context;
    if (!archive_has_time(reader->lister)) {
        archive_set_error(archive, EIO, "the time is over");
        return -1;
    }
    size_t left = reader->place->bytes.len - reader->pos;
    size_t n = left < PIECE_BYTES ? left : PIECE_BYTES;
    *out = reader->place->bytes.data + reader->pos;
    reader->pos += n;
    return (la_ssize_t)n;
}

static la_int64_t on_skip(struct archive *archive, void *context, la_int64_t n)
{
    struct reader *reader = context;
    (void)archive;
    size_t left = reader->place->bytes.len - reader->pos;
    size_t step = n < 0 ? 0 : (uint64_t)n < left ? (size_t)n : left;
    reader->pos += step;
    return (la_int64_t)step;
}

static la_int64_t on_seek(struct archive *archive, void *context, la_int64_t offset, int whence)
{
    struct reader *reader = context;
    la_int64_t len = (la_int64_t)reader->place->bytes.len;
    la_int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (la_int64_t)reader->pos : len;
    if (offset < -base || offset > len - base) {
        archive_set_error(archive, EIO, "it is cut off");
        return ARCHIVE_FATAL;
    }
    reader->pos = (size_t)(base + offset);
    return (la_int64_t)reader->pos;
}

/* ---- opening ---- */

/* A row that answers anything but OK would work by a program, or not at all. */
static bool enable_all(struct archive *archive, const enable *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i](archive) != ARCHIVE_OK)
            return false;
    }
    return true;
}

static bool open_reader(struct reader *reader)
{
    const struct way *way = &ways[reader->way];
    reader->archive = archive_read_new();
    if (reader->archive == NULL || !enable_all(reader->archive, way->filters, way->n_filters) ||
        !enable_all(reader->archive, way->formats, way->n_formats)) {
        archive_fail(reader->lister, "libarchive cannot read it without help");
        return false;
    }
    archive_read_set_read_callback(reader->archive, on_read);
    archive_read_set_skip_callback(reader->archive, on_skip);
    archive_read_set_seek_callback(reader->archive, on_seek);
    archive_read_set_callback_data(reader->archive, reader);
    if (way->options != NULL && archive_read_set_options(reader->archive, way->options) < 0)
        return false;
    return archive_read_open1(reader->archive) == ARCHIVE_OK;
}

static void close_reader(struct reader *reader)
{
    archive_read_free(reader->archive);
    free(reader->inside);
}

/* Its words may hold any bytes of the archive. */
static void fail(struct reader *reader)
{
    struct text_bounds bounds = {ERROR_BYTES, ERROR_BYTES, 1};
    char text[ERROR_BYTES + 1];
    const char *words = archive_error_string(reader->archive);
    if (archive_read_has_encrypted_entries(reader->archive) == 1 && reader->lister->n == 0) {
        archive_fail(reader->lister, "its names are encrypted");
        return;
    }
    size_t n = text_clean(text, slice_text(words != NULL ? words : "it is broken"), &bounds);
    archive_fail(reader->lister, arena_memdup0(reader->lister->arena, text, n));
}

/* ---- what kind of archive it is ---- */

static int format_of(const struct reader *reader)
{
    return archive_format(reader->archive) & ARCHIVE_FORMAT_BASE_MASK;
}

static bool is_filtered(const struct reader *reader)
{
    return archive_filter_count(reader->archive) > 1;
}

/* Formats that are read from their start to their end; the others look at their end first, or are
 * to be looked at by ourselves. */
static bool is_stream(const struct reader *reader)
{
    int format = format_of(reader);
    return format == ARCHIVE_FORMAT_RAW || format == ARCHIVE_FORMAT_TAR ||
           format == ARCHIVE_FORMAT_CPIO || format == ARCHIVE_FORMAT_AR;
}

/* Whether going on to the next entry unpacks the rest of this one: then it is counted. */
static bool must_unpack(const struct reader *reader)
{
    int format = format_of(reader);
    return is_filtered(reader) || format == ARCHIVE_FORMAT_7ZIP || format == ARCHIVE_FORMAT_CAB;
}

/* ---- names ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void note_known(struct reader *reader)
{
    struct lister *lister = reader->lister;
    if (reader->adding != ARCHIVE_ADD_NEW || lister->n == 0)
        return;
    reader->known = arena_calloc(lister->arena, lister->n, sizeof(*reader->known));
    for (uint32_t i = 0; i < lister->n; i++)
        reader->known[reader->n_known++] = lister->items[i].name;
    qsort(reader->known, reader->n_known, sizeof(*reader->known), by_name);
}

static bool is_known(const struct reader *reader, const char *name)
{
    return reader->known != NULL &&
           bsearch(&name, reader->known, reader->n_known, sizeof(name), by_name) != NULL;
}

static void add_names(struct reader *reader, struct archive_item *item, struct archive_entry *entry)
{
    const char *raw = archive_entry_pathname(entry);
    const char *utf8 = archive_entry_pathname_utf8(entry);
    if (format_of(reader) == ARCHIVE_FORMAT_RAW && raw != NULL) {
        archive_item_name_unpacked(
            reader->lister, item, reader->place, slice_text(strcmp(raw, "data") != 0 ? raw : NULL));
        return;
    }
    if (raw != NULL)
        archive_item_name(reader->lister, item, slice_text(raw), true);
    if (utf8 != NULL)
        archive_item_name(reader->lister, item, slice_text(utf8), true);
    if (item->n_names == 0)
        archive_fail(reader->lister, "an entry has no name");
}

static void add_facts(struct archive_item *item, struct archive_entry *entry)
{
    const char *link = archive_entry_symlink(entry);
    link = link != NULL ? link : archive_entry_hardlink(entry);
    if (archive_entry_size_is_set(entry))
        item->size = archive_entry_size(entry);
    item->is_directory = archive_entry_filetype(entry) == AE_IFDIR;
    item->is_encrypted = archive_entry_is_encrypted(entry) != 0;
    item->is_absolute = item->is_absolute || (link != NULL && archive_leaves_folder(link));
}

/* ---- content ---- */

/* Reads up to n more bytes into reader->inside. False when the entry cannot be read on, or a limit
 * is reached. */
static bool read_inside(struct reader *reader, size_t n)
{
    while (n > 0) {
        if (reader->inside_cap - reader->inside_len < n) {
            size_t cap = reader->inside_cap * 2 > reader->inside_len + n ? reader->inside_cap * 2
                                                                         : reader->inside_len + n;
            uint8_t *inside = realloc(reader->inside, cap);
            if (inside == NULL) {
                archive_stop(reader->lister, "not enough memory to unpack it");
                return false;
            }
            reader->inside = inside;
            reader->inside_cap = cap;
        }
        la_ssize_t got = archive_read_data(reader->archive, reader->inside + reader->inside_len, n);
        if (got <= 0)
            return got == 0;
        if (!archive_take_bytes(reader->lister, (size_t)got))
            return false;
        reader->inside_len += (size_t)got;
        n -= (size_t)got;
    }
    return true;
}

static bool read_all_inside(struct reader *reader)
{
    size_t before;
    do {
        before = reader->inside_len;
        if (!read_inside(reader, 65536))
            return false;
    } while (reader->inside_len > before);
    return true;
}

/* Unpacks the rest of an entry to see how much it is, and that it can be. */
static bool count_rest(struct reader *reader, struct archive_item *item)
{
    uint8_t scratch[SCRATCH_BYTES];
    int64_t size = (int64_t)reader->inside_len;
    la_ssize_t n;
    while ((n = archive_read_data(reader->archive, scratch, sizeof(scratch))) > 0) {
        size += n;
        archive_item_ratio(reader->lister, item, (int64_t)reader->place->bytes.len, size);
        if (!archive_take_bytes(reader->lister, (size_t)n))
            return false;
    }
    item->size = item->size < 0 ? size : item->size;
    return n == 0;
}

/* False when the entry cannot be read to its end, or a limit is reached. */
static bool look_inside(struct reader *reader, struct archive_item *item)
{
    struct lister *lister = reader->lister;
    bool is_named = archive_item_is_named(item) || reader->way == ARCHIVE_WAY_UNPACK;
    if (item->is_encrypted) {
        if (is_named)
            archive_fail(lister, "an archive in it is encrypted");
        return true;
    }
    reader->inside_len = 0;
    if (!read_inside(reader, HEAD_BYTES))
        return false;
    if (!is_named && !archive_has_magic(slice_of(reader->inside, reader->inside_len)))
        return !must_unpack(reader) || count_rest(reader, item);
    if (item->depth >= lister->budget->depth) {
        archive_fail(lister, "archives in it are nested deeper than worker.max_archive_depth");
        return !must_unpack(reader) || count_rest(reader, item);
    }
    bool is_whole = read_all_inside(reader);
    archive_item_ratio(
        lister, item, (int64_t)reader->place->bytes.len, (int64_t)reader->inside_len);
    if (!is_whole)
        return false;
    item->size = item->size < 0 ? (int64_t)reader->inside_len : item->size;
    archive_list_inside(lister, reader->place, item, slice_of(reader->inside, reader->inside_len));
    return !lister->is_stopped;
}

/* ---- entries ---- */

/* False when there is no going on. The entry is filled in a copy: the list moves as it grows. */
static bool take_entry(struct reader *reader, struct archive_entry *entry)
{
    struct lister *lister = reader->lister;
    struct archive_item copy = {
        .name = "", .within = reader->place->within, .depth = reader->place->depth, .size = -1};
    uint32_t at = lister->n;
    add_names(reader, &copy, entry);
    add_facts(&copy, entry);
    archive_item_ratio(lister, &copy, (int64_t)reader->place->bytes.len, copy.size);
    bool is_added = reader->adding != ARCHIVE_ADD_NONE && !is_known(reader, copy.name);
    if (is_added) {
        struct archive_item *item = archive_item_add(lister, reader->place);
        if (item == NULL)
            return false;
        *item = copy;
    }
    bool goes_on = is_known(reader, copy.name) || look_inside(reader, &copy);
    if (is_added)
        lister->items[at] = copy;
    if (goes_on || lister->is_stopped)
        return goes_on;
    /* Of what cannot be unpacked, only an archive hides names; a format that is lost says so next.
     */
    if (archive_item_is_named(&copy) || is_filtered(reader))
        fail(reader);
    return true;
}

static enum archive_read take_entries(struct reader *reader, struct archive_entry *entry)
{
    bool is_iso = format_of(reader) == ARCHIVE_FORMAT_ISO9660;
    reader->lister->is_archive = true;
    note_known(reader);
    int result = ARCHIVE_OK;
    while (!reader->lister->is_stopped && take_entry(reader, entry)) {
        result = archive_read_next_header(reader->archive, &entry);
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            break;
    }
    if (result != ARCHIVE_EOF && !reader->lister->is_stopped)
        fail(reader);
    if (archive_read_has_encrypted_entries(reader->archive) == 1 &&
        archive_entry_is_metadata_encrypted(entry))
        archive_fail(reader->lister, "its names are encrypted");
    return is_iso ? ARCHIVE_READ_ISO : ARCHIVE_READ_DONE;
}

/* Nothing is one that has a format; the raw one without filter is none. */
static enum archive_read list(struct reader *reader)
{
    struct archive_entry *entry;
    if (!open_reader(reader))
        return ARCHIVE_READ_NONE;
    int result = archive_read_next_header(reader->archive, &entry);
    if (result == ARCHIVE_OK && format_of(reader) == ARCHIVE_FORMAT_RAW && !is_filtered(reader))
        return ARCHIVE_READ_NONE;
    if (reader->way == ARCHIVE_WAY_USUAL && is_filtered(reader) && !is_stream(reader))
        return ARCHIVE_READ_UNPACK;
    if (result == ARCHIVE_OK || result == ARCHIVE_WARN)
        return take_entries(reader, entry);
    bool has_format = format_of(reader) != 0 || is_filtered(reader);
    reader->lister->is_archive = reader->lister->is_archive || has_format;
    if (has_format && result != ARCHIVE_EOF && !reader->lister->is_stopped)
        fail(reader);
    return has_format ? ARCHIVE_READ_DONE : ARCHIVE_READ_NONE;
}

enum archive_read archive_read_list(struct lister *lister, const struct archive_place *place,
    enum archive_way way, enum archive_adding adding)
{
    struct reader reader = {.lister = lister, .place = place, .way = way, .adding = adding};
    /* Names in UTF-16 become those of the locale: it has to be able to hold them. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 != (locale_t)0 ? uselocale(utf8) : (locale_t)0;
    enum archive_read result = list(&reader);
    close_reader(&reader);
    if (utf8 != (locale_t)0) {
        uselocale(before);
        freelocale(utf8);
    }
    return result;
}
