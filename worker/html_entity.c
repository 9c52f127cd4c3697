/* Character references of HTML, both ways. Only names that mail uses are known; others stay as they
 * are. */
#include <string.h>

#include "common/text.h"
#include "worker/html_scan.h"

enum { ENTITY_MAX = 16 };

static const struct entity {
    const char *name;
    uint32_t code;
} entities[] = {
    /* sorted */
    {"AElig", 0xc6},
    {"AMP", '&'},
    {"Agrave", 0xc0},
    {"Aring", 0xc5},
    {"Auml", 0xc4},
    {"Ccedil", 0xc7},
    {"Eacute", 0xc9},
    {"Egrave", 0xc8},
    {"GT", '>'},
    {"LT", '<'},
    {"NewLine", '\n'},
    {"Ntilde", 0xd1},
    {"Oslash", 0xd8},
    {"Ouml", 0xd6},
    {"QUOT", '"'},
    {"Tab", '\t'},
    {"Uuml", 0xdc},
    {"ZeroWidthSpace", 0x200b},
    {"aacute", 0xe1},
    {"acirc", 0xe2},
    {"aelig", 0xe6},
    {"agrave", 0xe0},
    {"amp", '&'},
    {"apos", '\''},
    {"aring", 0xe5},
    {"ast", '*'},
    {"atilde", 0xe3},
    {"auml", 0xe4},
    {"bdquo", 0x201e},
    {"bsol", '\\'},
    {"bull", 0x2022},
    {"ccedil", 0xe7},
    {"cent", 0xa2},
    {"check", 0x2713},
    {"colon", ':'},
    {"comma", ','},
    {"commat", '@'},
    {"copy", 0xa9},
    {"dagger", 0x2020},
    {"dash", 0x2010},
    {"deg", 0xb0},
    {"divide", 0xf7},
    {"dollar", '$'},
    {"eacute", 0xe9},
    {"ecirc", 0xea},
    {"egrave", 0xe8},
    {"emsp", 0x2003},
    {"ensp", 0x2002},
    {"equals", '='},
    {"euml", 0xeb},
    {"euro", 0x20ac},
    {"excl", '!'},
    {"frac12", 0xbd},
    {"grave", '`'},
    {"gt", '>'},
    {"hearts", 0x2665},
    {"hellip", 0x2026},
    {"hyphen", 0x2010},
    {"iacute", 0xed},
    {"icirc", 0xee},
    {"iexcl", 0xa1},
    {"igrave", 0xec},
    {"iquest", 0xbf},
    {"iuml", 0xef},
    {"laquo", 0xab},
    {"larr", 0x2190},
    {"lcub", '{'},
    {"ldquo", 0x201c},
    {"lowbar", '_'},
    {"lpar", '('},
    {"lrm", 0x200e},
    {"lsaquo", 0x2039},
    {"lsqb", '['},
    {"lsquo", 0x2018},
    {"lt", '<'},
    {"mdash", 0x2014},
    {"micro", 0xb5},
    {"middot", 0xb7},
    {"minus", 0x2212},
    {"nbsp", 0xa0},
    {"ndash", 0x2013},
    {"ntilde", 0xf1},
    {"num", '#'},
    {"oacute", 0xf3},
    {"ocirc", 0xf4},
    {"ograve", 0xf2},
    {"ordf", 0xaa},
    {"ordm", 0xba},
    {"oslash", 0xf8},
    {"otilde", 0xf5},
    {"ouml", 0xf6},
    {"para", 0xb6},
    {"percnt", '%'},
    {"period", '.'},
    {"permil", 0x2030},
    {"plus", '+'},
    {"plusmn", 0xb1},
    {"pound", 0xa3},
    {"quest", '?'},
    {"quot", '"'},
    {"raquo", 0xbb},
    {"rarr", 0x2192},
    {"rcub", '}'},
    {"rdquo", 0x201d},
    {"reg", 0xae},
    {"rlm", 0x200f},
    {"rpar", ')'},
    {"rsaquo", 0x203a},
    {"rsqb", ']'},
    {"rsquo", 0x2019},
    {"sbquo", 0x201a},
    {"sect", 0xa7},
    {"semi", ';'},
    {"shy", 0xad},
    {"sol", '/'},
    {"sup2", 0xb2},
    {"szlig", 0xdf},
    {"thinsp", 0x2009},
    {"times", 0xd7},
    {"trade", 0x2122},
    {"uacute", 0xfa},
    {"ucirc", 0xfb},
    {"ugrave", 0xf9},
    {"uuml", 0xfc},
    {"verbar", '|'},
    {"yen", 0xa5},
    {"zwj", 0x200d},
    {"zwnj", 0x200c},
    {"zwsp", 0x200b},
};

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static int digit_of(char c, bool is_hex)
{
    const int digit = text_hex_digit(c);
    return digit < 10 || is_hex ? digit : -1;
}

