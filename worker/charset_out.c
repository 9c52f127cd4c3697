#include "worker/charset_out.h"

#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"

/* ---- which charset ---- */

/*
 * Charsets that we convert to. A closed list: their names come from strangers, and converters for
 * the rarer ones have been holes in the C library. All of them hold ASCII.
 */
static const char *const tables[] = {"iso-8859-1", "iso-8859-2", "iso-8859-3", "iso-8859-4",
    "iso-8859-5", "iso-8859-6", "iso-8859-7", "iso-8859-8", "iso-8859-9", "iso-8859-10",
    "iso-8859-13", "iso-8859-14", "iso-8859-15", "iso-8859-16", "windows-1250", "windows-1251",
    "windows-1252", "windows-1253", "windows-1254", "windows-1255", "windows-1256", "windows-1257",
    "windows-1258", "koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5", "euc-jp", "euc-kr",
    "shift_jis", "tis-620"};

static const struct {
    const char *name;
    struct charset_out charset;
} special[] = {
    {"", {CHARSET_ASCII, NULL, 1, false}},
    {"us-ascii", {CHARSET_ASCII, NULL, 1, false}},
    {"ascii", {CHARSET_ASCII, NULL, 1, false}},
    {"ansi_x3.4-1968", {CHARSET_ASCII, NULL, 1, false}},
    {"utf-8", {CHARSET_UTF8, NULL, 1, false}},
    {"utf8", {CHARSET_UTF8, NULL, 1, false}},
    {"iso-2022-jp", {CHARSET_SHIFTED, "iso-2022-jp", 1, false}},
    {"csiso2022jp", {CHARSET_SHIFTED, "iso-2022-jp", 1, false}},
    {"utf-16be", {CHARSET_WIDE, "utf-16be", 2, true}},
    {"utf-16le", {CHARSET_WIDE, "utf-16le", 2, false}},
    {"utf-32", {CHARSET_WIDE, "utf-32be", 4, true}},
    {"utf-32be", {CHARSET_WIDE, "utf-32be", 4, true}},
    {"utf-32le", {CHARSET_WIDE, "utf-32le", 4, false}},
};

static const struct {
    struct slice mark;
    struct charset_out charset;
} marks[] = {
    {{"\xff\xfe\0\0", 4}, {CHARSET_WIDE, "utf-32le", 4, false}},
    {{"\0\0\xfe\xff", 4}, {CHARSET_WIDE, "utf-32be", 4, true}},
    {{"\xff\xfe", 2}, {CHARSET_WIDE, "utf-16le", 2, false}},
    {{"\xfe\xff", 2}, {CHARSET_WIDE, "utf-16be", 2, true}},
    {{"\xef\xbb\xbf", 3}, {CHARSET_UTF8, NULL, 1, false}},
};

static bool begins_with(const char *name, const char *const *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return false;
}

/* "ibm037", "cp-500": the code pages of IBM that are EBCDIC. */
static bool is_ebcdic_page(const char *name)
{
    static const short pages[] = {37, 273, 275, 277, 278, 280, 281, 284, 285, 290, 297, 420, 423,
        424, 500, 833, 838, 870, 871, 875, 880, 905, 918, 924, 930, 933, 935, 937, 939, 1025, 1026,
        1047, 1112, 1122, 1123, 1130, 1137, 1140, 1141, 1142, 1143, 1144, 1145, 1146, 1147, 1148,
        1149, 1153, 1154, 1155, 1156, 1157, 1158, 1160, 1164, 1364, 1388, 1390, 1399};
    static const char *const families[] = {"ibm", "cp", "csibm"};
    if (!begins_with(name, families, sizeof(families) / sizeof(families[0])))
        return false;
    const long page = strtol(name + strcspn(name, "0123456789"), NULL, 10);
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (page == pages[i])
            return true;
    }
    return false;
}

static bool is_without_ascii(const char *name)
{
    static const char *const families[] = {"ebcdic", "utf-7", "utf7", "unicode-1-1-utf-7", "hz",
        "iso-2022-", "csiso2022", "utf-16", "utf16", "utf-32", "utf32", "ucs-", "iso-10646",
        "csunicode", "unicode"};
    return begins_with(name, families, sizeof(families) / sizeof(families[0])) ||
           is_ebcdic_page(name);
}

static bool find_mark(struct slice content, struct charset_out *out)
{
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const struct slice mark = marks[i].mark;
        if (content.len >= mark.len && memcmp(content.data, mark.data, mark.len) == 0) {
            *out = marks[i].charset;
            return true;
        }
    }
    return false;
}

enum { ORDER_BYTES = 4096 /* looked at for the byte order */ };

const char *charset_utf16_order(struct slice content)
{
    const size_t len = content.len < ORDER_BYTES ? content.len : ORDER_BYTES;
    size_t zeros[2] = {0, 0};
    for (size_t i = 0; i < len; i++)
        zeros[i % 2] += content.data[i] == '\0';
    return zeros[1] > zeros[0] ? "utf-16le" : "utf-16be";
}

bool charset_out_find(const char *charset, struct slice content, struct charset_out *out)
{
    if (find_mark(content, out))
        return content.len % out->unit == 0;
    if (strcmp(charset, "utf-16") == 0)
        charset = charset_utf16_order(content);
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        if (strcmp(charset, special[i].name) == 0) {
            *out = special[i].charset;
            return content.len % out->unit == 0;
        }
    }
    *out = (struct charset_out){.form = CHARSET_TABLE, .unit = 1};
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (strcmp(charset, tables[i]) == 0)
            out->name = tables[i];
    }
    return !is_without_ascii(charset);
}

