/*
 * Base64 with vector instructions. A character's two hexadecimal digits say whether it is of the
 * alphabet: each table gives a set of bits, and a set in common means no. Its high digit also gives
 * what to add for its value. Then two multiplications bring four values of six bits together.
 *
 * What stands before the first character that is no digit is used from a round, and a CR LF is
 * stepped over here. The lines of one content are nearly always of one length: once it is known,
 * the rounds of a line (three, for the usual 76 characters) wait for nothing but each other's
 * place. Without out the values are left out, and only the alphabet is checked.
 */
#include <string.h>

#include "worker/mime_base64.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

/* Why a character is none: the bit of its high digit is in the set of its low digit. 0x01: 2_ other
 * than + and /; 0x02: 3_ behind 9; 0x04: @ and `; 0x08: 5_ and 7_ behind Z and z; 0x10: all other
 * rows. */
#define NOT_OF_LOW                                                                                 \
    0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a
#define ROW_OF_HIGH                                                                                \
    0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10
/* Added to a character for its value, by high digit; "/", which shares its row with "+", uses the
 * place before. */
#define ADD_OF_HIGH 0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0
/* Where the three bytes of each four are once they were brought together. */
#define PACKED 2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1

enum { SSSE3_CHARS = 16, SSSE3_BYTES = 12, AVX2_CHARS = 32, AVX2_BYTES = 24 };

enum mime_base64_way mime_base64_best(void)
{
    if (__builtin_cpu_supports("avx2"))
        return MIME_BASE64_AVX2;
    return __builtin_cpu_supports("ssse3") ? MIME_BASE64_SSSE3 : MIME_BASE64_PLAIN;
}

/* Writes 12 bytes, unless out is NULL; returns a bit for each character that is no digit. */
__attribute__((target("ssse3"))) static inline uint32_t ssse3_round(const uint8_t *in, uint8_t *out)
{
    const __m128i low_digit = _mm_set1_epi8(0x0f);
    __m128i text = _mm_loadu_si128((const __m128i *)(const void *)in);
    __m128i low = _mm_and_si128(text, low_digit);
    __m128i high = _mm_and_si128(_mm_srli_epi32(text, 4), low_digit);
    __m128i faults = _mm_and_si128(_mm_shuffle_epi8(_mm_setr_epi8(NOT_OF_LOW), low),
        _mm_shuffle_epi8(_mm_setr_epi8(ROW_OF_HIGH), high));
    uint32_t is_none =
        0xffff ^ (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(faults, _mm_setzero_si128()));
    if (out == NULL)
        return is_none;
    __m128i row = _mm_add_epi8(high, _mm_cmpeq_epi8(text, _mm_set1_epi8('/')));
    __m128i values = _mm_add_epi8(text, _mm_shuffle_epi8(_mm_setr_epi8(ADD_OF_HIGH), row));
    __m128i pairs = _mm_maddubs_epi16(values, _mm_set1_epi16(0x0140));
    __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00011000));
    __m128i bytes = _mm_shuffle_epi8(fours, _mm_setr_epi8(PACKED));
    int last = _mm_cvtsi128_si32(_mm_srli_si128(bytes, 8));
    _mm_storel_epi64((__m128i *)(void *)out, bytes);
    memcpy(out + 8, &last, sizeof(last));
    return is_none;
}

/* Writes 24 bytes, unless out is NULL; returns a bit for each character that is no digit. */
__attribute__((target("avx2"))) static inline uint32_t avx2_round(const uint8_t *in, uint8_t *out)
{
    const __m256i low_digit = _mm256_set1_epi8(0x0f);
    __m256i text = _mm256_loadu_si256((const __m256i *)(const void *)in);
    __m256i low = _mm256_and_si256(text, low_digit);
    __m256i high = _mm256_and_si256(_mm256_srli_epi32(text, 4), low_digit);
    __m256i faults =
        _mm256_and_si256(_mm256_shuffle_epi8(_mm256_setr_epi8(NOT_OF_LOW, NOT_OF_LOW), low),
            _mm256_shuffle_epi8(_mm256_setr_epi8(ROW_OF_HIGH, ROW_OF_HIGH), high));
    uint32_t is_none =
        ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(faults, _mm256_setzero_si256()));
    if (out == NULL)
        return is_none;
    __m256i row = _mm256_add_epi8(high, _mm256_cmpeq_epi8(text, _mm256_set1_epi8('/')));
    __m256i values =
        _mm256_add_epi8(text, _mm256_shuffle_epi8(_mm256_setr_epi8(ADD_OF_HIGH, ADD_OF_HIGH), row));
    __m256i pairs = _mm256_maddubs_epi16(values, _mm256_set1_epi16(0x0140));
    __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00011000));
    __m256i halves = _mm256_shuffle_epi8(fours, _mm256_setr_epi8(PACKED, PACKED));
    __m256i bytes = _mm256_permutevar8x32_epi32(halves, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7));
    _mm_storeu_si128((__m128i *)(void *)out, _mm256_castsi256_si128(bytes));
    _mm_storel_epi64((__m128i *)(void *)(out + 16), _mm256_extracti128_si256(bytes, 1));
    return is_none;
}

