/*
 * A zip's own two directories (APPNOTE.TXT): the central one at its end, which most programs read,
 * and the headers before each file, which programs that read a stream go by. They need not agree,
 * and that is how a name gets past whoever reads one of them. So both are read here, each at every
 * place where some program would look, and the union is listed.
 */
#include <stdlib.h>
#include <string.h>

#include "worker/archive_impl.h"

enum {
    LOCAL_BYTES = 30,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    END_WINDOW = 65535 + END_BYTES, /* where programs look for the end record */
    ENDS_MAX = 16,                  /* end records looked at */
    FLAG_ENCRYPTED = 1,
    FLAG_SIZES_LATER = 1 << 3,
    FLAG_STRONG = 1 << 6,
    FLAG_UTF8 = 1 << 11,
    FLAG_MASKED = 1 << 13, /* names are encrypted too */
    METHOD_AES = 99,
    EXTRA_ZIP64 = 0x0001,
    EXTRA_UNICODE_NAME = 0x7075,
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

/* A header of either kind. */
struct header {
    uint16_t flags, method;
    int64_t packed, unpacked;
    int64_t local; /* offset of the local header */
    struct slice name, extra;
    size_t next; /* what comes behind */
};

/* ---- numbers, little-endian; callers have checked that they are there ---- */

static uint64_t number(struct slice bytes, size_t at, size_t n)
{
    uint64_t value = 0;
    for (size_t i = n; i-- > 0;)
        value = value << 8 | (uint8_t)bytes.data[at + i];
    return value;
}

static uint16_t u16(struct slice bytes, size_t at)
{
    return (uint16_t)number(bytes, at, 2);
}

static uint32_t u32(struct slice bytes, size_t at)
{
    return (uint32_t)number(bytes, at, 4);
}

static bool is_at(struct slice bytes, size_t at, const char *magic, size_t size)
{
    return at <= bytes.len && size <= bytes.len - at && memcmp(bytes.data + at, magic, 4) == 0;
}

static struct slice part_of(struct slice bytes, size_t at, size_t len)
{
    size_t left = bytes.len - at;
    return slice_of(bytes.data + at, len < left ? len : left);
}

/* ---- headers ---- */

/* The next field of an extra block; false at its end. */
static bool next_extra(struct slice extra, size_t *pos, uint16_t *id_out, struct slice *data_out)
{
    if (extra.len - *pos < 4)
        return false;
    *id_out = u16(extra, *pos);
    size_t len = u16(extra, *pos + 2);
    *data_out = part_of(extra, *pos + 4, len);
    *pos += 4 + data_out->len;
    return true;
}

/* Sizes and offset that need 64 bits stand in an extra field, in this order, each only when its own
 * place says so. */
static void read_zip64(struct header *header, struct slice data)
{
    int64_t *const fields[] = {&header->unpacked, &header->packed, &header->local};
    size_t pos = 0;
    for (size_t i = 0; i < 3; i++) {
        if (*fields[i] != UINT32_MAX || data.len - pos < 8)
            continue;
        uint64_t value = number(data, pos, 8);
        *fields[i] = value <= INT64_MAX ? (int64_t)value : -1;
        pos += 8;
    }
}

static void read_extra(struct header *header)
{
    uint16_t id;
    struct slice data;
    for (size_t pos = 0; next_extra(header->extra, &pos, &id, &data);) {
        if (id == EXTRA_ZIP64)
            read_zip64(header, data);
    }
}

static bool read_local(struct slice bytes, size_t at, struct header *out)
{
    if (!is_at(bytes, at, "PK\x03\x04", LOCAL_BYTES))
        return false;
    *out = (struct header){.flags = u16(bytes, at + 6),
        .method = u16(bytes, at + 8),
        .packed = u32(bytes, at + 18),
        .unpacked = u32(bytes, at + 22),
        .local = (int64_t)at};
    out->name = part_of(bytes, at + LOCAL_BYTES, u16(bytes, at + 26));
    out->extra = part_of(bytes, at + LOCAL_BYTES + out->name.len, u16(bytes, at + 28));
    out->next = at + LOCAL_BYTES + out->name.len + out->extra.len;
    read_extra(out);
    return out->name.len == u16(bytes, at + 26);
}

static bool read_central(struct slice bytes, size_t at, struct header *out)
{
    if (!is_at(bytes, at, "PK\x01\x02", CENTRAL_BYTES))
        return false;
    *out = (struct header){.flags = u16(bytes, at + 8),
        .method = u16(bytes, at + 10),
        .packed = u32(bytes, at + 20),
        .unpacked = u32(bytes, at + 24),
        .local = u32(bytes, at + 42)};
    out->name = part_of(bytes, at + CENTRAL_BYTES, u16(bytes, at + 28));
    size_t pos = at + CENTRAL_BYTES + out->name.len;
    out->extra = part_of(bytes, pos, u16(bytes, at + 30));
    pos += out->extra.len;
    out->next = pos + part_of(bytes, pos, u16(bytes, at + 32)).len;
    read_extra(out);
    return out->name.len == u16(bytes, at + 28);
}

/* ---- entries ---- */

static void add_names(struct zip *zip, struct archive_item *item, const struct header *header)
{
    uint16_t id;
    struct slice data;
    archive_item_name(zip->lister, item, header->name, (header->flags & FLAG_UTF8) != 0);
    for (size_t pos = 0; next_extra(header->extra, &pos, &id, &data);) {
        if (id == EXTRA_UNICODE_NAME && data.len > 5) /* version, checksum of the other name */
            archive_item_name(zip->lister, item, slice_of(data.data + 5, data.len - 5), true);
    }
}

static void add_facts(struct zip *zip, struct archive_item *item, const struct header *header)
{
    bool is_later = (header->flags & FLAG_SIZES_LATER) != 0 && header->unpacked == 0;
    if (item->size < 0 && !is_later)
        item->size = header->unpacked;
    item->is_encrypted = item->is_encrypted ||
                         (header->flags & (FLAG_ENCRYPTED | FLAG_STRONG)) != 0 ||
                         header->method == METHOD_AES;
    size_t len = strlen(item->name);
    char last = len > 0 ? item->name[len - 1] : '\0';
    item->is_directory = (last == '/' || last == '\\') && item->size <= 0;
    archive_item_ratio(zip->lister, item, header->packed, header->unpacked);
    if ((header->flags & FLAG_MASKED) != 0)
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
    const struct zip *zip, const struct header *central, const struct header *local)
{
    struct span span = {(size_t)local->local, (size_t)local->local};
    bool is_agreed = (local->flags & FLAG_SIZES_LATER) == 0 && local->packed == central->packed;
    if (is_agreed && central->packed >= 0 &&
        (uint64_t)central->packed <= zip->bytes.len - local->next)
        span.end = local->next + (size_t)central->packed;
    return span;
}

/* The local header of an entry; what stands before the zip may or may not be counted. */
static bool find_local(
    const struct zip *zip, const struct header *central, int64_t before, struct header *out)
{
    if (central->local < 0 || (uint64_t)central->local > zip->bytes.len)
        return false;
    if (read_local(zip->bytes, (size_t)central->local, out))
        return true;
    return before > 0 && read_local(zip->bytes, (size_t)(central->local + before), out);
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
static bool add_entry(struct zip *zip, const struct header *central, int64_t before)
{
    struct archive_item *item = archive_item_add(zip->lister, zip->place);
    if (item == NULL)
        return false;
    struct header local;
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
    struct header header;
    uint64_t n_read = 0;
    if (start >= zip->bytes.len || !is_at(zip->bytes, (size_t)start, "PK\x01\x02", CENTRAL_BYTES))
        return;
    for (uint32_t i = 0; i < zip->n_starts; i++) {
        if (zip->starts[i] == start)
            return;
    }
    zip->starts[zip->n_starts++] = (size_t)start;
    size_t at = (size_t)start;
    for (; read_central(zip->bytes, at, &header) && add_entry(zip, &header, before); n_read++)
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
    if (end < LOCATOR_BYTES || !is_at(zip->bytes, end - LOCATOR_BYTES, "PK\x06\x07", 20))
        return;
    uint64_t said = number(zip->bytes, end - LOCATOR_BYTES + 8, 8);
    const uint64_t places[] = {said, end - LOCATOR_BYTES - END64_BYTES};
    for (size_t i = 0; i < 2; i++) {
        uint64_t at = places[i];
        if (at < zip->bytes.len && is_at(zip->bytes, (size_t)at, "PK\x06\x06", END64_BYTES))
            read_from_end(zip, (size_t)at, number(zip->bytes, (size_t)at + 32, 8),
                number(zip->bytes, (size_t)at + 40, 8), number(zip->bytes, (size_t)at + 48, 8));
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
        if (zip->bytes.data[at] != 'P' || !is_at(zip->bytes, at, "PK\x05\x06", END_BYTES) ||
            is_inside_a_file(zip, at))
            continue;
        zip->is_further = n++ > 0;
        read_from_end(
            zip, at, u16(zip->bytes, at + 10), u32(zip->bytes, at + 12), u32(zip->bytes, at + 16));
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
static bool is_plausible(const struct header *header)
{
    static const uint16_t methods[] = {
        0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 18, 19, 93, 94, 95, 96, 97, 98, METHOD_AES};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (header->method == methods[i])
            return header->name.len > 0;
    }
    return false;
}

static bool add_local(struct zip *zip, const struct header *local)
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
    struct header local;
    if (zip->n_spans > 0)
        qsort(zip->spans, zip->n_spans, sizeof(*zip->spans), by_start);
    for (size_t at = 0; at < zip->bytes.len && !zip->lister->is_stopped;) {
        const char *found = memchr(zip->bytes.data + at, 'P', zip->bytes.len - at);
        if (found == NULL)
            return;
        at = (size_t)(found - zip->bytes.data);
        size_t next = at + 1;
        if (!is_known(zip, at, &i, &next) && read_local(zip->bytes, at, &local) &&
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
    bool begins = is_at(place->bytes, 0, "PK\x03\x04", LOCAL_BYTES);
    if (!zip.has_directory && !begins)
        return ARCHIVE_ZIP_NONE;
    lister->is_archive = true;
    read_locals(&zip);
    if (!zip.has_directory)
        archive_fail(lister, "it is cut off: its directory is missing");
    return zip.disagrees ? ARCHIVE_ZIP_DISAGREES : ARCHIVE_ZIP_PLAIN;
}
