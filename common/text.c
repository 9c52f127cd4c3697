/* Numbers with units, escapes and UTF-8, and the nearest word. Nothing here looks at the locale. */
#include "common/text.h"

#include <string.h>

#include "common/err.h"

/* Reads digits of a number with that sign, 1 or -1; *rest points behind them. -ERR_BAD without a
 * digit, -ERR_RANGE past INT64_MAX or INT64_MIN. */
static int parse_digits(const char *text, int sign, int64_t *out, const char **rest)
{
    int64_t value = 0;
    bool overflows = false;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        overflows |= __builtin_mul_overflow(value, (int64_t)10, &value);
        overflows |= __builtin_add_overflow(value, (int64_t)(sign * (*p - '0')), &value);
    }
    if (p == text)
        return -ERR_BAD;
    *rest = p;
    *out = value;
    return overflows ? -ERR_RANGE : 0;
}

int text_to_i64(const char *text, int64_t min, int64_t max, int64_t *out)
{
    bool is_negative = *text == '-';
    const char *rest;
    int64_t value;
    int rc = parse_digits(text + is_negative, is_negative ? -1 : 1, &value, &rest);
    if (rc == -ERR_BAD || *rest != '\0')
        return -ERR_BAD;
    if (rc != 0)
        return rc;
    if (value < min || value > max)
        return -ERR_RANGE;
    *out = value;
    return 0;
}

struct unit {
    const char *name;
    int64_t factor;
};

static int parse_with_unit(const char *text, const struct unit *units, size_t n_units, int64_t *out)
{
    const char *rest;
    int64_t value;
    int rc = parse_digits(text, 1, &value, &rest);
    if (rc == -ERR_BAD)
        return rc;
    for (size_t i = 0; i < n_units; i++) {
        if (strcmp(rest, units[i].name) != 0)
            continue;
        if (rc != 0 || __builtin_mul_overflow(value, units[i].factor, &value))
            return -ERR_RANGE;
        *out = value;
        return 0;
    }
    return -ERR_BAD;
}

int text_to_bytes(const char *text, int64_t *out)
{
    static const struct unit units[] = {{"", 1}, {"K", 1LL << 10}, {"k", 1LL << 10},
        {"M", 1LL << 20}, {"m", 1LL << 20}, {"G", 1LL << 30}, {"g", 1LL << 30}, {"T", 1LL << 40},
        {"t", 1LL << 40}};
    return parse_with_unit(text, units, sizeof(units) / sizeof(units[0]), out);
}

