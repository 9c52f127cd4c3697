/*
 * Charsets to UTF-8. The few that nearly all mail uses are converted here; others through GMime's
 * iconv, whose charset names come from the mail and are checked first. The result is always valid
 * UTF-8, without NUL cuts: what cannot be converted becomes U+FFFD.
 */
#include "worker/mime_impl.h"

#include <errno.h>
#include <gmime/gmime.h>
#include <strings.h>

#include "common/text.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* 0x80 to 0x9f of windows-1252; 0: undefined, taken as the C1 control, as browsers do. */
static const uint16_t windows1252_high[32] = {
    0x20ac,
    0,
    0x201a,
    0x0192,
    0x201e,
    0x2026,
    0x2020,
    0x2021,
    0x02c6,
    0x2030,
    0x0160,
    0x2039,
    0x0152,
    0,
    0x017d,
    0,
    0,
    0x2018,
    0x2019,
    0x201c,
    0x201d,
    0x2022,
    0x2013,
    0x2014,
    0x02dc,
    0x2122,
    0x0161,
    0x203a,
    0x0153,
    0,
    0x017e,
    0x0178,
};

static size_t put_utf8(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    out[0] = (char)(0xe0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 63));
    out[2] = (char)(0x80 | (c & 63));
    return 3;
}

struct slice mime_cut_utf8(struct slice s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max > 0 && ((uint8_t)s.data[max] & 0xc0) == 0x80)
        max--;
    return slice_of(s.data, max);
}

struct slice mime_windows1252(struct slice bytes, size_t max, struct arena *arena)
{
    if (text_is_ascii(bytes))
        return mime_cut_utf8(bytes, max);
    if (bytes.len > max)
        bytes.len = max;
    size_t high = 0;
    for (size_t i = 0; i < bytes.len; i++)
        high += (uint8_t)bytes.data[i] >= 128;
    char *out = arena_alloc(arena, bytes.len + 2 * high);
    size_t n = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = (uint8_t)bytes.data[i];
        uint32_t mapped = c >= 0x80 && c < 0xa0 ? windows1252_high[c - 0x80] : c;
        n += put_utf8(mapped != 0 ? mapped : c, out + n);
    }
    return mime_cut_utf8(slice_of(out, n), max);
}

struct slice mime_latin1(struct slice bytes, struct arena *arena)
{
    char *out = arena_alloc(arena, 2 * bytes.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < bytes.len; i++)
        n += put_utf8((uint8_t)bytes.data[i], out + n);
    return slice_of(out, n);
}

static struct slice keep(struct buf *buf, struct arena *arena)
{
    struct slice s = slice_of(arena_memdup0(arena, buf->data, buf->len), buf->len);
    buf_clear(buf);
    return s;
}

static struct slice repaired_utf8(struct slice bytes, size_t max, struct arena *arena)
{
    bytes.len = bytes.len < max ? bytes.len : max;
    struct buf buf;
    buf_init(&buf, bytes.len * 3 + 16);
    (void)text_to_utf8(&buf, bytes); /* the cap is what the worst input needs */
    return mime_cut_utf8(keep(&buf, arena), max);
}

struct slice mime_guess_utf8(struct slice bytes, struct arena *arena)
{
    if (text_is_ascii(bytes) || text_is_utf8(bytes))
        return bytes;
    return mime_windows1252(bytes, bytes.len * 3, arena);
}

/* A name that may go to iconv: no slash (options and paths), nothing strange. */
static bool is_charset_name(const char *charset)
{
    size_t len =
        strspn(charset, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:+()");
    return len > 0 && len <= MIME_CHARSET_BYTES && charset[len] == '\0';
}

/* One call of iconv into a fixed buffer. False when it cannot go on: the input's end is incomplete.
 */
static bool convert_step(iconv_t cd, char **in, size_t *in_left, struct buf *out)
{
    char chunk[4096];
    char *p = chunk;
    size_t left = sizeof(chunk);
    size_t result = iconv(cd, in, in_left, &p, &left);
    int error = errno;
    size_t made = sizeof(chunk) - left, room = out->max - out->len;
    (void)buf_put(out, chunk, made < room ? made : room);
    if (made > room)
        return false;
    if (result != (size_t)-1)
        return *in_left > 0;
    if (error == E2BIG && made > 0)
        return true;
    if (*in_left > 0) { /* EILSEQ, EINVAL: skip a byte */
        (*in)++;
        (*in_left)--;
    }
    return buf_put(out, replacement, sizeof(replacement) - 1) == 0 && *in_left > 0;
}

static struct slice convert(iconv_t cd, struct slice bytes, size_t max, struct arena *arena)
{
    struct buf out;
    buf_init(&out, max);
    char *in = (char *)(uintptr_t)bytes.data; /* iconv does not write there */
    size_t left = bytes.len;
    while (left > 0 && convert_step(cd, &in, &left, &out))
        ;
    struct slice text = keep(&out, arena);
    /* Some tables of iconv give surrogates or noncharacters. */
    return text_is_utf8(text) ? text : repaired_utf8(text, max, arena);
}

enum family { FAMILY_OTHER = 0, FAMILY_NONE, FAMILY_UTF8, FAMILY_LATIN1 };

static enum family family_of(const char *charset)
{
    static const struct {
        const char *name;
        enum family family;
    } names[] = {
        {"", FAMILY_NONE},
        {"us-ascii", FAMILY_NONE},
        {"ascii", FAMILY_NONE},
        {"unknown-8bit", FAMILY_NONE},
        {"x-unknown", FAMILY_NONE},
        {"default", FAMILY_NONE},
        {"utf-8", FAMILY_UTF8},
        {"utf8", FAMILY_UTF8},
        {"iso-8859-1", FAMILY_LATIN1},
        {"iso8859-1", FAMILY_LATIN1},
        {"latin1", FAMILY_LATIN1},
        {"windows-1252", FAMILY_LATIN1},
        {"cp1252", FAMILY_LATIN1},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(charset, names[i].name) == 0)
            return names[i].family;
    }
    return FAMILY_OTHER;
}

static struct slice by_iconv(
    struct slice bytes, const char *charset, size_t max, struct arena *arena, bool *is_known_out)
{
    iconv_t cd = is_charset_name(charset) ? g_mime_iconv_open("UTF-8", charset) : (iconv_t)-1;
    if (cd == (iconv_t)-1) {
        *is_known_out = false;
        return mime_cut_utf8(mime_guess_utf8(bytes, arena), max);
    }
    struct slice text = convert(cd, bytes, max, arena);
    g_mime_iconv_close(cd);
    return text;
}

struct slice mime_to_utf8(
    struct slice bytes, const char *charset, size_t max, struct arena *arena, bool *is_known_out)
{
    bool is_known = true;
    struct slice text;
    switch (family_of(charset)) {
    case FAMILY_NONE:
        text = mime_cut_utf8(mime_guess_utf8(bytes, arena), max);
        break;
    case FAMILY_UTF8:
        text = text_is_utf8(bytes) ? mime_cut_utf8(bytes, max) : repaired_utf8(bytes, max, arena);
        break;
    case FAMILY_LATIN1:
        text = mime_windows1252(bytes, max, arena);
        break;
    case FAMILY_OTHER:
        text = by_iconv(bytes, charset, max, arena, &is_known);
        break;
    }
    if (is_known_out != NULL)
        *is_known_out = is_known;
    return text;
}
