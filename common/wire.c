/*
 * The record codec. Everything that knows a record's fields is made from the rows of records.def;
 * by hand are only the helpers for one field of each type. A failing field makes the rest of its
 * record a no-op, so that the generated code has no branches.
 */
#include "common/wire.h"

#include <string.h>

#include "common/err.h"
#include "common/log.h"

enum { SPILLS_MAX = 8, OFFSET_ID = 8, OFFSET_PAYLOAD_BYTES = 16 };
static const unsigned all_flags = WIRE_PARCEL | WIRE_ANNEX | WIRE_SOCKET | WIRE_NOTE;

struct row {
    uint16_t type;
    uint8_t senders;
    uint8_t descriptors;
    const char *name;
};

/* The rows without their fields. */
#define RECORD(id, name, number, senders, since, fds) {number, senders, fds, #id},
static const struct row rows[] = {
#include "common/records_each.h"
};

#define RECORD(id, name, number, senders, since, fds) _Static_assert(0
#define RECORD_END(id, name)                          <= SPILLS_MAX, #id " has too many SPILL fields");
#define SPILL(f, max) +1
#include "common/records_each.h"

static const struct row *row_find(unsigned type)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].type == type)
            return &rows[i];
    return NULL;
}

/* Encoding. */

struct put {
    struct buf *record;
    struct buf *annex;
    int err;
    int n_spills;
    size_t spill_bytes;
    struct slice spills[SPILLS_MAX];
};

static void store(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        to[i] = (uint8_t)value;
}

static struct put put_begin(
    struct buf *record, struct buf *annex, unsigned type, uint64_t id, unsigned flags)
{
    struct put put = {.record = record, .annex = annex};
    uint8_t header[WIRE_HEADER_BYTES] = {0};
    const struct row *row = row_find(type);

    /* The annex is the codec's own affair. */
    LOG_INVARIANT(row != NULL && (flags & ~(row->descriptors & ~(unsigned)WIRE_ANNEX)) == 0);
    store(header, WIRE_MAJOR, 2);
    store(header + 2, WIRE_MINOR, 2);
    store(header + 4, type, 2);
    store(header + 6, flags, 2);
    store(header + OFFSET_ID, id, 8);
    buf_reset(record);
    put.err = buf_put(record, header, sizeof(header));
    return put;
}

static void put_u8(struct put *put, uint8_t value)
{
    if (put->err == 0)
        put->err = buf_put_u8(put->record, value);
}

static void put_u16(struct put *put, uint16_t value)
{
    if (put->err == 0)
        put->err = buf_put_u16(put->record, value);
}

static void put_u32(struct put *put, uint32_t value)
{
    if (put->err == 0)
        put->err = buf_put_u32(put->record, value);
}

static void put_u64(struct put *put, uint64_t value)
{
    if (put->err == 0)
        put->err = buf_put_u64(put->record, value);
}

static bool has_nul(struct slice text)
{
    return text.len > 0 && memchr(text.data, '\0', text.len) != NULL;
}

static void put_text(struct put *put, struct slice text, size_t max_bytes)
{
    if (put->err != 0)
        return;
    if (text.len > max_bytes)
        put->err = -ERR_TOOBIG;
    else if (has_nul(text))
        put->err = -ERR_BAD;
    else
        put->err = buf_put_bytes(put->record, text);
}

/* SPILL fields are put at the end of the record, or all into the annex: put_end decides. */
static void put_spill(struct put *put, struct slice bytes, size_t max_bytes)
{
    if (put->err == 0 && bytes.len > max_bytes)
        put->err = -ERR_TOOBIG;
    put->spills[put->n_spills++] = bytes;
    put->spill_bytes += 4 + bytes.len;
}

static int put_spills(struct put *put, struct buf *to)
{
    for (int i = 0; i < put->n_spills && put->err == 0; i++)
        put->err = buf_put_bytes(to, put->spills[i]);
    return put->err;
}