int text_to_ms(const char *text, int64_t *out)
{
    static const struct unit units[] = {
        {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    return parse_with_unit(text, units, sizeof(units) / sizeof(units[0]), out);
}

int text_to_bool(const char *text, bool *out)
{
    static const char *const words[2][4] = {
        {"no", "off", "false", "0"}, {"yes", "on", "true", "1"}};
    for (int value = 0; value < 2; value++)
        for (int i = 0; i < 4; i++)
            if (slice_equal_nocase(slice_text(text), slice_text(words[value][i]))) {
                *out = value == 1;
                return 0;
            }
    return -ERR_BAD;
}

/*
 * The well-formed sequence at the front of p (Unicode standard, table 3-7). Returns its length, or
 * 0 and in *bad_len the length of the maximal subpart that one U+FFFD replaces.
 */
static size_t utf8_sequence(const unsigned char *p, size_t left, size_t *bad_len)
{
    *bad_len = 1;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    size_t len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    unsigned char low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < len; i++) {
        if (i >= left || p[i] < low || p[i] > high) {
            *bad_len = i;
            return 0;
        }
        low = 0x80;
        high = 0xBF;
    }
    return len;
}

/* Bytes below 128 at the front, in steps of 32 and 8: nearly all text is made of them. */
static size_t ascii_run(const unsigned char *p, size_t left)
{
    const uint64_t high = UINT64_C(0x8080808080808080);
    uint64_t words[4];
    size_t i = 0;
    for (; left - i >= sizeof(words); i += sizeof(words)) {
        memcpy(words, p + i, sizeof(words));
        if (((words[0] | words[1] | words[2] | words[3]) & high) != 0)
            break;
    }
    for (; left - i >= sizeof(words[0]); i += sizeof(words[0])) {
        memcpy(words, p + i, sizeof(words[0]));
        if ((words[0] & high) != 0)
            break;
    }
    while (i < left && p[i] < 0x80)
        i++;
    return i;
}

/* Bytes of the characters at p, one or many; 0 as utf8_sequence has it. */
static size_t utf8_run(const unsigned char *p, size_t left, size_t *bad_len)
{
    return p[0] < 0x80 ? ascii_run(p, left) : utf8_sequence(p, left, bad_len);
}

bool text_is_ascii(struct slice in)
{
    return ascii_run((const unsigned char *)in.data, in.len) == in.len;
}

bool text_is_utf8(struct slice in)
{
    const unsigned char *p = (const unsigned char *)in.data;
    size_t bad_len, step;
    for (size_t i = 0; i < in.len; i += step) {
        step = utf8_run(p + i, in.len - i, &bad_len);
        if (step == 0)
            return false;
    }
    return true;
}

int text_to_utf8(struct buf *out, struct slice in)
{
    const unsigned char *p = (const unsigned char *)in.data;
    size_t before = out->len;
    size_t start = 0, i = 0; /* start: of the good bytes not copied yet */
    while (i < in.len) {
        size_t bad_len, step = utf8_run(p + i, in.len - i, &bad_len);
        if (step > 0) {
            i += step;
            continue;
        }
        if (buf_put(out, p + start, i - start) != 0 || buf_put(out, "\xEF\xBF\xBD", 3) != 0)
            goto too_big;
        i += bad_len;
        start = i;
    }
    if (start == in.len || buf_put(out, p + start, in.len - start) == 0)
        return 0;
too_big:
    out->len = before;
    return -ERR_TOOBIG;
}

/* What one character of input becomes in a clean text. *taken bytes of input are that
 * character. */
static struct slice clean_unit(const char *at, size_t left, bool keeps_lf, size_t *taken)
{
    const unsigned char *p = (const unsigned char *)at;
    size_t bad_len, len = utf8_sequence(p, left, &bad_len);
    *taken = len > 0 ? len : bad_len;
    if (len == 0)
        return slice_text("\xEF\xBF\xBD");
    if (keeps_lf && p[0] == '\r' && left > 1 && p[1] == '\n')
        return slice_of(at, 0);
    bool is_control =
        len == 1 ? p[0] < 0x20 || p[0] == 0x7F : len == 2 && p[0] == 0xC2 && p[1] < 0xA0;
    return is_control && !(keeps_lf && p[0] == '\n') ? slice_text(" ") : slice_of(at, len);
}

size_t text_clean(char *out, struct slice in, const struct text_bounds *bounds)
{
    size_t n = 0, line_bytes = 0, lines = 1, taken;
    bool is_cut = false; /* the present line: nothing more of it until its end */
    for (size_t i = 0; i < in.len; i += taken) {
        struct slice unit = clean_unit(in.data + i, in.len - i, bounds->lines > 1, &taken);
        bool is_end = unit.len == 1 && unit.data[0] == '\n';
        if (is_end && ++lines > bounds->lines)
            break;
        is_cut = !is_end && (is_cut || line_bytes + unit.len > bounds->line_bytes);
        if (is_cut)
            continue;
        if (unit.len > bounds->bytes - n)
            break;
        memcpy(out + n, unit.data, unit.len);
        n += unit.len;
        line_bytes = is_end ? 0 : line_bytes + unit.len;
    }
    return n;
}

/* What one unit of input becomes: itself, or an escape. Returns its length (at most 16); *taken is
 * the input's. */
static size_t escape_unit(
    const unsigned char *p, size_t left, char quote, char *unit, size_t *taken)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t bad_len, len = utf8_sequence(p, left, &bad_len);
    *taken = len > 0 ? len : bad_len;
    bool is_c1 = len == 2 && p[0] == 0xC2 && p[1] < 0xA0;
    if ((len > 1 && !is_c1) || (len == 1 && p[0] >= 0x20 && p[0] != 0x7F)) {
        bool is_marked = len == 1 && quote != 0 && (p[0] == '\\' || (char)p[0] == quote);
        if (is_marked)
            *unit++ = '\\';
        memcpy(unit, p, len);
        return len + (is_marked ? 1 : 0);
    }
    const char *letter = p[0] == '\n' ? "n" : p[0] == '\r' ? "r" : p[0] == '\t' ? "t" : NULL;
    if (letter != NULL) {
        unit[0] = '\\';
        unit[1] = *letter;
        return 2;
    }
    for (size_t i = 0; i < *taken; i++) {
        unit[4 * i] = '\\';
        unit[4 * i + 1] = 'x';
        unit[4 * i + 2] = hex[p[i] >> 4];
        unit[4 * i + 3] = hex[p[i] & 15];
    }
    return 4 * *taken;
}

