/*
 * A record as a peer might send it. Input: a byte with the sender's role, one with the number of
 * descriptors, one that says how much of the rest is the annex; then the annex and the record.
 * Never a crash; what decodes is encoded and decoded again to the same.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/wire.h"

struct scratch {
    struct buf record, annex;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

#define RECORD(id, name, number, senders, since, fds)                                              \
    static void same_##name(const struct wire_##name *a, const struct wire_##name *b)              \
    {
#define RECORD_END(id, name) }
#define U8(f)                check(a->f == b->f);
#define U16(f)               check(a->f == b->f);
#define U32(f)               check(a->f == b->f);
#define U64(f)               check(a->f == b->f);
#define TEXT(f, max)         check(slice_equal(a->f, b->f));
#define SPILL(f, max)        check(slice_equal(a->f, b->f));
#include "common/records_each.h"

#define RECORD(id, name, number, senders, since, fds)                                              \
    static void try_##name(                                                                        \
        struct scratch *scratch, unsigned flags, struct slice record, struct slice annex)          \
    {                                                                                              \
        struct wire_##name first, second;                                                          \
                                                                                                   \
        if (wire_get_##name(record, annex, &first) != 0)                                           \
            return;                                                                                \
        check(wire_put_##name(&scratch->record, &scratch->annex, 1, flags, &first) == 0);          \
        check(wire_get_##name(buf_slice(&scratch->record), buf_slice(&scratch->annex), &second) == \
              0);                                                                                  \
        same_##name(&first, &second);                                                              \
    }
#include "common/records_each.h"

static void try_record(struct scratch *scratch, const struct wire_header *header,
    struct slice record, struct slice annex)
{
    switch (header->type) {
#define RECORD(id, name, number, senders, since, fds)                                              \
    case number:                                                                                   \
        try_##name(scratch, header->flags & ~(unsigned)WIRE_ANNEX, record, annex);                 \
        break;
#include "common/records_each.h"
    default:
        check(false); /* wire_get_header knows all types */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct wire_header header;
    struct scratch scratch;
    struct slice record, annex;

    if (len < 3)
        return 0;
    annex = slice_of(data + 3, (len - 3) * data[2] / 256);
    record = slice_of(data + 3 + annex.len, len - 3 - annex.len);
    if (wire_get_header(record, (enum wire_role)data[0], data[1], &header) != 0)
        return 0;
    for (unsigned which = WIRE_PARCEL; which <= WIRE_SOCKET; which <<= 1)
        check(wire_fd_index(&header, (enum wire_flag)which) < (int)data[1]);
    buf_init(&scratch.record, WIRE_RECORD_MAX);
    buf_init(&scratch.annex, WIRE_ANNEX_MAX);
    try_record(&scratch, &header, record, annex);
    buf_clear(&scratch.record);
    buf_clear(&scratch.annex);
    return 0;
}
