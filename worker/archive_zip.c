/*
 * A zip's own two directories (APPNOTE.TXT): the central one at its end, which most programs read,
 * and the headers before each file, which programs that read a stream go by. They need not agree,
 * and that is how a name gets past whoever reads one of them. So both are read here, each at every
 * place where some program would look, and the union is listed.
 */
#include <stdlib.h>
#include <string.h>

#include "worker/archive_impl.h"
#include "worker/zip_header.h"

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    END_WINDOW = 65535 + END_BYTES, /* where programs look for the end record */
    ENDS_MAX = 16,                  /* end records looked at */
};

/* Where a file of the central directory lies. */
struct span {
    size_t start; /* of its local header */
    size_t end;   /* of its content; start: it cannot be told where it ends */
};

struct zip {
    struct lister *lister;
    const struct archive_place *place;
    struct slice bytes;
    struct span *spans;
    uint32_t n_spans, cap_spans;
    size_t starts[ENDS_MAX * 4]; /* of the central directories read */
    uint32_t n_starts;
    bool has_directory;
    bool is_further; /* not what the last end record says */
    bool disagrees;
};

/* ---- entries ---- */

static void add_names(struct zip *zip, struct archive_item *item, const struct zip_header *header)
{
    uint16_t id;
    struct slice data;
    archive_item_name(zip->lister, item, header->name, (header->flags & ZIP_FLAG_UTF8) != 0);
    for (size_t pos = 0; zip_next_extra(header->extra, &pos, &id, &data);) {
        if (id == ZIP_EXTRA_UNICODE_NAME && data.len > 5) /* version, checksum of the other name */
            archive_item_name(zip->lister, item, slice_of(data.data + 5, data.len - 5), true);
    }
}

static void add_facts(struct zip *zip, struct archive_item *item, const struct zip_header *header)
{
    bool is_later = (header->flags & ZIP_FLAG_SIZES_LATER) != 0 && header->unpacked == 0;
    if (item->size < 0 && !is_later)
        item->size = header->unpacked;
    item->is_encrypted = item->is_encrypted ||
                         (header->flags & (ZIP_FLAG_ENCRYPTED | ZIP_FLAG_STRONG)) != 0 ||
                         header->method == ZIP_METHOD_AES;
    size_t len = strlen(item->name);
    char last = len > 0 ? item->name[len - 1] : '\0';
    item->is_directory = (last == '/' || last == '\\') && item->size <= 0;
    archive_item_ratio(zip->lister, item, header->packed, header->unpacked);
    if ((header->flags & ZIP_FLAG_MASKED) != 0)
        archive_fail(zip->lister, "its names are encrypted");
}

static void note_span(struct zip *zip, struct span span)
{
    if (zip->n_spans == zip->cap_spans) {
        uint32_t cap = zip->cap_spans == 0 ? 16 : zip->cap_spans * 2;
        struct span *spans = arena_calloc(zip->lister->arena, cap, sizeof(*spans));
        if (zip->n_spans > 0)
            memcpy(spans, zip->spans, zip->n_spans * sizeof(*spans));
        zip->spans = spans;
        zip->cap_spans = cap;
    }
    zip->spans[zip->n_spans++] = span;
}

/* How far a file reaches, when both headers say the same. */
static struct span span_of(
    const struct zip *zip, const struct zip_header *central, const struct zip_header *local)
{
    struct span span = {(size_t)local->local, (size_t)local->local};
    bool is_agreed = (local->flags & ZIP_FLAG_SIZES_LATER) == 0 && local->packed == central->packed;
    if (is_agreed && central->packed >= 0 &&
        (uint64_t)central->packed <= zip->bytes.len - local->next)
        span.end = local->next + (size_t)central->packed;
    return span;
}

