/*
 * An archive opened by libarchive: from memory, formats and filters enabled one by one, those that
 * would start a program never. What it reads is handed out in small pieces, and at each of them the
 * clock is looked at, so that no packed data keeps it busy.
 */
#include <archive.h>
#include <errno.h>
#include <stdlib.h>

#include "common/text.h"
#include "worker/archive_impl.h"

enum {
    PIECE_BYTES = 8192, /* of the archive handed out together */
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
static const enable unpack_formats[] = {archive_read_support_format_raw};
/* The last is what the others are without. */
static const enable formats[] = {archive_read_support_format_tar, archive_read_support_format_7zip,
    archive_read_support_format_rar, archive_read_support_format_rar5,
    archive_read_support_format_iso9660, archive_read_support_format_cab,
    archive_read_support_format_lha, archive_read_support_format_cpio,
    archive_read_support_format_ar, archive_read_support_format_raw,
    archive_read_support_format_zip};
static const enable zip_formats[] = {archive_read_support_format_zip};
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

bool archive_reader_open(struct archive_reader *reader)
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

void archive_reader_close(struct archive_reader *reader)
{
    archive_read_free(reader->archive);
    free(reader->inside);
}

/* Its words may hold any bytes of the archive. */
void archive_reader_fail(struct archive_reader *reader)
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

int archive_reader_format(const struct archive_reader *reader)
{
    return archive_format(reader->archive) & ARCHIVE_FORMAT_BASE_MASK;
}

bool archive_reader_is_filtered(const struct archive_reader *reader)
{
    return archive_filter_count(reader->archive) > 1;
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
