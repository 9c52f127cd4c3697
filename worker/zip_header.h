/*
 * The headers in a zip (APPNOTE.TXT): the local one in front of a file, and that of the central
 * directory. Knows nothing of what is done with them.
 */
#ifndef POSTERN_WORKER_ZIP_HEADER_H
#define POSTERN_WORKER_ZIP_HEADER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/buf.h"

enum {
    ZIP_LOCAL_BYTES = 30,
    ZIP_CENTRAL_BYTES = 46,
};

enum zip_flag {
    ZIP_FLAG_ENCRYPTED = 1,
    ZIP_FLAG_SIZES_LATER = 1 << 3,
    ZIP_FLAG_STRONG = 1 << 6,
    ZIP_FLAG_UTF8 = 1 << 11,
    ZIP_FLAG_MASKED = 1 << 13, /* names are encrypted too */
};

enum { ZIP_METHOD_AES = 99 };

enum zip_extra {
    ZIP_EXTRA_ZIP64 = 0x0001,
    ZIP_EXTRA_UNICODE_NAME = 0x7075,
};

/* A header of either kind. */
struct zip_header {
    uint16_t flags, method;
    int64_t packed, unpacked; /* bytes; -1: more than 63 bits */
    int64_t local;            /* offset of the local header; -1: as above */
    struct slice name, extra; /* borrowed of the zip */
    size_t next;              /* what comes behind */
};

/* Whether size bytes are there, and begin with these four. */
static inline bool zip_is_at(struct slice bytes, size_t at, const char *magic, size_t size)
{
    return at <= bytes.len && size <= bytes.len - at && memcmp(bytes.data + at, magic, 4) == 0;
}

/* n bytes, little-endian; the caller has checked that they are there. */
static inline uint64_t zip_number(struct slice bytes, size_t at, size_t n)
{
    uint64_t value = 0;
    for (size_t i = n; i-- > 0;)
        value = value << 8 | (uint8_t)bytes.data[at + i];
    return value;
}

static inline uint16_t zip_u16(struct slice bytes, size_t at)
{
    return (uint16_t)zip_number(bytes, at, 2);
}

static inline uint32_t zip_u32(struct slice bytes, size_t at)
{
    return (uint32_t)zip_number(bytes, at, 4);
}

/* The header at an offset; false when none is there, or its name is cut off. */
bool zip_read_local(struct slice bytes, size_t at, struct zip_header *out);
bool zip_read_central(struct slice bytes, size_t at, struct zip_header *out);
/* The next field of an extra block, from *pos = 0 on; false at its end. */
bool zip_next_extra(struct slice extra, size_t *pos, uint16_t *id_out, struct slice *data_out);

#endif
