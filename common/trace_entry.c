#include "common/trace_entry.h"

#include <string.h>

#include "common/clock.h"
#include "common/err.h"

enum { HEAD_BYTES = 16, FIELD_HEAD_BYTES = 3, FLAG_CUT = 1 };

static const char cut_mark[] = "...";

static const struct trace_field_info fields[TRACE_FIELD_COUNT] = {
#define TRACE_KIND(id, number, name)
#define TRACE_FIELD(id, number, member, type) [number] = {member, TRACE_TYPE_##type},
#include "common/trace.def"
#undef TRACE_KIND
#undef TRACE_FIELD
};

const struct trace_field_info *trace_field_info(unsigned field)
{
    return field < TRACE_FIELD_COUNT && fields[field].member != NULL ? &fields[field] : NULL;
}

const char *trace_kind_name(unsigned kind)
{
    static const char *const names[] = {
#define TRACE_KIND(id, number, name) [number] = name,
#define TRACE_FIELD(id, number, member, type)
#include "common/trace.def"
#undef TRACE_KIND
#undef TRACE_FIELD
    };

    return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : NULL;
}

void trace_entry_init(struct trace_entry *entry, enum trace_kind kind)
{
    int64_t time_us = clock_wall_us();

    memset(entry->bytes, 0, HEAD_BYTES);
    entry->bytes[0] = (uint8_t)kind;
    memcpy(entry->bytes + 8, &time_us, sizeof time_us);
    entry->len = HEAD_BYTES;
}

static void put_head(struct trace_entry *entry, enum trace_field field, size_t len)
{
    uint16_t bytes = (uint16_t)len;

    entry->bytes[entry->len] = (uint8_t)field;
    memcpy(entry->bytes + entry->len + 1, &bytes, sizeof bytes);
    entry->len += FIELD_HEAD_BYTES;
}

void trace_entry_put_text(
    struct trace_entry *entry, enum trace_field field, struct slice text, size_t max_bytes)
{
    size_t room = RING_ENTRY_MAX - entry->len;
    size_t mark = sizeof cut_mark - 1;
    bool is_cut;

    if (text.len == 0)
        return;
    room = room > FIELD_HEAD_BYTES ? room - FIELD_HEAD_BYTES : 0;
    max_bytes = max_bytes < room ? max_bytes : room;
    is_cut = text.len > max_bytes;
    if (is_cut) {
        entry->bytes[1] |= FLAG_CUT;
        if (max_bytes <= mark)
            return;
        text.len = max_bytes - mark;
    }
    put_head(entry, field, text.len + (is_cut ? mark : 0));
    memcpy(entry->bytes + entry->len, text.data, text.len);
    entry->len += text.len;
    if (is_cut) {
        memcpy(entry->bytes + entry->len, cut_mark, mark);
        entry->len += mark;
    }
}

void trace_entry_put_number(struct trace_entry *entry, enum trace_field field, uint64_t number)
{
    size_t len = 0;

    if (number == 0 || RING_ENTRY_MAX - entry->len < FIELD_HEAD_BYTES + sizeof number)
        return;
    for (uint64_t left = number; left != 0; left >>= 8)
        len++;
    put_head(entry, field, len);
    for (; len > 0; len--, number >>= 8)
        entry->bytes[entry->len++] = (uint8_t)number;
}

struct slice trace_entry_bytes(struct trace_entry *entry)
{
    uint16_t len = (uint16_t)(entry->len - HEAD_BYTES);

    memcpy(entry->bytes + 2, &len, sizeof len);
    return slice_of(entry->bytes, entry->len);
}

int trace_view_read(struct slice bytes, struct trace_view *out)
{
    uint16_t len;

    if (bytes.len < HEAD_BYTES)
        return -ERR_SHORT;
    memcpy(&len, bytes.data + 2, sizeof len);
    if (len > bytes.len - HEAD_BYTES)
        return -ERR_SHORT;
    out->kind = (uint8_t)bytes.data[0];
    out->is_cut = (bytes.data[1] & FLAG_CUT) != 0;
    memcpy(&out->time_us, bytes.data + 8, sizeof out->time_us);
    out->fields = slice_of(bytes.data + HEAD_BYTES, len);
    return out->time_us >= 0 ? 0 : -ERR_BAD;
}

int trace_view_next(struct slice *left, struct trace_value *out)
{
    uint16_t len;

    if (left->len == 0)
        return -ERR_NOTFOUND;
    if (left->len < FIELD_HEAD_BYTES)
        return -ERR_SHORT;
    memcpy(&len, left->data + 1, sizeof len);
    if (len > left->len - FIELD_HEAD_BYTES)
        return -ERR_SHORT;
    out->field = (uint8_t)left->data[0];
    out->text = slice_of(left->data + FIELD_HEAD_BYTES, len);
    out->number = 0;
    for (unsigned i = 0; i < len && i < sizeof out->number; i++)
        out->number |= (uint64_t)(uint8_t)out->text.data[i] << 8 * i;
    left->data += FIELD_HEAD_BYTES + len;
    left->len -= FIELD_HEAD_BYTES + len;
    return 0;
}

struct slice trace_view_text(const struct trace_view *view, enum trace_field field)
{
    struct slice left = view->fields;
    struct trace_value value;

    while (trace_view_next(&left, &value) == 0)
        if (value.field == (unsigned)field)
            return value.text;
    return (struct slice){0};
}