static int put_end(struct put *put)
{
    struct buf *record = put->record;

    if (put->annex != NULL)
        buf_reset(put->annex);
    if (put->err != 0)
        return put->err;
    if (record->len + put->spill_bytes <= WIRE_RECORD_MAX) {
        put_spills(put, record);
    } else if (put->annex != NULL && put->n_spills > 0 && put->spill_bytes <= WIRE_ANNEX_MAX) {
        record->data[7] |= WIRE_ANNEX;
        put_spills(put, put->annex);
    } else {
        return -ERR_TOOBIG;
    }
    if (put->err == 0 && record->len > WIRE_RECORD_MAX)
        put->err = -ERR_TOOBIG;
    if (put->err == 0)
        store(record->data + OFFSET_PAYLOAD_BYTES, record->len - WIRE_HEADER_BYTES, 4);
    return put->err;
}

#define RECORD(id, name, number, senders, since, fds)                                              \
    int wire_put_##name(struct buf *record, struct buf *annex, uint64_t id_, unsigned flags,       \
        const struct wire_##name *in)                                                              \
    {                                                                                              \
        struct put put = put_begin(record, annex, number, id_, flags);
#define RECORD_END(id, name)                                                                       \
    return put_end(&put);                                                                          \
    }
#define U8(f)         put_u8(&put, in->f);
#define U16(f)        put_u16(&put, in->f);
#define U32(f)        put_u32(&put, in->f);
#define U64(f)        put_u64(&put, in->f);
#define TEXT(f, max)  put_text(&put, in->f, max);
#define SPILL(f, max) put_spill(&put, in->f, max);
#include "common/records_each.h"

/* Decoding. */

struct get {
    struct buf record;
    struct buf annex;
    struct buf *spills; /* where SPILL fields are */
    bool may_trail;     /* a higher minor: fields that we do not know follow */
    int err;
};

static int header_read(struct slice record, struct wire_header *out)
{
    struct buf in;

    if (record.len < WIRE_HEADER_BYTES)
        return -ERR_SHORT;
    buf_view(&in, record.data, record.len);
    buf_get_u16(&in, &out->major);
    buf_get_u16(&in, &out->minor);
    buf_get_u16(&in, &out->type);
    buf_get_u16(&in, &out->flags);
    buf_get_u64(&in, &out->id);
    buf_get_u32(&in, &out->payload_bytes);
    return 0;
}

static void get_begin(struct get *get, struct slice record, struct slice annex)
{
    struct wire_header header = {0};

    get->err = header_read(record, &header);
    buf_view(&get->record, record.data, record.len);
    buf_view(&get->annex, annex.data, annex.len);
    if (get->err == 0)
        get->record.pos = WIRE_HEADER_BYTES;
    get->spills = (header.flags & WIRE_ANNEX) != 0 ? &get->annex : &get->record;
    get->may_trail = header.minor > WIRE_MINOR;
}

static void get_u8(struct get *get, uint8_t *out)
{
    if (get->err == 0)
        get->err = buf_get_u8(&get->record, out);
}

static void get_u16(struct get *get, uint16_t *out)
{
    if (get->err == 0)
        get->err = buf_get_u16(&get->record, out);
}

static void get_u32(struct get *get, uint32_t *out)
{
    if (get->err == 0)
        get->err = buf_get_u32(&get->record, out);
}

static void get_u64(struct get *get, uint64_t *out)
{
    if (get->err == 0)
        get->err = buf_get_u64(&get->record, out);
}

static void get_text(struct get *get, struct slice *out, size_t max_bytes)
{
    if (get->err == 0)
        get->err = buf_get_bytes(&get->record, max_bytes, out);
    if (get->err == 0 && has_nul(*out))
        get->err = -ERR_BAD;
}

static void get_spill(struct get *get, struct slice *out, size_t max_bytes)
{
    if (get->err == 0)
        get->err = buf_get_bytes(get->spills, max_bytes, out);
}

static int get_end(const struct get *get)
{
    bool is_all = buf_left(&get->record) == 0 && buf_left(&get->annex) == 0;

    if (get->err != 0)
        return get->err;
    return is_all || get->may_trail ? 0 : -ERR_TRAILING;
}

#define RECORD(id, name, number, senders, since, fds)                                              \
    int wire_get_##name(struct slice record, struct slice annex, struct wire_##name *out)          \
    {                                                                                              \
        struct get get;                                                                            \
                                                                                                   \
        memset(out, 0, sizeof(*out));                                                              \
        get_begin(&get, record, annex);
#define RECORD_END(id, name)                                                                       \
    return get_end(&get);                                                                          \
    }
