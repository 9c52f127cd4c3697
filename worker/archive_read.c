/*
 * What libarchive finds in an archive: names, facts, and the content of its entries, as far as it
 * has to be unpacked to look for archives in it or to count what comes out.
 */
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "worker/archive_impl.h"
#include "worker/archive_library.h"

enum {
    HEAD_BYTES = 1024, /* of an entry looked at to see whether it is an archive */
    SCRATCH_BYTES = 32768,
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void note_known(struct archive_reader *reader)
{
    struct lister *lister = reader->lister;
    if (reader->adding != ARCHIVE_ADD_NEW || lister->n == 0)
        return;
    reader->known = arena_calloc(lister->arena, lister->n, sizeof(*reader->known));
    for (uint32_t i = 0; i < lister->n; i++)
        reader->known[reader->n_known++] = lister->items[i].name;
    qsort(reader->known, reader->n_known, sizeof(*reader->known), by_name);
}

static bool is_known(const struct archive_reader *reader, const char *name)
{
    return reader->known != NULL &&
           bsearch(&name, reader->known, reader->n_known, sizeof(name), by_name) != NULL;
}

static void add_names(
    struct archive_reader *reader, struct archive_item *item, struct archive_entry *entry)
{
    const struct archive_library *library = reader->library;
    const char *raw = library->archive_entry_pathname(entry);
    const char *utf8 = library->archive_entry_pathname_utf8(entry);
    if (archive_reader_format(reader) == ARCHIVE_FORMAT_RAW && raw != NULL) {
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

static void add_facts(
    const struct archive_reader *reader, struct archive_item *item, struct archive_entry *entry)
{
    const struct archive_library *library = reader->library;
    const char *link = library->archive_entry_symlink(entry);
    link = link != NULL ? link : library->archive_entry_hardlink(entry);
    if (library->archive_entry_size_is_set(entry))
        item->size = library->archive_entry_size(entry);
    item->is_directory = library->archive_entry_filetype(entry) == AE_IFDIR;
    item->is_encrypted = library->archive_entry_is_encrypted(entry) != 0;
    item->is_absolute = item->is_absolute || (link != NULL && archive_leaves_folder(link));
}

/* ---- content ---- */

/* Reads up to n more bytes into reader->inside. False when the entry cannot be read on, or a limit
 * is reached. */
static bool read_inside(struct archive_reader *reader, size_t n)
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
        la_ssize_t got = reader->library->archive_read_data(
            reader->archive, reader->inside + reader->inside_len, n);
        if (got <= 0)
            return got == 0;
        if (!archive_take_bytes(reader->lister, (size_t)got))
            return false;
        reader->inside_len += (size_t)got;
        n -= (size_t)got;
    }
    return true;
}

static bool read_all_inside(struct archive_reader *reader)
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
static bool count_rest(struct archive_reader *reader, struct archive_item *item)
{
    uint8_t scratch[SCRATCH_BYTES];
    int64_t size = (int64_t)reader->inside_len;
    la_ssize_t n;
    while (
        (n = reader->library->archive_read_data(reader->archive, scratch, sizeof(scratch))) > 0) {
        size += n;
        archive_item_ratio(reader->lister, item, (int64_t)reader->place->bytes.len, size);
        if (!archive_take_bytes(reader->lister, (size_t)n))
            return false;
    }
    item->size = item->size < 0 ? size : item->size;
    return n == 0;
}

/* False when the entry cannot be read to its end, or a limit is reached. */
static bool look_inside(struct archive_reader *reader, struct archive_item *item)
{
    struct lister *lister = reader->lister;
    bool is_named =
        archive_is_named(item->names, item->n_names) || reader->way == ARCHIVE_WAY_UNPACK;
    if (item->is_encrypted) {
        if (is_named)
            archive_fail(lister, "an archive in it is encrypted");
        return true;
    }
    reader->inside_len = 0;
    if (!read_inside(reader, HEAD_BYTES))
        return false;
    if (!is_named && !archive_has_magic(slice_of(reader->inside, reader->inside_len)))
        return !archive_reader_must_unpack(reader) || count_rest(reader, item);
    if (item->depth >= lister->budget->depth) {
        archive_fail(lister, "archives in it are nested deeper than worker.max_archive_depth");
        return !archive_reader_must_unpack(reader) || count_rest(reader, item);
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
static bool take_entry(struct archive_reader *reader, struct archive_entry *entry)
{
    struct lister *lister = reader->lister;
    struct archive_item copy = {
        .name = "", .within = reader->place->within, .depth = reader->place->depth, .size = -1};
    uint32_t at = lister->n;
    add_names(reader, &copy, entry);
    add_facts(reader, &copy, entry);
    archive_item_ratio(lister, &copy, (int64_t)reader->place->bytes.len, copy.size);
    bool is_added = reader->adding != ARCHIVE_ADD_NONE && !is_known(reader, copy.name);
    if (is_added) {
        struct archive_item *item = archive_item_add(lister, reader->place);
        if (item == NULL)
            return false;
        *item = copy;
    }
    bool goes_on = look_inside(reader, &copy);
    if (is_added)
        lister->items[at] = copy;
    if (goes_on || lister->is_stopped)
        return goes_on;
    /* It may be an archive, whatever its name. */
    archive_reader_fail(reader);
    return true;
}

static enum archive_read take_entries(struct archive_reader *reader, struct archive_entry *entry)
{
    bool is_iso = archive_reader_format(reader) == ARCHIVE_FORMAT_ISO9660;
    reader->lister->is_archive = true;
    note_known(reader);
    int result = ARCHIVE_OK;
    while (!reader->lister->is_stopped && take_entry(reader, entry)) {
        result = reader->library->archive_read_next_header(reader->archive, &entry);
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            break;
    }
    if (result != ARCHIVE_EOF && !reader->lister->is_stopped)
        archive_reader_fail(reader);
    if (reader->library->archive_read_has_encrypted_entries(reader->archive) == 1 &&
        reader->library->archive_entry_is_metadata_encrypted(entry))
        archive_fail(reader->lister, "its names are encrypted");
    return is_iso ? ARCHIVE_READ_ISO : ARCHIVE_READ_DONE;
}

/* Nothing is one that has a format; the raw one without filter is none. */
static enum archive_read list(struct archive_reader *reader)
{
    struct archive_entry *entry;
    if (!archive_reader_open(reader))
        return ARCHIVE_READ_NONE;
    int result = reader->library->archive_read_next_header(reader->archive, &entry);
    if (result == ARCHIVE_OK && archive_reader_format(reader) == ARCHIVE_FORMAT_RAW &&
        !archive_reader_is_filtered(reader))
        return ARCHIVE_READ_NONE;
    const bool is_open = reader->way == ARCHIVE_WAY_USUAL || reader->way == ARCHIVE_WAY_OTHER;
    if (is_open && archive_reader_is_filtered(reader) && !archive_reader_is_stream(reader))
        return ARCHIVE_READ_UNPACK;
    if (result == ARCHIVE_OK || result == ARCHIVE_WARN)
        return take_entries(reader, entry);
    bool has_format = archive_reader_format(reader) != 0 || archive_reader_is_filtered(reader);
    reader->lister->is_archive = reader->lister->is_archive || has_format;
    if (has_format && result != ARCHIVE_EOF && !reader->lister->is_stopped)
        archive_reader_fail(reader);
    return has_format ? ARCHIVE_READ_DONE : ARCHIVE_READ_NONE;
}

enum archive_read archive_read_list(struct lister *lister, const struct archive_place *place,
    enum archive_way way, enum archive_adding adding)
{
    struct archive_reader reader = {.lister = lister, .place = place, .way = way, .adding = adding};
    /* Names in UTF-16 become those of the locale: it has to be able to hold them. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 != (locale_t)0 ? uselocale(utf8) : (locale_t)0;
    enum archive_read result = list(&reader);
    archive_reader_close(&reader);
    if (utf8 != (locale_t)0) {
        uselocale(before);
        freelocale(utf8);
    }
    return result;
}
