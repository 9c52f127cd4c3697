/*
 * The envelope region: writers used by milterd, readers used by workers. Entries are self-
 * contained, so a reader may begin at any of them.
 */
#include "common/envelope.h"

#include <string.h>

#include "common/err.h"

/* Writing. */

enum { ENTRY_HEAD_BYTES = 5 }; /* kind and payload length */

/* Puts the head of an entry; its length is filled in by entry_end. */
static int entry_begin(struct buf *out, enum envelope_kind kind, size_t *start_out)
{
    const uint8_t head[ENTRY_HEAD_BYTES] = {(uint8_t)kind};

    *start_out = out->len;
    return buf_put(out, head, sizeof(head));
}

static int entry_end(struct buf *out, size_t start, int err)
{
    if (err != 0) {
        out->len = start;
        return err;
    }
    uint32_t payload_bytes = (uint32_t)(out->len - start - ENTRY_HEAD_BYTES);
    for (int i = 0; i < 4; i++)
        out->data[start + 1 + i] = (uint8_t)(payload_bytes >> (24 - 8 * i));
    return 0;
}

static int put_text(struct buf *out, struct slice text)
{
    if (text.len > ENVELOPE_TEXT_MAX)
        return -ERR_TOOBIG;
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
        return -ERR_BAD;
    return buf_put_bytes(out, text);
}

int envelope_put_connect(
    struct buf *out, char family, struct slice ip, uint16_t port, struct slice hostname)
{
    size_t start;
    int err = entry_begin(out, ENVELOPE_CONNECT, &start);

    if (err == 0)
        err = buf_put_u8(out, (uint8_t)family);
    if (err == 0)
        err = put_text(out, ip);
    if (err == 0)
        err = buf_put_u16(out, port);
    if (err == 0)
        err = put_text(out, hostname);
    return entry_end(out, start, err);
}

int envelope_put_helo(struct buf *out, struct slice helo)
{
    size_t start;
    int err = entry_begin(out, ENVELOPE_HELO, &start);

    if (err == 0)
        err = put_text(out, helo);
    return entry_end(out, start, err);
}

static int put_address(
    struct buf *out, enum envelope_kind kind, struct slice address, struct slice args)
{
    size_t start;
    int err = entry_begin(out, kind, &start);

    if (err == 0)
        err = put_text(out, address);
    if (err == 0)
        err = put_text(out, args);
    return entry_end(out, start, err);
}

int envelope_put_sender(struct buf *out, struct slice address, struct slice args)
{
    return put_address(out, ENVELOPE_SENDER, address, args);
}

int envelope_put_recipient(struct buf *out, struct slice address, struct slice args)
{
    return put_address(out, ENVELOPE_RECIPIENT, address, args);
}

int envelope_put_refused(struct buf *out, uint32_t number)
{
    size_t start;
    int err = entry_begin(out, ENVELOPE_REFUSED, &start);

    if (err == 0)
        err = buf_put_u32(out, number);
    return entry_end(out, start, err);
}

int envelope_put_macros(
    struct buf *out, enum stage stage, const struct envelope_macro *macros, uint32_t n)
{
    size_t start;
    int err;

    if (n > ENVELOPE_MACROS_MAX)
        return -ERR_TOOBIG;
    err = entry_begin(out, ENVELOPE_MACROS, &start);
    if (err == 0)
        err = buf_put_u8(out, (uint8_t)stage);
    for (uint32_t i = 0; i < n && err == 0; i++) {
        err = put_text(out, macros[i].name);
        if (err == 0)
            err = put_text(out, macros[i].value);
    }
    return entry_end(out, start, err);
}

/* Reading. */

struct entry {
    uint8_t kind;
    struct buf payload; /* a view */
};

struct reader {
    struct buf in; /* a view of the region */
    struct arena *arena;
    struct envelope *out;
};

/* 0, -ERR_NOTFOUND at the end, -ERR_BAD. */
static int entry_get(struct buf *in, struct entry *out)
{
    struct slice payload;

    if (buf_left(in) == 0)
        return -ERR_NOTFOUND;
    if (buf_get_u8(in, &out->kind) != 0 || buf_get_bytes(in, in->len, &payload) != 0)
        return -ERR_BAD;
    buf_view(&out->payload, payload.data, payload.len);
    return 0;
}