static size_t escape(char *out, size_t max_out, struct slice in, char quote)
{
    const unsigned char *p = (const unsigned char *)in.data;
    size_t len = 0, fit = 0, taken; /* fit: the longest whole text that leaves room for the dots */
    if (max_out == 0)
        return 0;
    for (size_t i = 0; i < in.len; i += taken) {
        char unit[16];
        size_t n = escape_unit(p + i, in.len - i, quote, unit, &taken);
        if (n > max_out - 1 - len) {
            size_t dots = max_out - 1 - fit < 3 ? max_out - 1 - fit : 3;
            memcpy(out + fit, "...", dots);
            len = fit + dots;
            break;
        }
        memcpy(out + len, unit, n);
        len += n;
        if (len + 4 <= max_out)
            fit = len;
    }
    out[len] = '\0';
    return len;
}

size_t text_escape(char *out, size_t max_out, struct slice in, char quote)
{
    return escape(out, max_out, in, quote != 0 ? quote : '\\');
}

size_t text_escape_controls(char *out, size_t max_out, struct slice in)
{
    return escape(out, max_out, in, 0);
}

bool text_has_line_break_or_nul(struct slice in)
{
    for (size_t i = 0; i < in.len; i++)
        if (in.data[i] == '\r' || in.data[i] == '\n' || in.data[i] == '\0')
            return true;
    return false;
}

enum { NEAREST_WORD_MAX = 64 };

static unsigned min_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Damerau-Levenshtein distance (optimal string alignment); both words are at most NEAREST_WORD_MAX
 * long. */
static unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][NEAREST_WORD_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_len; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned cost = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = min_of(min_of(last[j] + 1, row[j - 1] + 1), last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = min_of(row[j], before[j - 2] + 1);
        }
        unsigned *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[b_len];
}

const char *text_nearest(const char *word, const char *const *candidates)
{
    size_t len = strlen(word);
    if (len == 0 || len > NEAREST_WORD_MAX)
        return NULL;
    unsigned limit = len / 3 < 2 ? 2 : (unsigned)(len / 3);
    if (limit >= len) /* else every short word would be near */
        limit = (unsigned)len - 1;
    const char *nearest = NULL;
    for (; *candidates != NULL; candidates++) {
        size_t n = strlen(*candidates);
        if (n > NEAREST_WORD_MAX)
            continue;
        unsigned distance = edit_distance(word, len, *candidates, n);
        if (distance > limit || (nearest != NULL && distance == limit))
            continue;
        limit = distance;
        nearest = *candidates;
    }
    return nearest;
}

struct slice text_trim(struct slice in)
{
    while (in.len > 0 && text_is_space(in.data[0]))
        in = slice_of(in.data + 1, in.len - 1);
    while (in.len > 0 && text_is_space(in.data[in.len - 1]))
        in.len--;
    return in;
}

void text_copy(char *out, size_t out_bytes, struct slice in)
{
    size_t n = in.len < out_bytes - 1 ? in.len : out_bytes - 1;
    if (n > 0)
        memcpy(out, in.data, n);
    out[n] = '\0';
}

void text_lower(char *text)
{
    for (; *text != '\0'; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text + ('a' - 'A'));
}