/* The local header of an entry; what stands before the zip may or may not be counted. */
static bool find_local(
    const struct zip *zip, const struct zip_header *central, int64_t before, struct zip_header *out)
{
    if (central->local < 0 || (uint64_t)central->local > zip->bytes.len)
        return false;
    if (zip_read_local(zip->bytes, (size_t)central->local, out))
        return true;
    return before > 0 && zip_read_local(zip->bytes, (size_t)(central->local + before), out);
}

/* Content under the name of a folder: some take the name for that of a file. */
static void add_file_names(struct zip *zip, struct archive_item *item)
{
    uint32_t n = item->is_directory ? 0 : item->n_names;
    for (uint32_t i = 0; i < n; i++) {
        size_t len = strlen(item->names[i]), kept = len;
        while (kept > 0 && (item->names[i][kept - 1] == '/' || item->names[i][kept - 1] == '\\'))
            kept--;
        if (kept > 0 && kept < len)
            archive_item_name(zip->lister, item, slice_of(item->names[i], kept), true);
    }
}

/* False when there may be no more entries. */
static bool add_entry(struct zip *zip, const struct zip_header *central, int64_t before)
{
    struct archive_item *item = archive_item_add(zip->lister, zip->place);
    if (item == NULL)
        return false;
    struct zip_header local;
    add_names(zip, item, central);
    add_facts(zip, item, central);
    if (!find_local(zip, central, before, &local)) {
        archive_fail(zip->lister, "a file that its directory names is not there");
        return true;
    }
    if (!slice_equal(local.name, central->name) || zip->is_further) {
        item->is_hidden = zip->disagrees = true;
        add_names(zip, item, &local);
    }
    add_facts(zip, item, &local);
    add_file_names(zip, item);
    note_span(zip, span_of(zip, central, &local));
    return true;
}

/* A central directory that starts here. before: bytes that its offsets do not count; n: its
 * entries, of which end records of old keep 16 bits. */
static void read_directory(struct zip *zip, uint64_t start, int64_t before, uint64_t n)
{
    struct zip_header header;
    uint64_t n_read = 0;
    if (start >= zip->bytes.len ||
        !zip_is_at(zip->bytes, (size_t)start, "PK\x01\x02", ZIP_CENTRAL_BYTES))
        return;
    for (uint32_t i = 0; i < zip->n_starts; i++) {
        if (zip->starts[i] == start)
            return;
    }
    zip->starts[zip->n_starts++] = (size_t)start;
    size_t at = (size_t)start;
    for (; zip_read_central(zip->bytes, at, &header) && add_entry(zip, &header, before); n_read++)
        at = header.next;
    if ((n_read & UINT16_MAX) != (n & UINT16_MAX))
        archive_fail(zip->lister, "its directory is broken");
}

/* Where an end record says its directory is, and where it must be when it ends right before. */
static void read_from_end(struct zip *zip, size_t end, uint64_t n, uint64_t size, uint64_t offset)
{
    zip->has_directory = true;
    int64_t before = size <= end && offset <= end - size ? (int64_t)(end - size - offset) : 0;
    if (size <= end)
        read_directory(zip, end - size, before, n);
    read_directory(zip, offset, before, n);
}

static void read_end64(struct zip *zip, size_t end)
{
    if (end < LOCATOR_BYTES || !zip_is_at(zip->bytes, end - LOCATOR_BYTES, "PK\x06\x07", 20))
        return;
    uint64_t said = zip_number(zip->bytes, end - LOCATOR_BYTES + 8, 8);
    const uint64_t places[] = {said, end - LOCATOR_BYTES - END64_BYTES};
    for (size_t i = 0; i < 2; i++) {
        uint64_t at = places[i];
        if (at < zip->bytes.len && zip_is_at(zip->bytes, (size_t)at, "PK\x06\x06", END64_BYTES))
            read_from_end(zip, (size_t)at, zip_number(zip->bytes, (size_t)at + 32, 8),
                zip_number(zip->bytes, (size_t)at + 40, 8),
                zip_number(zip->bytes, (size_t)at + 48, 8));
    }
}