static int get_text(struct buf *in, struct slice *out)
{
    if (buf_get_bytes(in, ENVELOPE_TEXT_MAX, out) != 0)
        return -ERR_BAD;
    return out->len > 0 && memchr(out->data, '\0', out->len) != NULL ? -ERR_BAD : 0;
}

static int read_connect(struct buf *in, struct envelope *out)
{
    uint8_t family;

    if (buf_get_u8(in, &family) != 0 || get_text(in, &out->ip) != 0 ||
        buf_get_u16(in, &out->port) != 0 || get_text(in, &out->hostname) != 0)
        return -ERR_BAD;
    out->family = (char)family;
    return 0;
}

static int read_helo(struct buf *in, struct envelope *out)
{
    out->has_helo = true;
    return get_text(in, &out->helo);
}

static int read_sender(struct buf *in, struct envelope *out)
{
    out->has_sender = true;
    if (get_text(in, &out->sender) != 0)
        return -ERR_BAD;
    return get_text(in, &out->sender_args);
}

/* out->recipients has room. */
static int read_recipient(struct buf *in, struct envelope *out)
{
    struct envelope_recipient *recipient = &out->recipients[out->n_recipients];

    if (get_text(in, &recipient->address) != 0 || get_text(in, &recipient->args) != 0)
        return -ERR_BAD;
    out->n_recipients++;
    out->macros[STAGE_RCPT] = NULL;
    out->n_macros[STAGE_RCPT] = 0;
    return 0;
}

static int read_refused(struct buf *in, struct envelope *out)
{
    uint32_t number;

    if (buf_get_u32(in, &number) != 0 || number >= out->n_recipients)
        return -ERR_BAD;
    out->recipients[number].is_refused = true;
    return 0;
}

struct slice envelope_macro_name(struct slice name)
{
    if (name.len >= 2 && name.data[0] == '{' && name.data[name.len - 1] == '}')
        return slice_of(name.data + 1, name.len - 2);
    return name;
}

struct slice envelope_macro_find(const struct envelope_macro *macros, uint32_t n, struct slice name)
{
    const struct slice wanted = envelope_macro_name(name);
    for (uint32_t i = n; i > 0; i--) {
        if (slice_equal(envelope_macro_name(macros[i - 1].name), wanted))
            return macros[i - 1].value;
    }
    return slice_of(NULL, 0);
}

static void macro_set(struct envelope_macro *macros, uint32_t *n, struct envelope_macro macro)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (slice_equal(macros[i].name, macro.name)) {
            macros[i].value = macro.value;
            return;
        }
    }
    macros[(*n)++] = macro;
}

static int count_macros(struct buf in, uint32_t *n_out)
{
    struct slice name, value;

    for (*n_out = 0; buf_left(&in) > 0; ++*n_out)
        if (get_text(&in, &name) != 0 || get_text(&in, &value) != 0)
            return -ERR_BAD;
    return 0;
}

/* Merges an entry's macros into those of its stage: a later value replaces an earlier one. */
static int read_macros(struct reader *reader, struct buf *in)
{
    struct envelope *out = reader->out;
    struct envelope_macro *merged, macro;
    uint32_t n = 0, n_new;
    uint8_t stage;

    if (buf_get_u8(in, &stage) != 0 || stage >= STAGE_COUNT || count_macros(*in, &n_new) != 0)
        return -ERR_BAD;
    if (n_new + out->n_macros[stage] > ENVELOPE_MACROS_MAX)
        return -ERR_TOOBIG;
    merged = arena_calloc(reader->arena, n_new + out->n_macros[stage] + 1, sizeof(*merged));
    for (; n < out->n_macros[stage]; n++)
        merged[n] = out->macros[stage][n];
    while (get_text(in, &macro.name) == 0 && get_text(in, &macro.value) == 0)
        macro_set(merged, &n, macro);
    out->macros[stage] = merged;
    out->n_macros[stage] = n;
    if (stage == STAGE_RCPT && out->n_recipients > 0) {
        out->recipients[out->n_recipients - 1].macros = merged;
        out->recipients[out->n_recipients - 1].n_macros = n;
    }
    return 0;
}

