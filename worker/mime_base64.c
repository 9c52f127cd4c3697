#include "worker/mime_base64.h"

#include <stddef.h>

#include "worker/mime_impl.h"

enum { B64_BAD = 0, B64_SPACE = 1, B64_PAD = 2, B64_DIGIT = 0x40 };

/* clang-format off */
#define D(value) (B64_DIGIT | (value))
/* What each character is; a digit has its value in the low six bits. */
static const uint8_t kinds[256] = {
    ['\t'] = B64_SPACE,
    ['\n'] = B64_SPACE,
    ['\r'] = B64_SPACE,
    [' '] = B64_SPACE,
    ['='] = B64_PAD,
    ['+'] = D(62),
    ['/'] = D(63),
    ['0'] = D(52), D(53), D(54), D(55), D(56), D(57), D(58), D(59), D(60), D(61),
    ['A'] = D(0), D(1), D(2), D(3), D(4), D(5), D(6), D(7), D(8), D(9), D(10), D(11), D(12),
    D(13), D(14), D(15), D(16), D(17), D(18), D(19), D(20), D(21), D(22), D(23), D(24), D(25),
    ['a'] = D(26), D(27), D(28), D(29), D(30), D(31), D(32), D(33), D(34), D(35), D(36), D(37),
    D(38), D(39), D(40), D(41), D(42), D(43), D(44), D(45), D(46), D(47), D(48), D(49), D(50),
    D(51),
};
#undef D
/* clang-format on */

void mime_base64_init(struct mime_base64 *decoder, enum mime_base64_way way)
{
    *decoder = (struct mime_base64){.way = way};
}

/* Four characters at a time as long as they are all digits. */
static size_t plain_run(const uint8_t *in, size_t n, size_t *i, uint8_t *out)
{
    size_t at = *i, len = 0;
    while (at + 4 <= n) {
        uint8_t a = kinds[in[at]], b = kinds[in[at + 1]];
        uint8_t c = kinds[in[at + 2]], d = kinds[in[at + 3]];
        if ((a & b & c & d & B64_DIGIT) == 0)
            break;
        if (out != NULL) {
            out[len] = (uint8_t)(a << 2 | (b >> 4 & 3));
            out[len + 1] = (uint8_t)(b << 4 | (c >> 2 & 15));
            out[len + 2] = (uint8_t)(c << 6 | (d & 63));
        }
        len += 3;
        at += 4;
    }
    *i = at;
    return len;
}

/* The bytes of a group of two or three characters; one alone holds no byte. */
static size_t put_partial(struct mime_base64 *d, uint8_t *out)
{
    size_t n = d->held >= 2 ? d->held - 1u : 0;
    if (out != NULL && n == 2)
        out[0] = (uint8_t)(d->bits >> 10);
    if (out != NULL && n > 0)
        out[n - 1] = (uint8_t)(n == 2 ? d->bits >> 2 : d->bits >> 4);
    d->held = 0;
    return n;
}

static size_t put_digit(struct mime_base64 *d, uint8_t value, uint8_t *out)
{
    if (d->is_padded) {
        d->is_broken = true;
        d->is_padded = false;
    }
    d->bits = (d->bits << 6 | value) & 0xffffff;
    if (++d->held < 4)
        return 0;
    if (out != NULL) {
        out[0] = (uint8_t)(d->bits >> 16);
        out[1] = (uint8_t)(d->bits >> 8);
        out[2] = (uint8_t)d->bits;
    }
    d->held = 0;
    return 3;
}

static uint8_t *behind(uint8_t *out, size_t len)
{
    return out != NULL ? out + len : NULL;
}

size_t mime_base64_step(struct mime_base64 *d, const char *text, size_t n, uint8_t *out)
{
    const uint8_t *in = (const uint8_t *)text;
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        if (d->held == 0 && !d->is_padded) {
            if (d->way != MIME_BASE64_PLAIN)
                len += mime_base64_run(d->way, in, n, &i, behind(out, len));
            len += plain_run(in, n, &i, behind(out, len));
            if (i >= n)
                break;
        }
        uint8_t kind = kinds[in[i++]];
        if (kind & B64_DIGIT) {
            len += put_digit(d, kind & 63, behind(out, len));
        } else if (kind == B64_PAD) { /* readers differ on whether more may follow: we read on */
            d->is_padded = true;
            len += put_partial(d, behind(out, len));
        } else if (kind == B64_BAD) {
            d->is_broken = true;
        }
    }
    return len;
}

size_t mime_base64_end(struct mime_base64 *decoder, uint8_t *out)
{
    return put_partial(decoder, out);
}

size_t mime_base64_decode(const char *text, size_t n, uint8_t *out, bool *broken_out)
{
    struct mime_base64 decoder;
    mime_base64_init(&decoder, mime_base64_best());
    size_t len = mime_base64_step(&decoder, text, n, out);
    len += mime_base64_end(&decoder, out + len);
    if (broken_out != NULL && decoder.is_broken)
        *broken_out = true;
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
