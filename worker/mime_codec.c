/* Transfer encodings, on memory. Decoders never fail: what cannot be read is skipped or kept as it
 * is, as mail readers do, and reported. */
#include "worker/mime_impl.h"

#include <gmime/gmime.h>

enum { B64_SPACE = 64, B64_PAD = 65, B64_BAD = 66 };

#define S B64_SPACE
#define P B64_PAD
#define X B64_BAD
static const uint8_t base64_values[256] = {
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    S,
    S,
    X,
    X,
    S,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X, /* 0 */
    S,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    62,
    X,
    X,
    X,
    63,
    52,
    53,
    54,
    55,
    56,
    57,
    58,
    59,
    60,
    61,
    X,
    X,
    X,
    P,
    X,
    X, /* 32 */
    X,
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    X,
    X,
    X,
    X,
    X, /* 64 */
    X,
    26,
    27,
    28,
    29,
    30,
    31,
    32,
    33,
    34,
    35,
    36,
    37,
    38,
    39,
    40,
    41,
    42,
    43,
    44,
    45,
    46,
    47,
    48,
    49,
    50,
    51,
    X,
    X,
    X,
    X,
    X, /* 96 */
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X, /* 128 */
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
    X,
};
#undef S
#undef P
#undef X

/* Four characters at a time as long as they are all of the alphabet. */
static size_t base64_fast(const uint8_t *in, size_t n, size_t *i, uint8_t *out)
{
    uint8_t *start = out;
    size_t at = *i;
    while (at + 4 <= n) {
        uint8_t a = base64_values[in[at]], b = base64_values[in[at + 1]];
        uint8_t c = base64_values[in[at + 2]], d = base64_values[in[at + 3]];
        if ((a | b | c | d) & 0x40)
            break;
        out[0] = (uint8_t)(a << 2 | b >> 4);
        out[1] = (uint8_t)(b << 4 | c >> 2);
        out[2] = (uint8_t)(c << 6 | d);
        out += 3;
        at += 4;
    }
    *i = at;
    return (size_t)(out - start);
}

static void set(bool *flag)
{
    if (flag != NULL)
        *flag = true;
}

size_t mime_base64_decode(const char *text, size_t n, uint8_t *out, bool *broken_out)
{
    const uint8_t *in = (const uint8_t *)text;
    size_t len = 0;
    uint32_t bits = 0;
    unsigned held = 0; /* characters in bits */
    bool is_padded = false;
    for (size_t i = 0; i < n;) {
        if (held == 0 && !is_padded) {
            len += base64_fast(in, n, &i, out + len);
            if (i >= n)
                break;
        }
        uint8_t value = base64_values[in[i++]];
        if (value == B64_SPACE)
            continue;
        if (value == B64_BAD) {
            set(broken_out);
            continue;
        }
        if (value ==
            B64_PAD) { /* ends a group; readers differ on whether more may follow: we read on */
            if (held == 3)
                out[len++] = (uint8_t)(bits >> 10);
            if (held >= 2)
                out[len++] = (uint8_t)(held == 3 ? bits >> 2 : bits >> 4);
            is_padded = is_padded || held > 0;
            held = 0;
            continue;
        }
        if (is_padded) {
            set(broken_out);
            is_padded = false;
        }
        bits = (bits << 6 | value) & 0xffffff;
        if (++held == 4) {
            out[len++] = (uint8_t)(bits >> 16);
            out[len++] = (uint8_t)(bits >> 8);
            out[len++] = (uint8_t)bits;
            held = 0;
        }
    }
    if (held == 3)
        out[len++] = (uint8_t)(bits >> 10);
    if (held >= 2)
        out[len++] = (uint8_t)(held == 3 ? bits >> 2 : bits >> 4);
    return len;
}

size_t mime_base64_encode(const uint8_t *in, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0) |
                        (i + 2 < n ? in[i + 2] : 0);
        out[len++] = digits[bits >> 18];
        out[len++] = digits[bits >> 12 & 63];
        out[len++] = i + 1 < n ? digits[bits >> 6 & 63] : '=';
        out[len++] = i + 2 < n ? digits[bits & 63] : '=';
    }
    return len;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Behind blanks and a line end at i, or i itself when something else comes first. */
static size_t skip_line_end(const uint8_t *in, size_t n, size_t i)
{
    size_t at = i;
    while (at < n && (in[at] == ' ' || in[at] == '\t'))
        at++;
    if (at < n && in[at] == '\r')
        at++;
    if (at == n || in[at] == '\n')
        return at < n ? at + 1 : n;
    return i;
}

size_t mime_quoted_decode(const char *text, size_t n, uint8_t *out, bool *broken_out)
{
    const uint8_t *in = (const uint8_t *)text;
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        const uint8_t *equals = memchr(in + i, '=', n - i);
        size_t plain = (equals != NULL ? (size_t)(equals - in) : n) - i;
        memcpy(out + len, in + i, plain);
        len += plain;
        i += plain;
        if (i >= n)
            break;
        int high = i + 2 < n ? hex_digit(in[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(in[i + 2]) : -1;
        size_t soft = skip_line_end(in, n, i + 1);
        if (low >= 0) {
            out[len++] = (uint8_t)(high << 4 | low);
            i += 3;
        } else if (soft > i + 1 || i + 1 == n) {
            i = soft;
        } else {
            set(broken_out);
            out[len++] = in[i++];
        }
    }
    return len;
}

size_t mime_word_q_decode(const char *text, size_t n, uint8_t *out)
{
    const uint8_t *in = (const uint8_t *)text;
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        int high = in[i] == '=' && i + 2 < n ? hex_digit(in[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(in[i + 2]) : -1;
        if (low >= 0) {
            out[len++] = (uint8_t)(high << 4 | low);
            i += 2;
        } else {
            out[len++] = in[i] == '_' ? ' ' : in[i];
        }
    }
    return len;
}

/* Behind the "begin 644 name" line; the start when there is none. */
static size_t uu_data_start(const char *in, size_t n)
{
    struct slice all = slice_of(in, n);
    for (size_t pos = 0; pos < n;) {
        struct slice line = mime_line_next(all, &pos, false);
        if (line.len > 6 && memcmp(line.data, "begin ", 6) == 0)
            return pos;
    }
    return 0;
}

size_t mime_uu_decode(const char *in, size_t n, uint8_t *out)
{
    size_t start = uu_data_start(in, n);
    GMimeEncoding encoding;
    g_mime_encoding_init_decode(&encoding, GMIME_CONTENT_ENCODING_UUENCODE);
    return g_mime_encoding_step(&encoding, in + start, n - start, (char *)out);
}
