/*
 * libarchive, loaded when the first archive is met. It brings a dozen libraries with it, one of
 * them of 30 MB for XML that nothing here reads: each start would be half as long again, each fork
 * dearer, and every process larger by 3 MB, for filters that never look into an archive.
 */
#ifndef POSTERN_WORKER_ARCHIVE_LIBRARY_H
#define POSTERN_WORKER_ARCHIVE_LIBRARY_H

#include <archive.h>
#include <archive_entry.h>

/* Every function of it that is called. */
#define ARCHIVE_FUNCTIONS(FUNCTION)                                                                \
    FUNCTION(archive_entry_filetype)                                                               \
    FUNCTION(archive_entry_hardlink)                                                               \
    FUNCTION(archive_entry_is_encrypted)                                                           \
    FUNCTION(archive_entry_is_metadata_encrypted)                                                  \
    FUNCTION(archive_entry_pathname)                                                               \
    FUNCTION(archive_entry_pathname_utf8)                                                          \
    FUNCTION(archive_entry_size)                                                                   \
    FUNCTION(archive_entry_size_is_set)                                                            \
    FUNCTION(archive_entry_symlink)                                                                \
    FUNCTION(archive_error_string)                                                                 \
    FUNCTION(archive_filter_count)                                                                 \
    FUNCTION(archive_format)                                                                       \
    FUNCTION(archive_read_data)                                                                    \
    FUNCTION(archive_read_free)                                                                    \
    FUNCTION(archive_read_has_encrypted_entries)                                                   \
    FUNCTION(archive_read_new)                                                                     \
    FUNCTION(archive_read_next_header)                                                             \
    FUNCTION(archive_read_open1)                                                                   \
    FUNCTION(archive_read_set_callback_data)                                                       \
    FUNCTION(archive_read_set_options)                                                             \
    FUNCTION(archive_read_set_read_callback)                                                       \
    FUNCTION(archive_read_set_seek_callback)                                                       \
    FUNCTION(archive_read_set_skip_callback)                                                       \
    FUNCTION(archive_read_support_filter_bzip2)                                                    \
    FUNCTION(archive_read_support_filter_compress)                                                 \
    FUNCTION(archive_read_support_filter_gzip)                                                     \
    FUNCTION(archive_read_support_filter_lz4)                                                      \
    FUNCTION(archive_read_support_filter_lzip)                                                     \
    FUNCTION(archive_read_support_filter_lzma)                                                     \
    FUNCTION(archive_read_support_filter_rpm)                                                      \
    FUNCTION(archive_read_support_filter_xz)                                                       \
    FUNCTION(archive_read_support_filter_zstd)                                                     \
    FUNCTION(archive_read_support_format_7zip)                                                     \
    FUNCTION(archive_read_support_format_ar)                                                       \
    FUNCTION(archive_read_support_format_cab)                                                      \
    FUNCTION(archive_read_support_format_cpio)                                                     \
    FUNCTION(archive_read_support_format_iso9660)                                                  \
    FUNCTION(archive_read_support_format_lha)                                                      \
    FUNCTION(archive_read_support_format_rar)                                                      \
    FUNCTION(archive_read_support_format_rar5)                                                     \
    FUNCTION(archive_read_support_format_raw)                                                      \
    FUNCTION(archive_read_support_format_tar)                                                      \
    FUNCTION(archive_read_support_format_zip)                                                      \
    FUNCTION(archive_read_support_format_zip_streamable)                                           \
    FUNCTION(archive_set_error)

/* Under their own names, so that a call reads as in libarchive's manual:
 * library->archive_read_new()
 */
struct archive_library {
#define FUNCTION(name) __typeof__(&name) name;
    ARCHIVE_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

/*
 * Loads it at the first call. NULL when it is not there, lacks a function, or has no memory, which
 * one mail may have used up: so the next call tries again. The log says so once in a row.
 */
const struct archive_library *archive_library(void);

#endif