#define U8(f)         get_u8(&get, &out->f);
#define U16(f)        get_u16(&get, &out->f);
#define U32(f)        get_u32(&get, &out->f);
#define U64(f)        get_u64(&get, &out->f);
#define TEXT(f, max)  get_text(&get, &out->f, max);
#define SPILL(f, max) get_spill(&get, &out->f, max);
#include "common/records_each.h"

int wire_get_header(struct slice record, enum wire_role sender, int n_fds, struct wire_header *out)
{
    const struct row *row;
    int err = header_read(record, out);

    if (err != 0)
        return err;
    if (out->major != WIRE_MAJOR)
        return -ERR_VERSION;
    row = row_find(out->type);
    if (row == NULL || record.len > WIRE_RECORD_MAX)
        return -ERR_BAD;
    if ((row->senders & sender) == 0)
        return -ERR_DENIED;
    if (out->payload_bytes != record.len - WIRE_HEADER_BYTES)
        return out->payload_bytes > record.len - WIRE_HEADER_BYTES ? -ERR_SHORT : -ERR_BAD;
    if ((out->flags & ~all_flags) != 0 || (out->flags & ~row->descriptors) != 0)
        return -ERR_BAD;
    return n_fds == __builtin_popcount(out->flags) ? 0 : -ERR_BAD;
}

int wire_fd_index(const struct wire_header *header, enum wire_flag which)
{
    if ((header->flags & which) == 0)
        return -1;
    return __builtin_popcount(header->flags & ((unsigned)which - 1));
}

const char *wire_type_name(unsigned type)
{
    const struct row *row = row_find(type);

    return row != NULL ? row->name : "?";
}

const char *wire_role_name(unsigned role)
{
    switch (role) {
    case ROLE_MILTERD:
        return "milterd";
    case ROLE_MULTIPLEXOR:
        return "multiplexor";
    case ROLE_NURSERY:
        return "nursery";
    case ROLE_WORKER:
        return "worker";
    }
    return "?";
}

const char *wire_outcome_name(unsigned outcome)
{
    static const char *const outcome_names[OUTCOME_COUNT] = {
        [OUTCOME_OK] = "ok",
        [OUTCOME_ERROR] = "error",
        [OUTCOME_DEADLINE] = "deadline",
        [OUTCOME_MEMORY] = "memory",
        [OUTCOME_OVERLOAD] = "overload",
        [OUTCOME_POISON] = "poison",
        [OUTCOME_NOBODY] = "nobody",
        [OUTCOME_RENEGOTIATE] = "renegotiate",
        [OUTCOME_DIED] = "died",
        [OUTCOME_DRAIN] = "drain",
    };

    return outcome < OUTCOME_COUNT ? outcome_names[outcome] : "?";
}

/*
 * Patching. The layouts have one byte array for each number, so that offsetof is the offset on the
 * wire up to the first text.
 */

#define RECORD(id, name, number, senders, since, fds) struct layout_##name {
#define RECORD_END(id, name)                                                                       \
    }                                                                                              \
    ;
#define U8(f)  uint8_t f[1];
#define U16(f) uint8_t f[2];
#define U32(f) uint8_t f[4];
#define U64(f) uint8_t f[8];
#include "common/records_each.h"

#define PATCH(record, name, field, value)                                                          \
    store((record) + WIRE_HEADER_BYTES + offsetof(struct layout_##name, field), (value),           \
        sizeof(((struct layout_##name *)NULL)->field))

void wire_patch_id(uint8_t *record, uint64_t id)
{
    store(record + OFFSET_ID, id, 8);
}

void wire_patch_request(uint8_t *record, uint32_t budget_ms, uint32_t generation, uint8_t attempt)
{
    PATCH(record, request, budget_ms, budget_ms);
    PATCH(record, request, generation, generation);
    PATCH(record, request, attempt, attempt);
}

void wire_patch_reply(
    uint8_t *record, uint32_t generation, uint32_t worker_pid, uint32_t queue_us, uint8_t attempt)
{
    PATCH(record, reply, generation, generation);
    PATCH(record, reply, worker_pid, worker_pid);
    PATCH(record, reply, queue_us, queue_us);
    PATCH(record, reply, attempt, attempt);
}

void wire_patch_reply_flags(uint8_t *record, uint8_t flags)
{
    PATCH(record, reply, flags, flags);
}
