/*
 * Quoted-printable (RFC 2045 section 6.7), on memory. What is no code and no soft line break is
 * kept as it is, as mail readers do, and reported. Without out the content is only checked.
 */
#include "worker/mime_quoted.h"

#include <string.h>

/* The value of a hexadecimal digit, plus one; 0: none. Small letters are taken as well. */
static const uint8_t digits[256] = {
    ['0'] = 1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    ['A'] = 11,
    12,
    13,
    14,
    15,
    16,
    ['a'] = 11,
    12,
    13,
    14,
    15,
    16,
};

/* Behind blanks and a line end at i, or i itself when something else comes first. */
static size_t skip_line_end(const uint8_t *in, size_t n, size_t i)
{
    size_t at = i;
    while (at < n && (in[at] == ' ' || in[at] == '\t'))
        at++;
    while (at < n && in[at] == '\r') /* CR CR LF too */
        at++;
    if (at == n || in[at] == '\n')
        return at < n ? at + 1 : n;
    return i;
}

/* Copies what stands before the next "=" (or everything) from in + i to out; returns how much. */
static size_t plain_copy(const uint8_t *in, size_t n, size_t i, uint8_t *out)
{
    const uint8_t *equals = memchr(in + i, '=', n - i);
    size_t len = (equals != NULL ? (size_t)(equals - in) : n) - i;
    if (out != NULL)
        memcpy(out, in + i, len);
    return len;
}

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

enum { VECTOR_BYTES = 16 };

enum mime_quoted_way mime_quoted_best(void)
{
    return MIME_QUOTED_SSE2; /* every processor of this kind has it */
}

/* Codes are seldom far from each other: a vector is copied while it is looked at. What is written
 * beyond the "=" is overwritten, and never beyond the room: decoded content is not longer than
 * what was read. */
static size_t sse2_copy(const uint8_t *in, size_t n, size_t i, uint8_t *out)
{
    const __m128i equals = _mm_set1_epi8('=');
    size_t len = 0;
    for (; n - i - len >= VECTOR_BYTES; len += VECTOR_BYTES) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(in + i + len));
        if (out != NULL)
            _mm_storeu_si128((__m128i *)(void *)(out + len), bytes);
        int found = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, equals));
        if (found != 0)
            return len + (size_t)__builtin_ctz((unsigned)found);
    }
    return len + plain_copy(in, n, i + len, out != NULL ? out + len : NULL);
}

#else

enum mime_quoted_way mime_quoted_best(void)
{
    return MIME_QUOTED_PLAIN;
}

static size_t sse2_copy(const uint8_t *in, size_t n, size_t i, uint8_t *out)
{
    return plain_copy(in, n, i, out);
}

#endif

struct step {
    size_t next;   /* behind what was read */
    int byte;      /* it stands for; -1: for nothing */
    bool is_plain; /* the "=" begins nothing */
};

/* What the "=" at i begins. */
static inline struct step read_code(const uint8_t *in, size_t n, size_t i)
{
    if (n - i > 2) {
        uint8_t high = digits[in[i + 1]], low = digits[in[i + 2]];
        if (high != 0 && low != 0)
            return (struct step){i + 3, (high - 1) << 4 | (low - 1), false};
        if (in[i + 1] == '\r' && in[i + 2] == '\n')
            return (struct step){i + 3, -1, false};
    }
    size_t soft = skip_line_end(in, n, i + 1);
    if (soft > i + 1 || i + 1 == n)
        return (struct step){soft, -1, false};
    return (struct step){i + 1, '=', true};
}

size_t mime_soft_break_end(const char *in, size_t n, size_t i)
{
    const struct step step = read_code((const uint8_t *)in, n, i);
    return step.byte < 0 ? step.next : i;
}

size_t mime_quoted_run(
    enum mime_quoted_way way, const char *text, size_t n, uint8_t *out, bool *broken_out)
{
    const uint8_t *in = (const uint8_t *)text;
    size_t len = 0;
    bool is_broken = false;
    for (size_t i = 0; i < n;) {
        uint8_t *at = out != NULL ? out + len : NULL;
        size_t copied =
            way == MIME_QUOTED_SSE2 ? sse2_copy(in, n, i, at) : plain_copy(in, n, i, at);
        len += copied;
        i += copied;
        if (i == n)
            break;
        struct step step = read_code(in, n, i);
        if (step.byte >= 0 && out != NULL)
            out[len] = (uint8_t)step.byte;
        len += step.byte >= 0;
        is_broken = is_broken || step.is_plain;
        i = step.next;
    }
    if (is_broken && broken_out != NULL)
        *broken_out = true;
    return len;
}

size_t mime_quoted_decode(const char *in, size_t n, uint8_t *out, bool *broken_out)
{
    return mime_quoted_run(mime_quoted_best(), in, n, out, broken_out);
}