/* ---- writing ---- */

static size_t utf8_length(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Each character outside ASCII becomes "?". */
static int put_ascii(struct buf *out, struct slice text)
{
    size_t n;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < text.len; i += n) {
        n = utf8_length((unsigned char)text.data[i]);
        rc = buf_put(out, n == 1 ? text.data + i : "?", 1);
    }
    return rc;
}

/* Converts as far as the charset goes. *in moves behind what was taken. out NULL: only that. */
static int convert_some(iconv_t cd, struct slice *in, struct buf *out)
{
    char chunk[4096];
    union {
        const char *from;
        char *to; /* iconv takes a char ** and does not write through it */
    } at = {.from = in->data};
    size_t left = in->len, room = sizeof(chunk);
    char *to = chunk;
    iconv(cd, in->data != NULL ? &at.to : NULL, &left, &to, &room);
    if (in->len > 0)
        *in = slice_of(in->data + (in->len - left), left);
    return out != NULL ? buf_put(out, chunk, sizeof(chunk) - room) : 0;
}

static int convert(iconv_t cd, struct slice text, struct buf *out)
{
    while (text.len > 0) {
        const size_t before = text.len;
        int rc = convert_some(cd, &text, out);
        if (rc != 0)
            return rc;
        if (text.len != before)
            continue;
        struct slice mark = slice_of("?", 1);
        const size_t skipped = utf8_length((unsigned char)text.data[0]);
        text = slice_of(text.data + skipped, text.len - skipped);
        if ((rc = convert_some(cd, &mark, out)) != 0)
            return rc;
    }
    struct slice end = slice_of(NULL, 0); /* back to the first shift state */
    return convert_some(cd, &end, out);
}

bool charset_out_has(const struct charset_out *charset, struct slice text)
{
    if (charset->form == CHARSET_UTF8 || text_is_ascii(text))
        return true;
    iconv_t cd = charset->name != NULL ? iconv_open(charset->name, "UTF-8") : (iconv_t)-1;
    if (cd == (iconv_t)-1)
        return false;
    size_t before;
    do {
        before = text.len;
        convert_some(cd, &text, NULL);
    } while (text.len > 0 && text.len != before);
    iconv_close(cd);
    return text.len == 0;
}

int charset_out_put(const struct charset_out *charset, struct slice text, struct buf *out)
{
    if (charset->form == CHARSET_UTF8 || (charset->unit == 1 && text_is_ascii(text)))
        return buf_put(out, text.data, text.len);
    iconv_t cd = charset->name != NULL ? iconv_open(charset->name, "UTF-8") : (iconv_t)-1;
    if (cd == (iconv_t)-1)
        return put_ascii(out, text);
    const int rc = convert(cd, text, out);
    iconv_close(cd);
    return rc;
}

/* ---- scanning ---- */

/* What an escape sequence of ISO-2022-JP (and its successors) switches to. */
enum shift { SHIFT_ASCII = 0, SHIFT_OTHER };

static size_t escape_length(struct slice s, size_t i, enum shift *shift_out)
{
    if (i + 2 >= s.len || s.data[i] != '\x1b')
        return 0;
    *shift_out = s.data[i + 1] == '(' && (s.data[i + 2] == 'B' || s.data[i + 2] == 'J')
                     ? SHIFT_ASCII
                     : SHIFT_OTHER;
    if (s.data[i + 1] == '$' && s.data[i + 2] == '(' && i + 3 < s.len)
        return 4;
    return s.data[i + 1] == '$' || s.data[i + 1] == '(' ? 3 : 0;
}

static struct slice unshifted(struct slice content, struct arena *arena)
{
    char *out = arena_alloc(arena, content.len + 1);
    enum shift shift = SHIFT_ASCII;
    for (size_t i = 0; i < content.len;) {
        enum shift next;
        const size_t n = escape_length(content, i, &next);
        if (n > 0) {
            memset(out + i, 0x80, n);
            shift = next;
            i += n;
            continue;
        }
        out[i] = shift == SHIFT_ASCII ? content.data[i] : '\x80';
        i++;
    }
    return slice_of(out, content.len);
}

static struct slice narrowed(
    const struct charset_out *charset, struct slice content, struct arena *arena)
{
    const size_t unit = charset->unit, n = content.len / unit;
    char *out = arena_alloc(arena, n + 1);
    for (size_t i = 0; i < n; i++) {
        const unsigned char *p = (const unsigned char *)content.data + i * unit;
        const size_t low = charset->is_big_endian ? unit - 1 : 0;
        bool is_narrow = p[low] < 0x80;
        for (size_t k = 0; k < unit; k++)
            is_narrow = is_narrow && (k == low || p[k] == 0);
        out[i] = is_narrow ? (char)p[low] : '\x80';
    }
    return slice_of(out, n);
}

struct slice charset_out_shadow(
    const struct charset_out *charset, struct slice content, struct arena *arena)
{
    if (charset->form == CHARSET_SHIFTED)
        return unshifted(content, arena);
    return charset->unit > 1 ? narrowed(charset, content, arena) : content;
}

struct slice charset_out_back(const struct charset_out *charset, struct slice content)
{
    if (charset->form != CHARSET_SHIFTED)
        return slice_of(NULL, 0);
    enum shift shift = SHIFT_ASCII, found;
    for (size_t i = content.len; i-- > 0;) {
        if (escape_length(content, i, &found) > 0) {
            shift = found;
            break;
        }
    }
    return shift == SHIFT_ASCII ? slice_of(NULL, 0) : slice_of("\x1b(B", 3);
}
