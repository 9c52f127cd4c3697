#include "worker/resp.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"

/* ---- writing ---- */

int resp_put_head(struct buf *out, size_t n_words)
{
    return buf_printf(out, "*%zu\r\n", n_words);
}

int resp_put_word(struct buf *out, struct slice word)
{
    int err = buf_printf(out, "$%zu\r\n", word.len);
    if (err == 0 && word.len > 0)
        err = buf_put(out, word.data, word.len);
    return err == 0 ? buf_put(out, "\r\n", 2) : err;
}

int resp_put_text(struct buf *out, const char *word)
{
    return resp_put_word(out, slice_text(word));
}

int resp_put_number(struct buf *out, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    return resp_put_text(out, text);
}

/* ---- reading ---- */

/* Without its CR LF. */
static int take_line(struct slice *in, struct slice *line_out)
{
    size_t seen = in->len < RESP_LINE_MAX ? in->len : RESP_LINE_MAX;
    const char *end = seen > 0 ? memchr(in->data, '\n', seen) : NULL;
    if (end == NULL)
        return seen < RESP_LINE_MAX ? -ERR_AGAIN : -ERR_TOOBIG;
    size_t len = (size_t)(end - in->data);
    if (len < 2 || in->data[len - 1] != '\r')
        return -ERR_BAD;
    *line_out = slice_of(in->data, len - 1);
    *in = slice_of(end + 1, in->len - len - 1);
    return 0;
}

static int to_integer(struct slice text, int64_t *out)
{
    char copy[24];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.data, '\0', text.len) != NULL)
        return -ERR_BAD;
    text_copy(copy, sizeof copy, text);
    return text_to_i64(copy, INT64_MIN, INT64_MAX, out) == 0 ? 0 : -ERR_BAD;
}

static int take_bulk(struct slice text, struct slice *in, size_t max_bytes, struct resp_item *out)
{
    int64_t len;
    if (to_integer(text, &len) != 0 || len < -1)
        return -ERR_BAD;
    if (len == -1) {
        out->type = RESP_NIL;
        return 0;
    }
    if ((uint64_t)len > max_bytes)
        return -ERR_TOOBIG;
    size_t n = (size_t)len;
    if (in->len < n + 2)
        return -ERR_AGAIN;
    if (memcmp(in->data + n, "\r\n", 2) != 0)
        return -ERR_BAD;
    out->bytes = slice_of(in->data, n);
    *in = slice_of(in->data + n + 2, in->len - n - 2);
    return 0;
}

static int take_array(struct slice text, struct resp_item *out)
{
    if (to_integer(text, &out->integer) != 0 || out->integer < -1)
        return -ERR_BAD;
    if (out->integer == -1)
        out->type = RESP_NIL;
    return out->integer > RESP_ITEMS_MAX ? -ERR_TOOBIG : 0;
}

int resp_take(struct slice *in, size_t max_bytes, struct resp_item *out)
{
    struct slice line, rest = *in;
    int err = take_line(&rest, &line);
    if (err != 0)
        return err;
    struct slice text = slice_of(line.data + 1, line.len - 1); /* a line has a byte at least */
    *out = (struct resp_item){.type = (enum resp_type)line.data[0]};
    switch (line.data[0]) {
    case '+':
    case '-':
        out->bytes = text;
        break;
    case ':':
        err = to_integer(text, &out->integer);
        break;
    case '$':
        err = take_bulk(text, &rest, max_bytes, out);
        break;
    case '*':
        err = take_array(text, out);
        break;
    default:
        err = -ERR_BAD;
    }
    if (err == 0)
        *in = rest;
    return err;
}

void resp_skip(struct slice *in)
{
    struct resp_item item;
    for (int64_t left = 1; left > 0; left--) {
        if (resp_take(in, SIZE_MAX, &item) != 0)
            return;
        left += item.type == RESP_ARRAY ? item.integer : 0;
    }
}

bool resp_is_text(const struct resp_item *item)
{
    return item->type == RESP_STATUS || item->type == RESP_BULK;
}

void resp_scan_init(struct resp_scan *scan, size_t n_replies)
{
    *scan = (struct resp_scan){.depth = n_replies > 0, .left = {n_replies}};
}

static int scan_item(struct resp_scan *scan, const struct resp_item *item)
{
    scan->left[scan->depth - 1]--;
    if (item->type == RESP_ARRAY && item->integer > 0) {
        if (scan->depth > RESP_DEPTH_MAX)
            return -ERR_TOOBIG;
        scan->left[scan->depth++] = (size_t)item->integer;
    }
    while (scan->depth > 0 && scan->left[scan->depth - 1] == 0)
        scan->depth--;
    return 0;
}

int resp_scan(struct resp_scan *scan, struct slice in, size_t max_bytes)
{
    while (scan->depth > 0) {
        if (in.len == scan->at)
            return -ERR_AGAIN;
        struct resp_item item;
        struct slice rest = slice_of(in.data + scan->at, in.len - scan->at);
        int err = resp_take(&rest, max_bytes, &item);
        if (err != 0)
            return err;
        scan->at = in.len - rest.len;
        if (scan->at > max_bytes || ++scan->n_items > RESP_ITEMS_MAX)
            return -ERR_TOOBIG;
        err = scan_item(scan, &item);
        if (err != 0)
            return err;
    }
    return 0;
}
