/* Encoding, checking and showing of counts. */
#include "common/count.h"

#include "common/err.h"
#include "common/text.h"

static bool is_name(struct slice name)
{
    if (name.len == 0 || name.len > COUNT_NAME_MAX || (name.data[0] >= '0' && name.data[0] <= '9'))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && c != '_' && !(c >= '0' && c <= '9'))
            return false;
    }
    return true;
}

bool count_name_is_valid(struct slice name)
{
    static const char suffix[] = "_total";
    size_t n = sizeof(suffix) - 1;
    return is_name(name) && !(name.len >= n && memcmp(name.data + name.len - n, suffix, n) == 0);
}

bool count_label_is_valid(struct slice name)
{
    return is_name(name) && !(name.len >= 2 && memcmp(name.data, "__", 2) == 0);
}

int count_put_head(struct buf *out, const struct count *count)
{
    int err = buf_put_bytes(out, count->name);
    err = err != 0 ? err : buf_put_u8(out, (uint8_t)count->n_labels);
    for (unsigned i = 0; i < count->n_labels && err == 0; i++) {
        err = buf_put_bytes(out, count->labels[i].name);
        err = err != 0 ? err : buf_put_bytes(out, count->labels[i].value);
    }
    return err;
}

int count_put(struct buf *out, struct slice head, struct slice help, uint64_t add)
{
    if (out->max - out->len < head.len + 4 + help.len + 8)
        return -ERR_TOOBIG;
    int err = buf_put(out, head.data, head.len);
    err = err != 0 ? err : buf_put_bytes(out, help);
    return err != 0 ? err : buf_put_u64(out, add);
}

/* Text that a terminal, a log and a collector can take as it is. */
static bool is_clean(struct slice text)
{
    char clean[COUNT_HELP_MAX > COUNT_VALUE_MAX ? COUNT_HELP_MAX : COUNT_VALUE_MAX];
    struct text_bounds bounds = {sizeof(clean), sizeof(clean), 1};
    size_t n = text_clean(clean, text, &bounds);
    return n == text.len && (n == 0 || memcmp(clean, text.data, n) == 0);
}

static int get_text(struct buf *in, size_t max_bytes, struct slice *out)
{
    int err = buf_get_bytes(in, max_bytes, out);
    return err == 0 && !is_clean(*out) ? -ERR_BAD : err;
}

/* Whether a name comes after the one before it. */
static bool is_in_order(struct slice before, struct slice name)
{
    size_t n = before.len < name.len ? before.len : name.len;
    int order = memcmp(before.data, name.data, n);
    return order < 0 || (order == 0 && before.len < name.len);
}

static int get_label(struct buf *in, struct count *count)
{
    struct count_label *label = &count->labels[count->n_labels];
    int err = get_text(in, COUNT_NAME_MAX, &label->name);
    err = err != 0 ? err : get_text(in, COUNT_VALUE_MAX, &label->value);
    if (err != 0)
        return err;
    if (!count_label_is_valid(label->name) ||
        (count->n_labels > 0 && !is_in_order(label[-1].name, label->name)))
        return -ERR_BAD;
    count->n_labels++;
    return 0;
}

int count_get(struct buf *in, struct count *out)
{
    uint8_t n_labels = 0;
    *out = (struct count){.n_labels = 0};
    int err = get_text(in, COUNT_NAME_MAX, &out->name);
    if (err == 0 && !count_name_is_valid(out->name))
        err = -ERR_BAD;
    err = err != 0 ? err : buf_get_u8(in, &n_labels);
    if (err == 0 && n_labels > COUNT_LABELS_MAX)
        err = -ERR_TOOBIG;
    while (err == 0 && out->n_labels < n_labels)
        err = get_label(in, out);
    err = err != 0 ? err : get_text(in, COUNT_HELP_MAX, &out->help);
    return err != 0 ? err : buf_get_u64(in, &out->add);
}

/* The format has escapes for these only; control characters are not in a clean text. */
static int put_value(struct buf *out, struct slice value)
{
    int err = 0;
    for (size_t i = 0; i < value.len && err == 0; i++) {
        if (value.data[i] == '"' || value.data[i] == '\\')
            err = buf_put_u8(out, '\\');
        err = err != 0 ? err : buf_put_u8(out, (uint8_t)value.data[i]);
    }
    return err;
}

int count_put_labels(struct buf *out, const struct count *count)
{
    int err = 0;
    for (unsigned i = 0; i < count->n_labels && err == 0; i++) {
        const struct count_label *label = &count->labels[i];
        err =
            buf_printf(out, "%s%.*s=\"", i > 0 ? "," : "", (int)label->name.len, label->name.data);
        err = err != 0 ? err : put_value(out, label->value);
        err = err != 0 ? err : buf_put_u8(out, '"');
    }
    return err;
}
