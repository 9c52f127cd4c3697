/*
 * Lists. SCAN gives keys in no order, and some twice: the first ones behind `after` are gathered,
 * then sorted, and their entries fetched. Entries that were removed meanwhile leave room for later
 * ones, which another round finds. What is gathered is handed over at the end, at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "worker/store_redis.h"

enum { CURSOR_MAX = 24 };

struct name {
    char *data; /* owned */
    size_t len;
};

struct store_redis_list {
    struct slice prefix; /* borrowed from the request */
    struct name after;   /* owned; NULL: from the first */
    uint32_t wanted, n_told;
    char cursor[CURSOR_MAX];
    bool is_scanned;
    bool is_cut;        /* there were more than wanted */
    struct name *names; /* room for twice as many as wanted */
    size_t n_names, n_fetched;
    size_t n_asked;      /* entries of the question that is under way */
    struct buf gathered; /* key, kind, end, value … */
};

static struct slice slice_of_name(const struct name *name)
{
    return slice_of(name->data, name->len);
}

static int compare(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n > 0 ? memcmp(a.data, b.data, n) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name(const void *a, const void *b)
{
    return compare(slice_of_name(a), slice_of_name(b));
}

struct store_redis_list *store_redis_list_new(const struct store_request *request)
{
    struct store_redis_list *list = xcalloc(1, sizeof *list);
    list->prefix = request->key;
    list->wanted = request->limit < STORE_PAGE_MAX ? request->limit : STORE_PAGE_MAX;
    list->wanted += list->wanted == 0;
    list->names = xcalloc(2 * (size_t)list->wanted, sizeof *list->names);
    snprintf(list->cursor, sizeof list->cursor, "0");
    buf_init(&list->gathered, STORE_REDIS_LIST_BYTES);
    if (request->after.len > 0)
        list->after =
            (struct name){xmemdup0(request->after.data, request->after.len), request->after.len};
    return list;
}

static void free_names(struct store_redis_list *list)
{
    for (size_t i = 0; i < list->n_names; i++)
        free(list->names[i].data);
    list->n_names = list->n_fetched = 0;
}

void store_redis_list_free(struct store_redis_list *list)
{
    if (list == NULL)
        return;
    free_names(list);
    free(list->names);
    free(list->after.data);
    buf_clear(&list->gathered);
    free(list);
}

/* ---- the names ---- */

/* Sorted, each once, no more than wanted. */
static void tidy(struct store_redis_list *list)
{
    size_t n = 0;
    if (list->n_names > 0)
        qsort(list->names, list->n_names, sizeof list->names[0], by_name);
    for (size_t i = 0; i < list->n_names; i++) {
        bool is_double = n > 0 && by_name(&list->names[n - 1], &list->names[i]) == 0;
        bool is_over = !is_double && n == list->wanted;
        list->is_cut = list->is_cut || is_over;
        if (is_double || is_over)
            free(list->names[i].data);
        else
            list->names[n++] = list->names[i];
    }
    list->n_names = n;
}

static void add_name(struct store_redis_list *list, struct slice key)
{
    if (key.len == 0 || key.len > STORE_KEY_MAX ||
        (list->after.data != NULL && compare(key, slice_of_name(&list->after)) <= 0))
        return;
    if (list->n_names == 2 * (size_t)list->wanted)
        tidy(list);
    list->names[list->n_names++] = (struct name){xmemdup0(key.data, key.len), key.len};
}

static bool begins_with(struct slice text, struct slice with)
{
    return text.len >= with.len && (with.len == 0 || memcmp(text.data, with.data, with.len) == 0);
}

/* [cursor, [key …]] */
static int take_scan(struct store_redis_list *list, const struct conf *conf, struct slice reply,
    struct slice *error_out)
{
    struct slice own = slice_text(conf->store.prefix);
    struct resp_item item, keys;
    if (resp_take(&reply, SIZE_MAX, &item) != 0)
        return -ERR_BAD;
    if (item.type == RESP_ERROR)
        *error_out = item.bytes;
    if (item.type != RESP_ARRAY || item.integer != 2 || resp_take(&reply, SIZE_MAX, &item) != 0 ||
        !resp_is_text(&item) || item.bytes.len >= CURSOR_MAX || item.bytes.len == 0 ||
        resp_take(&reply, SIZE_MAX, &keys) != 0 || keys.type != RESP_ARRAY)
        return -ERR_BAD;
    text_copy(list->cursor, sizeof list->cursor, item.bytes);
    for (int64_t i = 0; i < keys.integer; i++) {
        if (resp_take(&reply, SIZE_MAX, &item) != 0 || item.type != RESP_BULK ||
            !begins_with(item.bytes, own))
            return -ERR_BAD;
        struct slice key = slice_of(item.bytes.data + own.len, item.bytes.len - own.len);
        if (begins_with(key, list->prefix))
            add_name(list, key);
    }
    list->is_scanned = strcmp(list->cursor, "0") == 0;
    if (list->is_scanned)
        tidy(list);
    return 0;
}

/* ---- the entries ---- */

static int gather(struct store_redis_list *list, struct slice key, const struct store_value *value,
    int64_t expires_ms)
{
    struct buf *out = &list->gathered;
    uint64_t bits = (uint64_t)value->integer;
    if (value->kind == STORE_FLOAT)
        memcpy(&bits, &value->number, sizeof bits);
    int err = buf_put_bytes(out, key);
    err = err == 0 ? buf_put_u8(out, (uint8_t)value->kind) : err;
    err = err == 0 ? buf_put_u64(out, bits) : err;
    err = err == 0 ? buf_put_u64(out, (uint64_t)expires_ms) : err;
    return err == 0 ? buf_put_bytes(out, value->bytes) : err;
}

static int take_entries(struct store_redis_list *list, struct slice reply, struct slice *error_out)
{
    for (size_t i = 0; i < list->n_asked; i++) {
        struct store_value value;
        int64_t expires_ms;
        const struct name *name = &list->names[list->n_fetched + i];
        int err = store_redis_take_entry(&reply, &value, &expires_ms, error_out);
        if (err == 0 && value.kind != STORE_NONE) {
            err = gather(list, slice_of_name(name), &value, expires_ms);
            list->n_told++;
        }
        if (err != 0)
            return err;
    }
    list->n_fetched += list->n_asked;
    return 0;
}

int store_redis_list_take(struct store_redis_list *list, const struct conf *conf,
    struct slice reply, struct slice *error_out)
{
    return list->is_scanned ? take_entries(list, reply, error_out)
                            : take_scan(list, conf, reply, error_out);
}

/* ---- asking ---- */

/* A pattern that stands for the text itself, and then anything. */
static int put_pattern(struct buf *out, struct slice own, struct slice prefix)
{
    char pattern[2 * (STORE_KEY_MAX + 128) + 1];
    const struct slice parts[] = {own, prefix};
    size_t n = 0;
    for (size_t part = 0; part < 2; part++)
        for (size_t i = 0; i < parts[part].len && n + 3 < sizeof pattern; i++) {
            if (strchr("*?[]\\", parts[part].data[i]) != NULL && parts[part].data[i] != '\0')
                pattern[n++] = '\\';
            pattern[n++] = parts[part].data[i];
        }
    pattern[n++] = '*';
    return resp_put_word(out, slice_of(pattern, n));
}

static int put_scan(
    struct store_redis_list *list, const struct conf *conf, struct buf *out, size_t *n_replies)
{
    *n_replies = 1;
    int err = resp_put_head(out, 6);
    err = err == 0 ? resp_put_text(out, "SCAN") : err;
    err = err == 0 ? resp_put_text(out, list->cursor) : err;
    err = err == 0 ? resp_put_text(out, "MATCH") : err;
    err = err == 0 ? put_pattern(out, slice_text(conf->store.prefix), list->prefix) : err;
    err = err == 0 ? resp_put_text(out, "COUNT") : err;
    return err == 0 ? resp_put_number(out, STORE_REDIS_SCAN) : err;
}

/* All names were fetched, some were gone, and there are more behind the last one. */
static bool begin_again(struct store_redis_list *list)
{
    if (!list->is_cut || list->n_told >= list->wanted || list->n_names == 0)
        return false;
    free(list->after.data);
    list->after = list->names[list->n_names - 1];
    list->n_names--; /* it is `after` now */
    free_names(list);
    list->is_scanned = list->is_cut = false;
    snprintf(list->cursor, sizeof list->cursor, "0");
    return true;
}

int store_redis_list_ask(
    struct store_redis_list *list, const struct conf *conf, struct buf *out, size_t *n_replies)
{
    if (!list->is_scanned || (list->n_fetched == list->n_names && begin_again(list)))
        return put_scan(list, conf, out, n_replies);
    size_t left = list->n_names - list->n_fetched, room = list->wanted - list->n_told;
    left = left < room ? left : room;
    list->n_asked = left < STORE_REDIS_FETCH ? left : STORE_REDIS_FETCH;
    *n_replies = list->n_asked;
    int err = 0;
    for (size_t i = 0; i < list->n_asked && err == 0; i++)
        err = store_redis_put_get(out, conf, slice_of_name(&list->names[list->n_fetched + i]));
    return err;
}

void store_redis_list_tell(struct store_redis_list *list, const struct store_request *request)
{
    struct buf *in = &list->gathered;
    struct store_entry entry;
    uint8_t kind;
    uint64_t bits, end_ms;
    while (buf_get_bytes(in, STORE_KEY_MAX, &entry.key) == 0 && buf_get_u8(in, &kind) == 0 &&
           buf_get_u64(in, &bits) == 0 && buf_get_u64(in, &end_ms) == 0) {
        entry.value = (struct store_value){.kind = (enum store_kind)kind};
        if (entry.value.kind == STORE_FLOAT)
            memcpy(&entry.value.number, &bits, sizeof bits);
        else
            entry.value.integer = (int64_t)bits;
        entry.expires_ms = (int64_t)end_ms;
        if (buf_get_bytes(in, STORE_VALUE_MAX, &entry.value.bytes) != 0)
            return;
        request->on_entry(&entry, request->context);
    }
}
