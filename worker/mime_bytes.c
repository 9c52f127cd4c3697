#include "worker/mime_bytes.h"

#include <stdbool.h>
#include <string.h>

enum { BLOCK_BYTES = 128 };

/* A fixed length and byte counters, so that the compiler makes vector code of it. p[-1] must be
 * readable. */
static void count_block(const uint8_t *p, struct mime_bytes *out)
{
    uint8_t cr = 0, lf = 0, pairs = 0, nul = 0;
    for (int i = 0; i < BLOCK_BYTES; i++) {
        uint8_t is_lf = p[i] == '\n';
        cr = (uint8_t)(cr + (p[i] == '\r'));
        lf = (uint8_t)(lf + is_lf);
        pairs = (uint8_t)(pairs + (is_lf & (p[i - 1] == '\r')));
        nul = (uint8_t)(nul + (p[i] == 0));
    }
    out->cr += cr;
    out->lf += lf;
    out->pairs += pairs;
    out->nul += nul;
}

static void count_byte(uint8_t c, uint8_t before, struct mime_bytes *out)
{
    out->cr += c == '\r';
    out->lf += c == '\n';
    out->pairs += c == '\n' && before == '\r';
    out->nul += c == 0;
}

static bool has_dashes_at(const uint8_t *p, size_t len, size_t at)
{
    return at + 1 < len && p[at] == '-' && p[at + 1] == '-' &&
           (at == 0 || p[at - 1] == '\n' || p[at - 1] == ' ' || p[at - 1] == '\t');
}

static void note_dashes(struct mime_bytes *out, size_t at)
{
    if (out->n_dashes < out->max_dashes)
        out->dashes[out->n_dashes++] = at;
    else if (out->dashes_until > at)
        out->dashes_until = at;
}

static size_t plain_find_dashes(const char *data, size_t len, size_t from)
{
    while (from < len) {
        const char *dash = memchr(data + from, '-', len - from);
        if (dash == NULL)
            return len;
        from = (size_t)(dash - data);
        if (has_dashes_at((const uint8_t *)data, len, from))
            return from;
        while (from < len && data[from] == '-')
            from++;
    }
    return len;
}

static void plain_scan(const char *data, size_t len, struct mime_bytes *out)
{
    const uint8_t *p = (const uint8_t *)data;
    size_t i = 1;
    for (; i + BLOCK_BYTES <= len; i += BLOCK_BYTES)
        count_block(p + i, out);
    for (; i < len; i++)
        count_byte(p[i], p[i - 1], out);
    for (size_t at = 0; out->dashes_until == len;) {
        at = plain_find_dashes(data, len, at);
        if (at == len)
            return;
        note_dashes(out, at++);
    }
}

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

enum { VECTOR_BYTES = 32, ROUNDS_MAX = 255 /* of counters of one byte */ };

enum mime_bytes_way mime_bytes_best(void)
{
    return __builtin_cpu_supports("avx2") ? MIME_BYTES_AVX2 : MIME_BYTES_PLAIN;
}

__attribute__((target("avx2"))) static inline uint64_t sum_of(__m256i counters)
{
    __m256i sums = _mm256_sad_epu8(counters, _mm256_setzero_si256());
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    return (uint64_t)_mm_cvtsi128_si64(two) + (uint64_t)_mm_extract_epi64(two, 1);
}

__attribute__((target("avx2"))) static inline __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* A dash behind LF, blank or tab; whether another one follows is not looked at. The table has, at
 * the low digit of each of the three, the byte itself: what is equal to its entry is one of them.
 */
__attribute__((target("avx2"))) static inline uint32_t dash_at(__m256i bytes, __m256i before)
{
    const __m256i starts = _mm256_setr_epi8(' ', -1, -1, -1, -1, -1, -1, -1, -1, '\t', '\n', -1, -1,
        -1, -1, -1, ' ', -1, -1, -1, -1, -1, -1, -1, -1, '\t', '\n', -1, -1, -1, -1, -1);
    __m256i is_start = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(starts, before), before);
    __m256i is_dash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('-'));
    return (uint32_t)_mm256_movemask_epi8(_mm256_and_si256(is_start, is_dash));
}

static __attribute__((noinline)) void note_each(
    uint32_t found, const uint8_t *p, size_t len, size_t at, struct mime_bytes *out)
{
    for (; found != 0; found &= found - 1) {
        size_t place = at + (size_t)__builtin_ctz(found);
        if (has_dashes_at(p, len, place))
            note_dashes(out, place);
    }
}

