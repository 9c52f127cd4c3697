/*
 * An archive opened by libarchive: from memory, formats and filters enabled one by one, those that
 * would start a program never. What it reads is handed out in small pieces, and at each of them the
 * clock is looked at, so that no packed data keeps it busy.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/archive_impl.h"
#include "worker/archive_library.h"

enum {
    PIECE_BYTES = 8192, /* of the archive handed out together */
    ERROR_BYTES = 200,
};

typedef int (*enable)(struct archive *);

/* Which function of the library: its address is known when that is loaded. */
#define ENABLE(what) offsetof(struct archive_library, archive_read_support_##what)

/* Without lrzip, grzip, lzop and program (they run programs), uu (a part's matter), mtree and warc
 * (no archives that people open), xar (XML from a stranger). */
static const size_t filters[] = {ENABLE(filter_gzip), ENABLE(filter_bzip2), ENABLE(filter_xz),
    ENABLE(filter_lzma), ENABLE(filter_lzip), ENABLE(filter_zstd), ENABLE(filter_lz4),
    ENABLE(filter_compress), ENABLE(filter_rpm)};
static const size_t unpack_formats[] = {ENABLE(format_raw)};
/* The last is what the others are without. */
static const size_t formats[] = {ENABLE(format_tar), ENABLE(format_7zip), ENABLE(format_rar),
    ENABLE(format_rar5), ENABLE(format_iso9660), ENABLE(format_cab), ENABLE(format_lha),
    ENABLE(format_cpio), ENABLE(format_ar), ENABLE(format_raw), ENABLE(format_zip)};
static const size_t zip_formats[] = {ENABLE(format_zip)};
static const size_t zip_local_formats[] = {ENABLE(format_zip_streamable)};
static const size_t iso_formats[] = {ENABLE(format_iso9660)};

#define ROWS(rows) rows, sizeof(rows) / sizeof((rows)[0])

static const struct way {
    const size_t *formats;
    size_t n_formats;
    const size_t *filters;
    size_t n_filters;
    const char *options;
} ways[] = {
    [ARCHIVE_WAY_USUAL] = {ROWS(formats), ROWS(filters), NULL},
    [ARCHIVE_WAY_OTHER] = {formats, sizeof(formats) / sizeof(formats[0]) - 1, ROWS(filters), NULL},
    [ARCHIVE_WAY_UNPACK] = {ROWS(unpack_formats), ROWS(filters), NULL},
    [ARCHIVE_WAY_ZIP] = {ROWS(zip_formats), NULL, 0, NULL},
    [ARCHIVE_WAY_ZIP_LOCAL] = {ROWS(zip_local_formats), NULL, 0, NULL},
    [ARCHIVE_WAY_ISO_PLAIN] = {ROWS(iso_formats), NULL, 0, "!joliet,!rockridge"},
    [ARCHIVE_WAY_ISO_JOLIET] = {ROWS(iso_formats), NULL, 0, "!rockridge"},
};

/* ---- what libarchive calls ---- */

static la_ssize_t on_read(struct archive *archive, void *context, const void **out)
{
    struct archive_reader *reader = context;
    if (!archive_has_time(reader->lister)) {
        reader->library->archive_set_error(archive, EIO, "the time is over");
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
    struct archive_reader *reader = context;
    (void)archive;
    size_t left = reader->place->bytes.len - reader->pos;
    size_t step = n < 0 ? 0 : (uint64_t)n < left ? (size_t)n : left;
    reader->pos += step;
    return (la_int64_t)step;
}

static la_int64_t on_seek(struct archive *archive, void *context, la_int64_t offset, int whence)
{
    struct archive_reader *reader = context;
    la_int64_t len = (la_int64_t)reader->place->bytes.len;
    la_int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (la_int64_t)reader->pos : len;
    if (offset < -base || offset > len - base) {
        reader->library->archive_set_error(archive, EIO, "it is cut off");
        return ARCHIVE_FATAL;
    }
    reader->pos = (size_t)(base + offset);
    return (la_int64_t)reader->pos;
}

/* ---- opening ---- */

/* A row that answers anything but OK would work by a program, or not at all. */
static bool enable_all(const struct archive_reader *reader, const size_t *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enable enable_one;
        memcpy(&enable_one, (const char *)reader->library + rows[i], sizeof(enable_one));
        if (enable_one(reader->archive) != ARCHIVE_OK)
            return false;
    }
    return true;
}

bool archive_reader_open(struct archive_reader *reader)
{
    const struct way *way = &ways[reader->way];
    const struct archive_library *library = archive_library();
    if (library == NULL) {
        archive_fail(reader->lister, "libarchive is missing");
        return false;
    }
    reader->library = library;
    reader->archive = library->archive_read_new();
    if (reader->archive == NULL || !enable_all(reader, way->filters, way->n_filters) ||
        !enable_all(reader, way->formats, way->n_formats)) {
        archive_fail(reader->lister, "libarchive cannot read it without help");
        return false;
    }
    library->archive_read_set_read_callback(reader->archive, on_read);
    library->archive_read_set_skip_callback(reader->archive, on_skip);
    library->archive_read_set_seek_callback(reader->archive, on_seek);
    library->archive_read_set_callback_data(reader->archive, reader);
    if (way->options != NULL &&
        library->archive_read_set_options(reader->archive, way->options) < 0)
        return false;
    return library->archive_read_open1(reader->archive) == ARCHIVE_OK;
}

void archive_reader_close(struct archive_reader *reader)
{
    if (reader->library != NULL)
        reader->library->archive_read_free(reader->archive);
    free(reader->inside);
}

/* Its words may hold any bytes of the archive. */
void archive_reader_fail(struct archive_reader *reader)
{
    struct text_bounds bounds = {ERROR_BYTES, ERROR_BYTES, 1};
    char text[ERROR_BYTES + 1];
    const char *words = reader->library->archive_error_string(reader->archive);
    if (reader->library->archive_read_has_encrypted_entries(reader->archive) == 1 &&
        reader->lister->n == 0) {
        archive_fail(reader->lister, "its names are encrypted");
        return;
    }
    size_t n = text_clean(text, slice_text(words != NULL ? words : "it is broken"), &bounds);
    archive_fail(reader->lister, arena_memdup0(reader->lister->arena, text, n));
}

/* ---- what kind of archive it is ---- */

int archive_reader_format(const struct archive_reader *reader)
{
    return reader->library->archive_format(reader->archive) & ARCHIVE_FORMAT_BASE_MASK;
}

bool archive_reader_is_filtered(const struct archive_reader *reader)
{
    return reader->library->archive_filter_count(reader->archive) > 1;
}

bool archive_reader_is_stream(const struct archive_reader *reader)
{
    int format = archive_reader_format(reader);
    return format == ARCHIVE_FORMAT_RAW || format == ARCHIVE_FORMAT_TAR ||
           format == ARCHIVE_FORMAT_CPIO || format == ARCHIVE_FORMAT_AR;
}

bool archive_reader_must_unpack(const struct archive_reader *reader)
{
    int format = archive_reader_format(reader);
    return archive_reader_is_filtered(reader) || format == ARCHIVE_FORMAT_7ZIP ||
           format == ARCHIVE_FORMAT_CAB;
}