static bool is_inside_a_file(const struct zip *zip, size_t at)
{
    for (uint32_t i = 0; i < zip->n_spans; i++) {
        if (at > zip->spans[i].start && at < zip->spans[i].end)
            return true;
    }
    return false;
}

/* From the last on: an end record inside of a file belongs to an archive in it. */
static void read_ends(struct zip *zip)
{
    size_t first = zip->bytes.len > END_WINDOW ? zip->bytes.len - END_WINDOW : 0;
    uint32_t n = 0;
    for (size_t at = zip->bytes.len; at-- > first && n < ENDS_MAX;) {
        if (zip->bytes.data[at] != 'P' || !zip_is_at(zip->bytes, at, "PK\x05\x06", END_BYTES) ||
            is_inside_a_file(zip, at))
            continue;
        zip->is_further = n++ > 0;
        read_from_end(zip, at, zip_u16(zip->bytes, at + 10), zip_u32(zip->bytes, at + 12),
            zip_u32(zip->bytes, at + 16));
        read_end64(zip, at);
    }
}

/* ---- local headers that no directory names ---- */

static int by_start(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* Four bytes alone may be anything. */
static bool is_plausible(const struct zip_header *header)
{
    static const uint16_t methods[] = {
        0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 18, 19, 93, 94, 95, 96, 97, 98, ZIP_METHOD_AES};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (header->method == methods[i])
            return header->name.len > 0;
    }
    return false;
}

static bool add_local(struct zip *zip, const struct zip_header *local)
{
    struct archive_item *item = archive_item_add(zip->lister, zip->place);
    if (item == NULL)
        return false;
    add_names(zip, item, local);
    add_facts(zip, item, local);
    add_file_names(zip, item);
    item->is_hidden = zip->has_directory;
    zip->disagrees = true;
    return true;
}

/* Spans are in order; *i moves along. Known headers and what lies inside of files are skipped. */
static bool is_known(const struct zip *zip, size_t at, uint32_t *i, size_t *next_out)
{
    while (*i < zip->n_spans && zip->spans[*i].start < at && zip->spans[*i].end <= at)
        (*i)++;
    if (*i == zip->n_spans || zip->spans[*i].start > at)
        return false;
    const struct span *span = &zip->spans[*i];
    *next_out = span->end > at ? span->end : at + 4;
    return span->start == at || span->end > at;
}

static void read_locals(struct zip *zip)
{
    uint32_t i = 0;
    struct zip_header local;
    if (zip->n_spans > 0)
        qsort(zip->spans, zip->n_spans, sizeof(*zip->spans), by_start);
    for (size_t at = 0; at < zip->bytes.len && !zip->lister->is_stopped;) {
        const char *found = memchr(zip->bytes.data + at, 'P', zip->bytes.len - at);
        if (found == NULL)
            return;
        at = (size_t)(found - zip->bytes.data);
        size_t next = at + 1;
        if (!is_known(zip, at, &i, &next) && zip_read_local(zip->bytes, at, &local) &&
            is_plausible(&local) && !add_local(zip, &local))
            return;
        at = next;
    }
}

enum archive_zip archive_zip_list(struct lister *lister, const struct archive_place *place)
{
    struct zip zip = {.lister = lister, .place = place, .bytes = place->bytes};
    if (place->bytes.len < END_BYTES)
        return ARCHIVE_ZIP_NONE;
    read_ends(&zip);
    bool begins = zip_is_at(place->bytes, 0, "PK\x03\x04", ZIP_LOCAL_BYTES);
    if (!zip.has_directory && !begins)
        return ARCHIVE_ZIP_NONE;
    lister->is_archive = true;
    read_locals(&zip);
    if (!zip.has_directory)
        archive_fail(lister, "it is cut off: its directory is missing");
    return zip.disagrees ? ARCHIVE_ZIP_DISAGREES : ARCHIVE_ZIP_PLAIN;
}