/* Where a run is. */
struct run {
    const uint8_t *in;
    size_t n, i;
    uint8_t *out; /* behind what was written; NULL: nothing is */
    size_t len;
    size_t line_start;
    size_t line; /* characters of the lines so far; 0: not known */
};

static inline void step(struct run *run, size_t chars)
{
    size_t bytes = chars / 4 * 3;
    run->i += chars;
    run->len += bytes;
    if (run->out != NULL)
        run->out += bytes;
}

/* Takes what a round gave: whole groups, and a CR LF behind them. False when there was neither. */
static inline bool advance(struct run *run, uint32_t faults, size_t chars)
{
    size_t digits = faults == 0 ? chars : (size_t)__builtin_ctz(faults);
    step(run, digits / 4 * 4);
    if (faults == 0)
        return true;
    const uint8_t *next = run->in + run->i;
    if (digits % 4 == 0 && digits + 2 <= chars && next[0] == '\r' && next[1] == '\n') {
        run->line = run->i - run->line_start;
        run->i += 2;
        run->line_start = run->i;
        return true;
    }
    return digits >= 4;
}

__attribute__((target("ssse3"))) static void ssse3_run(struct run *run)
{
    while (run->n - run->i >= SSSE3_CHARS &&
           advance(run, ssse3_round(run->in + run->i, run->out), SSSE3_CHARS)) {
    }
}

/* Three rounds take lines of 64 to 92 characters. */
enum { LINE_LEAST = 2 * AVX2_CHARS, LINE_MOST = 3 * AVX2_CHARS - 4 };

static inline uint8_t *later(uint8_t *out, size_t n)
{
    return out != NULL ? out + n : NULL;
}

/* Lines as long as the last one, from the start of one on. */
__attribute__((target("avx2"))) static void avx2_lines(struct run *run)
{
    const size_t line = run->line;
    if (run->i != run->line_start || line % 4 != 0 || line < LINE_LEAST || line > LINE_MOST)
        return;
    const uint32_t last = (UINT32_C(1) << (line - LINE_LEAST)) - 1;
    while (run->n - run->i >= LINE_LEAST + AVX2_CHARS) {
        const uint8_t *in = run->in + run->i;
        uint32_t faults = avx2_round(in, run->out);
        faults |= avx2_round(in + AVX2_CHARS, later(run->out, AVX2_BYTES));
        faults |= avx2_round(in + LINE_LEAST, later(run->out, 2 * AVX2_BYTES)) & last;
        if (faults != 0 || in[line] != '\r' || in[line + 1] != '\n')
            return;
        step(run, line);
        run->i += 2;
        run->line_start = run->i;
    }
}

__attribute__((target("avx2"))) static void avx2_run(struct run *run)
{
    do
        avx2_lines(run);
    while (run->n - run->i >= AVX2_CHARS &&
           advance(run, avx2_round(run->in + run->i, run->out), AVX2_CHARS));
}

size_t mime_base64_run(
    enum mime_base64_way way, const uint8_t *in, size_t n, size_t *i, uint8_t *out)
{
    struct run run = {.in = in, .n = n, .i = *i, .out = out, .line_start = *i};
    if (way == MIME_BASE64_AVX2)
        avx2_run(&run);
    else
        ssse3_run(&run);
    *i = run.i;
    return run.len;
}

#else

enum mime_base64_way mime_base64_best(void)
{
    return MIME_BASE64_PLAIN;
}

size_t mime_base64_run(
    enum mime_base64_way way, const uint8_t *in, size_t n, size_t *i, uint8_t *out)
{
    (void)way, (void)in, (void)n, (void)i, (void)out;
    return 0;
}

#endif