static int read_entry(struct reader *reader, struct entry *entry)
{
    int err;

    switch (entry->kind) {
    case ENVELOPE_CONNECT:
        err = read_connect(&entry->payload, reader->out);
        break;
    case ENVELOPE_HELO:
        err = read_helo(&entry->payload, reader->out);
        break;
    case ENVELOPE_SENDER:
        err = read_sender(&entry->payload, reader->out);
        break;
    case ENVELOPE_RECIPIENT:
        err = read_recipient(&entry->payload, reader->out);
        break;
    case ENVELOPE_REFUSED:
        err = read_refused(&entry->payload, reader->out);
        break;
    case ENVELOPE_MACROS:
        err = read_macros(reader, &entry->payload);
        break;
    default:
        return 0; /* a later minor's */
    }
    return err == 0 && buf_left(&entry->payload) > 0 ? -ERR_BAD : err;
}

static struct reader reader_start(struct slice region, struct arena *arena, struct envelope *out)
{
    struct reader reader = {.arena = arena, .out = out};

    memset(out, 0, sizeof(*out));
    buf_view(&reader.in, region.data, region.len);
    return reader;
}

/* Whether the next entry holds macros of stage RCPT; does not move. */
static bool next_is_recipient_macros(struct buf in)
{
    struct entry entry;
    uint8_t stage;

    return entry_get(&in, &entry) == 0 && entry.kind == ENVELOPE_MACROS &&
           buf_get_u8(&entry.payload, &stage) == 0 && stage == STAGE_RCPT;
}

static int read_one_recipient(struct reader *reader, size_t offset)
{
    struct entry entry;
    int err;

    if (offset >= reader->in.len)
        return -ERR_BAD;
    reader->in.pos = offset;
    if (entry_get(&reader->in, &entry) != 0 || entry.kind != ENVELOPE_RECIPIENT)
        return -ERR_BAD;
    reader->out->recipients = arena_calloc(reader->arena, 1, sizeof(*reader->out->recipients));
    err = read_entry(reader, &entry);
    while (err == 0 && next_is_recipient_macros(reader->in)) {
        entry_get(&reader->in, &entry);
        err = read_entry(reader, &entry);
    }
    return err;
}

int envelope_read_front(
    struct slice region, size_t recipient_offset, struct arena *arena, struct envelope *out)
{
    struct reader reader = reader_start(region, arena, out);
    struct entry entry;
    int err;

    while ((err = entry_get(&reader.in, &entry)) == 0 && entry.kind != ENVELOPE_RECIPIENT)
        if ((err = read_entry(&reader, &entry)) != 0)
            return err;
    if (err != 0 && err != -ERR_NOTFOUND)
        return err;
    return recipient_offset > 0 ? read_one_recipient(&reader, recipient_offset) : 0;
}

static int count_recipients(struct buf in, uint32_t *n_out)
{
    struct entry entry;
    uint32_t n = 0;
    int err;

    while ((err = entry_get(&in, &entry)) == 0)
        if (entry.kind == ENVELOPE_RECIPIENT && ++n > ENVELOPE_RECIPIENTS_MAX)
            return -ERR_TOOBIG;
    *n_out = n;
    return err == -ERR_NOTFOUND ? 0 : err;
}

int envelope_read_all(struct slice region, struct arena *arena, struct envelope *out)
{
    struct reader reader = reader_start(region, arena, out);
    struct entry entry;
    uint32_t n = 0;
    int err = count_recipients(reader.in, &n);

    if (err != 0)
        return err;
    if (n > 0)
        out->recipients = arena_calloc(arena, n, sizeof(*out->recipients));
    while ((err = entry_get(&reader.in, &entry)) == 0)
        if ((err = read_entry(&reader, &entry)) != 0)
            return err;
    return err == -ERR_NOTFOUND ? 0 : err;
}