/* windows-1252, which 0x80 to 0x9f mean here (HTML standard, numeric character references). */
static uint32_t mapped(uint32_t code)
{
    static const uint16_t high[32] = {0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021,
        0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c,
        0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178};
    return code >= 0x80 && code < 0xa0 ? high[code - 0x80] : code;
}

static size_t read_number(struct slice text, uint32_t *code_out)
{
    const bool is_hex = text.len > 2 && (text.data[2] | 0x20) == 'x';
    const size_t start = is_hex ? 3 : 2;
    size_t i = start;
    uint32_t code = 0;
    int digit;
    while (i < text.len && (digit = digit_of(text.data[i], is_hex)) >= 0) {
        code = code > 0x110000 ? code : code * (is_hex ? 16 : 10) + (uint32_t)digit;
        i++;
    }
    if (i == start)
        return 0;
    *code_out = mapped(code);
    return i < text.len && text.data[i] == ';' ? i + 1 : i;
}

static const struct entity *find_entity(struct slice name)
{
    size_t low = 0, high = sizeof(entities) / sizeof(entities[0]);
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const char *other = entities[middle].name;
        const int order = strncmp(other, name.data, name.len);
        if (order == 0 && other[name.len] == '\0')
            return &entities[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

size_t html_entity_read(struct slice text, uint32_t *code_out)
{
    if (text.len < 3 || text.data[0] != '&')
        return 0;
    if (text.data[1] == '#')
        return read_number(text, code_out);
    size_t len = 1;
    while (len < text.len && len < ENTITY_MAX && is_alnum(text.data[len]))
        len++;
    const struct entity *entity = find_entity(slice_of(text.data + 1, len - 1));
    if (entity == NULL || (len < text.len && text.data[len] == '=')) /* "?a=1&copy=2" */
        return 0;
    *code_out = entity->code;
    return len < text.len && text.data[len] == ';' ? len + 1 : len;
}

size_t html_put_code(uint32_t c, char *out)
{
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        c = 0xfffd;
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 63));
    out[0] = (char)(first[n] | c);
    return n;
}

struct slice html_decode(struct slice text, struct arena *arena)
{
    if (text.len == 0 || memchr(text.data, '&', text.len) == NULL)
        return text;
    char *out = arena_alloc(arena, text.len + 4);
    size_t n = 0;
    for (size_t i = 0; i < text.len;) {
        uint32_t code = 0;
        const size_t used = html_entity_read(slice_of(text.data + i, text.len - i), &code);
        if (used > 0)
            n += html_put_code(code, out + n); /* never longer than the reference */
        else
            out[n++] = text.data[i];
        i += used > 0 ? used : 1;
    }
    return slice_of(out, n);
}

/* ---- writing ---- */

static uint32_t read_code(struct slice text, size_t i, size_t *n_out)
{
    const unsigned char *p = (const unsigned char *)text.data + i;
    const size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t code = n == 1 ? p[0] : p[0] & (0xffU >> (n + 1));
    for (size_t k = 1; k < n && i + k < text.len; k++)
        code = code << 6 | (p[k] & 63);
    *n_out = n < text.len - i ? n : text.len - i;
    return code;
}

static const char *escape_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    }
    return NULL;
}

static int put_escaped(struct slice text, bool marks, bool ascii_only, struct buf *out)
{
    size_t n;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < text.len; i += n) {
        const char *escape = marks ? escape_of(text.data[i]) : NULL;
        n = 1;
        if (escape != NULL) {
            rc = buf_put(out, escape, strlen(escape));
        } else if (ascii_only && (unsigned char)text.data[i] >= 0x80) {
            const uint32_t code = read_code(text, i, &n);
            rc = buf_printf(out, "&#%u;", (unsigned)code);
        } else {
            rc = buf_put(out, text.data + i, 1);
        }
    }
    return rc;
}

int html_escape(struct slice text, bool ascii_only, struct buf *out)
{
    return put_escaped(text, true, ascii_only, out);
}

int html_to_ascii(struct slice html, struct buf *out)
{
    return put_escaped(html, false, true, out);
}
