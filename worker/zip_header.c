/* The headers in a zip: of a file, in front of it and in the central directory. */
#include "worker/zip_header.h"

static struct slice part_of(struct slice bytes, size_t at, size_t len)
{
    size_t left = bytes.len - at;
    return slice_of(bytes.data + at, len < left ? len : left);
}

bool zip_next_extra(struct slice extra, size_t *pos, uint16_t *id_out, struct slice *data_out)
{
    if (extra.len - *pos < 4)
        return false;
    *id_out = zip_u16(extra, *pos);
    size_t len = zip_u16(extra, *pos + 2);
    *data_out = part_of(extra, *pos + 4, len);
    *pos += 4 + data_out->len;
    return true;
}

/* Sizes and offset that need 64 bits stand in an extra field, in this order, each only when its own
 * place says so. */
static void read_zip64(struct zip_header *header, struct slice data)
{
    int64_t *const fields[] = {&header->unpacked, &header->packed, &header->local};
    size_t pos = 0;
    for (size_t i = 0; i < 3; i++) {
        if (*fields[i] != UINT32_MAX || data.len - pos < 8)
            continue;
        uint64_t value = zip_number(data, pos, 8);
        *fields[i] = value <= INT64_MAX ? (int64_t)value : -1;
        pos += 8;
    }
}

static void read_extra(struct zip_header *header)
{
    uint16_t id;
    struct slice data;
    for (size_t pos = 0; zip_next_extra(header->extra, &pos, &id, &data);) {
        if (id == ZIP_EXTRA_ZIP64)
            read_zip64(header, data);
    }
}

bool zip_read_local(struct slice bytes, size_t at, struct zip_header *out)
{
    if (!zip_is_at(bytes, at, "PK\x03\x04", ZIP_LOCAL_BYTES))
        return false;
    *out = (struct zip_header){.flags = zip_u16(bytes, at + 6),
        .method = zip_u16(bytes, at + 8),
        .packed = zip_u32(bytes, at + 18),
        .unpacked = zip_u32(bytes, at + 22),
        .local = (int64_t)at};
    out->name = part_of(bytes, at + ZIP_LOCAL_BYTES, zip_u16(bytes, at + 26));
    out->extra = part_of(bytes, at + ZIP_LOCAL_BYTES + out->name.len, zip_u16(bytes, at + 28));
    out->next = at + ZIP_LOCAL_BYTES + out->name.len + out->extra.len;
    read_extra(out);
    return out->name.len == zip_u16(bytes, at + 26);
}

bool zip_read_central(struct slice bytes, size_t at, struct zip_header *out)
{
    if (!zip_is_at(bytes, at, "PK\x01\x02", ZIP_CENTRAL_BYTES))
        return false;
    *out = (struct zip_header){.flags = zip_u16(bytes, at + 8),
        .method = zip_u16(bytes, at + 10),
        .packed = zip_u32(bytes, at + 20),
        .unpacked = zip_u32(bytes, at + 24),
        .local = zip_u32(bytes, at + 42)};
    out->name = part_of(bytes, at + ZIP_CENTRAL_BYTES, zip_u16(bytes, at + 28));
    size_t pos = at + ZIP_CENTRAL_BYTES + out->name.len;
    out->extra = part_of(bytes, pos, zip_u16(bytes, at + 30));
    pos += out->extra.len;
    out->next = pos + part_of(bytes, pos, zip_u16(bytes, at + 32)).len;
    read_extra(out);
    return out->name.len == zip_u16(bytes, at + 28);
}
