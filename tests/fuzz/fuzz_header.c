/*
 * Values of header fields: any bytes through the decoders of encoded words, parameters and names;
 * and the other way round: a name that is text, written in each way that RFC 2047 and 2231 have, is
 * among the names that are read. The first byte picks which.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "tests/unit/mime_fixture.h"
#include "worker/mime_impl.h"

enum { MAIL_BYTES = 1 << 20, NAME_MAX_BYTES = 200 };

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static struct mime_fixture *fixture(void)
{
    static struct mime_fixture f;
    if (f.arena == NULL)
        mime_fixture_open(&f, NULL);
    arena_reset(f.arena);
    return &f;
}

static void read_part(struct mime_fixture *f, struct slice value)
{
    static const char front[] = "Content-Disposition: attachment; ";
    struct buf mail;
    buf_init(&mail, MAIL_BYTES);
    (void)buf_put(&mail, front, sizeof(front) - 1);
    (void)buf_put(&mail, value.data, value.len);
    (void)buf_put(&mail, "\r\n\r\nx\r\n", 7);
    mime_fixture_read(f, mail.data, mail.len);
    buf_clear(&mail);
}

static void on_value(struct slice reading, void *context)
{
    struct slice *field = context;
    require(reading.len <= 4 * field->len + MIME_VALUE_BYTES, "readings do not grow without end");
}

/* ---- any bytes ---- */

static void decode_anything(struct mime_fixture *f, struct slice value)
{
    struct slice decoded = mime_decode_header(value, f->arena);
    require(text_is_utf8(decoded), "decoded values are UTF-8");
    require(text_is_utf8(mime_words_decode(value, f->arena)), "decoded words are UTF-8");
    require(mime_words_bytes(value, f->arena).len <= value.len + 4, "words do not grow");
    require(mime_percent_decode(value, f->arena).len <= value.len, "codes do not grow");
    require(text_is_utf8(mime_extended_decode(value, f->arena)), "extended values are UTF-8");
    require(mime_overlong_decode(value, f->arena).len <= value.len, "overlong forms do not grow");
    struct slice encoded = mime_encode_header(
        slice_of(decoded.data, decoded.len < 500 ? decoded.len : 500), 7, f->arena);
    require(encoded.len < 20000, "what is encoded is bounded");
}

static void take_apart(struct mime_fixture *f, struct slice value)
{
    const struct mime_param *params;
    uint32_t n;
    struct slice rest;
    const char *type = mime_token_read(value, f->arena, &rest);
    require(text_is_utf8(slice_text(type)) && rest.len <= value.len, "a token is UTF-8");
    mime_params_read(rest, f->arena, &params, &n);
    require(n <= MIME_PARAMS_MAX, "parameters are counted");
    for (uint32_t i = 0; i < n; i++)
        require(text_is_utf8(slice_text(params[i].value)), "parameters are UTF-8");
    mime_values_each(value, "boundary", f->arena, on_value, &value);
    mime_values_each(value, "name", f->arena, on_value, &value);
}

static void read_anything(struct mime_fixture *f, struct slice value)
{
    read_part(f, value);
    mime_fixture_check(f);
}

/* ---- names ---- */

static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((uint8_t)s.data[i] < ' ' || s.data[i] == 0x7f)
            return false;
    }
    return s.len > 0 && s.len <= NAME_MAX_BYTES && text_is_utf8(s) && text_trim(s).len == s.len &&
           memmem(s.data, s.len, "=?", 2) == NULL;
}

static void put_base64(struct buf *out, struct slice name)
{
    char text[NAME_MAX_BYTES * 2];
    size_t n = mime_base64_encode((const uint8_t *)name.data, name.len, text);
    (void)buf_put(out, "filename=\"=?utf-8?B?", 20);
    (void)buf_put(out, text, n);
    (void)buf_put(out, "?=\"", 3);
}

static void put_codes(struct buf *out, struct slice name, char mark)
{
    for (size_t i = 0; i < name.len; i++)
        (void)buf_printf(out, "%c%02X", mark, (uint8_t)name.data[i]);
}

static void put_quoted(struct buf *out, struct slice name)
{
    (void)buf_printf(out, "filename=\"=?UTF-8?q?");
    put_codes(out, name, '=');
    (void)buf_printf(out, "?=\"");
}

static void put_extended(struct buf *out, struct slice name)
{
    (void)buf_printf(out, "filename*=utf-8''");
    put_codes(out, name, '%');
}

/* In three sections, the first one extended; the second not, when it is plain. */
static void put_sections(struct buf *out, struct slice name)
{
    size_t third = name.len / 3;
    (void)buf_printf(out, "filename*0*=utf-8''");
    put_codes(out, slice_of(name.data, third), '%');
    (void)buf_printf(out, "; filename*1*=");
    put_codes(out, slice_of(name.data + third, third), '%');
    (void)buf_printf(out, ";\r\n filename*2*=");
    put_codes(out, slice_of(name.data + 2 * third, name.len - 2 * third), '%');
}

static void put_escaped(struct buf *out, struct slice name)
{
    (void)buf_printf(out, "name=\"");
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '"' || name.data[i] == '\\')
            (void)buf_printf(out, "\\");
        (void)buf_put(out, name.data + i, 1);
    }
    (void)buf_printf(out, "\"");
}

/* Whatever a name is, and in whatever way it is written, it is among those that are read. */
static void write_name(struct mime_fixture *f, struct slice name, uint8_t way)
{
    static void (*const ways[])(struct buf * out, struct slice name) = {
        put_base64, put_quoted, put_extended, put_sections, put_escaped};
    struct buf value;
    if (!is_name(name))
        return;
    char copy[NAME_MAX_BYTES + 1];
    memcpy(copy, name.data, name.len);
    copy[name.len] = '\0';
    buf_init(&value, MAIL_BYTES);
    ways[way % (sizeof(ways) / sizeof(ways[0]))](&value, name);
    read_part(f, buf_slice(&value));
    buf_clear(&value);
    require(mime_fixture_has_name(f, copy), "a name is read as it was written");
    mime_fixture_check(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct mime_fixture *f = fixture();
    struct slice value = slice_of((const char *)data + 1, len - 1);
    if (data[0] >= 128) {
        write_name(f, value, data[0] & 127);
        return 0;
    }
    decode_anything(f, value);
    take_apart(f, value);
    read_anything(f, value);
    return 0;
}