/* At most ROUNDS_MAX vectors from p[at] on, at not 0. A comparison gives -1 where it holds. */
__attribute__((target("avx2"))) static void avx2_rounds(
    const uint8_t *p, size_t len, size_t at, size_t rounds, struct mime_bytes *out)
{
    const __m256i crs = _mm256_set1_epi8('\r'), lfs = _mm256_set1_epi8('\n');
    const __m256i zero = _mm256_setzero_si256();
    __m256i cr = zero, lf = zero, pairs = zero, nul = zero;
    for (; rounds > 0; rounds--, at += VECTOR_BYTES) {
        __m256i bytes = load(p + at), before = load(p + at - 1);
        __m256i is_lf = _mm256_cmpeq_epi8(bytes, lfs);
        cr = _mm256_sub_epi8(cr, _mm256_cmpeq_epi8(bytes, crs));
        lf = _mm256_sub_epi8(lf, is_lf);
        pairs = _mm256_sub_epi8(pairs, _mm256_and_si256(is_lf, _mm256_cmpeq_epi8(before, crs)));
        nul = _mm256_sub_epi8(nul, _mm256_cmpeq_epi8(bytes, zero));
        uint32_t found = dash_at(bytes, before);
        if (__builtin_expect(found != 0, 0))
            note_each(found, p, len, at, out);
    }
    out->cr += sum_of(cr);
    out->lf += sum_of(lf);
    out->pairs += sum_of(pairs);
    out->nul += sum_of(nul);
}

static void avx2_scan(const char *data, size_t len, struct mime_bytes *out)
{
    const uint8_t *p = (const uint8_t *)data;
    size_t i = 1;
    if (has_dashes_at(p, len, 0))
        note_dashes(out, 0);
    while (len - i >= VECTOR_BYTES) {
        size_t rounds = (len - i) / VECTOR_BYTES;
        rounds = rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
        avx2_rounds(p, len, i, rounds, out);
        i += rounds * VECTOR_BYTES;
    }
    for (; i < len; i++) {
        count_byte(p[i], p[i - 1], out);
        if (has_dashes_at(p, len, i))
            note_dashes(out, i);
    }
}

__attribute__((target("avx2"))) static size_t avx2_find_dashes(
    const char *data, size_t len, size_t from)
{
    const uint8_t *p = (const uint8_t *)data;
    size_t at = from;
    if (at == 0 && has_dashes_at(p, len, 0))
        return 0;
    at += at == 0;
    for (; at + VECTOR_BYTES <= len; at += VECTOR_BYTES) {
        for (uint32_t found = dash_at(load(p + at), load(p + at - 1)); found != 0;
             found &= found - 1) {
            size_t place = at + (size_t)__builtin_ctz(found);
            if (has_dashes_at(p, len, place))
                return place;
        }
    }
    return at < len ? plain_find_dashes(data, len, at) : len;
}

#else

enum mime_bytes_way mime_bytes_best(void)
{
    return MIME_BYTES_PLAIN;
}

static void avx2_scan(const char *data, size_t len, struct mime_bytes *out)
{
    plain_scan(data, len, out);
}

static size_t avx2_find_dashes(const char *data, size_t len, size_t from)
{
    return plain_find_dashes(data, len, from);
}

#endif

void mime_bytes_scan(enum mime_bytes_way way, const char *data, size_t len, struct mime_bytes *out)
{
    *out = (struct mime_bytes){
        .dashes = out->dashes, .max_dashes = out->max_dashes, .dashes_until = len};
    if (len == 0)
        return;
    count_byte((uint8_t)data[0], 0, out);
    if (way == MIME_BYTES_AVX2)
        avx2_scan(data, len, out);
    else
        plain_scan(data, len, out);
}

size_t mime_bytes_find_dashes(enum mime_bytes_way way, const char *data, size_t len, size_t from)
{
    if (way == MIME_BYTES_AVX2)
        return avx2_find_dashes(data, len, from);
    return plain_find_dashes(data, len, from);
}

/* From the start of a line: the last LF within what is enough is the end of one that is not long,
 * and so are those before it. */
size_t mime_bytes_longest_line(const char *data, size_t len, size_t enough)
{
    size_t longest = 0;
    for (size_t at = 0; at < len;) {
        size_t left = len - at;
        const char *lf = memrchr(data + at, '\n', left <= enough ? left : enough + 1);
        if (lf == NULL && left > enough)
            lf = memchr(data + at + enough + 1, '\n', left - enough - 1);
        size_t line = lf != NULL ? (size_t)(lf - data) - at : left;
        size_t next = at + line + 1;
        while (line > 0 && data[at + line - 1] == '\r')
            line--;
        bool is_one = line > enough || lf == NULL;
        if (is_one && line > longest)
            longest = line;
        at = next;
    }
    return longest;
}
