/*
 * What becomes of a file name on its way to the eye or the disk: folders cut off, characters that
 * nobody sees left out, look-alikes of dots and letters replaced, codes decoded once more, what
 * Windows drops at the end dropped. And what about a name is made to deceive.
 */
#include "worker/mime_impl.h"

#include <string.h>

#include "common/text.h"

/* Characters that are not shown, or turn those around them (Unicode TR 36; RFC 3454 table B.1). */
static const struct {
    uint32_t first, last;
} unseen[] = {
    {0x00ad, 0x00ad},
    {0x034f, 0x034f},
    {0x061c, 0x061c},
    {0x115f, 0x1160},
    {0x180b, 0x180e},
    {0x200b, 0x200f},
    {0x2028, 0x202e},
    {0x2060, 0x206f},
    {0xfe00, 0xfe0f},
    {0xfeff, 0xfeff},
    {0xe0000, 0xe0fff},
};

/* Those that turn the letters behind them, so that an extension seems to be another. */
static bool turns(uint32_t c)
{
    return c == 0x202b || c == 0x202d || c == 0x202e || (c >= 0x2066 && c <= 0x2069);
}

static bool is_unseen(uint32_t c)
{
    if (c < 0xad)
        return c < 0x20 || c == 0x7f;
    for (size_t i = 0; i < sizeof(unseen) / sizeof(unseen[0]); i++) {
        if (c >= unseen[i].first && c <= unseen[i].last)
            return true;
    }
    return false;
}

/* The ASCII character that c passes for or is made to; 0: none. */
static char ascii_of(uint32_t c)
{
    static const struct {
        uint32_t c;
        char ascii;
    } rows[] = {
        {0x2024, '.'},
        {0x2215, '/'},
        {0x2216, '\\'},
        {0x29f5, '\\'},
        {0x3002, '.'},
        {0xa4f8, '.'},
        {0xfe52, '.'},
        {0xff61, '.'},
        {0x10a50, '.'},
    };
    if (c >= 0xff01 && c <= 0xff5e) /* fullwidth forms */
        return (char)(c - 0xff01 + '!');
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].c == c)
            return rows[i].ascii;
    }
    return 0;
}

/* The character at s[*i], however it is written: overlong forms too. Moves *i behind it.
 * *overlong_out is set, never cleared. A byte that begins nothing stands for itself. */
static uint32_t next_char(struct slice s, size_t *i, bool *overlong_out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *p = (const uint8_t *)s.data + *i;
    size_t n = p[0] >= 0xf0 && p[0] < 0xf8 ? 4 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : 2;
    uint32_t c = p[0] & (0x7fu >> n);
    bool is_sequence = p[0] >= 0xc0 && p[0] < 0xf8 && s.len - *i >= n;
    for (size_t k = 1; is_sequence && k < n; k++) {
        is_sequence = (p[k] & 0xc0) == 0x80;
        c = c << 6 | (p[k] & 0x3f);
    }
    *i += is_sequence ? n : 1;
    if (!is_sequence)
        return p[0];
    *overlong_out = *overlong_out || c < least[n];
    return c;
}

bool mime_has_overlong(struct slice bytes)
{
    bool is_overlong = false;
    for (size_t i = 0; i < bytes.len && !is_overlong;) {
        const uint8_t *p = (const uint8_t *)bytes.data + i;
        if (*p == 0xc0 || *p == 0xc1 || *p == 0xe0 || *p == 0xf0)
            next_char(bytes, &i, &is_overlong);
        else
            i++;
    }
    return is_overlong;
}

struct slice mime_overlong_decode(struct slice bytes, struct arena *arena)
{
    char *out = arena_alloc(arena, bytes.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < bytes.len;) {
        bool is_overlong = false;
        size_t start = i;
        uint32_t c = next_char(bytes, &i, &is_overlong);
        if (is_overlong && c < 0x80) {
            out[n++] = (char)c;
            continue;
        }
        memcpy(out + n, bytes.data + start, i - start);
        n += i - start;
    }
    return slice_of(out, n);
}

static struct slice plain(struct slice name, struct arena *arena)
{
    char *out = arena_alloc(arena, name.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < name.len;) {
        bool is_overlong = false;
        size_t start = i;
        uint32_t c = next_char(name, &i, &is_overlong);
        char ascii = ascii_of(c);
        if (ascii != 0) {
            out[n++] = ascii;
        } else if (!is_unseen(c)) {
            memcpy(out + n, name.data + start, i - start);
            n += i - start;
        }
    }
    return slice_of(out, n);
}

/* "&#46;" and "&#x2e;" of ASCII characters at i; 0: none. */
static char entity_at(struct slice s, size_t i, size_t *end_out)
{
    if (s.len - i < 4 || s.data[i] != '&' || s.data[i + 1] != '#')
        return 0;
    size_t at = i + 2;
    bool is_hex = (s.data[at] | 0x20) == 'x';
    uint32_t c = 0;
    for (at += is_hex; at < s.len && at < i + 9; at++) {
        int digit = text_hex_digit(s.data[at]);
        if (digit < 0 || (!is_hex && digit > 9))
            break;
        c = c * (is_hex ? 16u : 10u) + (uint32_t)digit;
    }
    *end_out = at + (at < s.len && s.data[at] == ';');
    return c >= 0x20 && c < 0x7f ? (char)c : 0;
}

static struct slice without_entities(struct slice name, struct arena *arena)
{
    if (name.len == 0 || memchr(name.data, '&', name.len) == NULL)
        return name;
    char *out = arena_alloc(arena, name.len);
    size_t n = 0, end;
    for (size_t i = 0; i < name.len;) {
        char c = entity_at(name, i, &end);
        out[n++] = c != 0 ? c : name.data[i];
        i = c != 0 ? end : i + 1;
    }
    return slice_of(out, n);
}

/* "name::$DATA": the stream of a file of NTFS that is the file itself. */
static struct slice without_stream(struct slice name, struct arena *arena)
{
    (void)arena;
    const char *colons = name.len > 0 ? memmem(name.data, name.len, "::", 2) : NULL;
    return colons != NULL ? slice_of(name.data, (size_t)(colons - name.data)) : name;
}

/* Characters that no file name has on Windows: some programs leave them out. */
static bool is_forbidden(char c)
{
    return c == '<' || c == '>' || c == ':' || c == '"' || c == '|' || c == '?' || c == '*';
}

static struct slice without_forbidden(struct slice name, struct arena *arena)
{
    char *out = arena_alloc(arena, name.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (!is_forbidden(name.data[i]))
            out[n++] = name.data[i];
    }
    return slice_of(out, n);
}

static bool is_separator(char c)
{
    return c == '/' || c == '\\';
}

/* "/" and "/." lead nowhere. */
static struct slice without_empty_folders(struct slice name)
{
    for (;;) {
        const char *end = name.data + name.len;
        if (name.len > 0 && is_separator(end[-1]))
            name.len--;
        else if (name.len > 1 && end[-1] == '.' && is_separator(end[-2]))
            name.len -= 2;
        else
            return name;
    }
}

/* Behind the last folder, and behind a drive's letter. */
static struct slice without_folders(struct slice name, struct arena *arena)
{
    (void)arena;
    name = without_empty_folders(name);
    size_t start = name.len;
    while (start > 0 && !is_separator(name.data[start - 1]))
        start--;
    if (start == 0 && name.len > 2 && name.data[1] == ':' && (name.data[0] | 0x20) >= 'a' &&
        (name.data[0] | 0x20) <= 'z')
        start = 2;
    return slice_of(name.data + start, name.len - start);
}

/* Bytes of the blank outside ASCII that ends there (Unicode category Zs), or 0. */
static size_t wide_blank_before(const char *end, size_t n)
{
    if (n >= 2 && memcmp(end - 2, "\xc2\xa0", 2) == 0) /* no-break space */
        return 2;
    if (n < 3)
        return 0;
    const uint8_t last = (uint8_t)end[-1];
    const bool is_general = memcmp(end - 3, "\xe2\x80", 2) == 0 &&
                            ((last >= 0x80 && last <= 0x8a) || last == 0xaf); /* U+2000 …, U+202F */
    return is_general || memcmp(end - 3, "\xe3\x80\x80", 3) == 0 ||
                   memcmp(end - 3, "\xe2\x81\x9f", 3) == 0 ||
                   memcmp(end - 3, "\xe1\x9a\x80", 3) == 0
               ? 3
               : 0;
}

/* Windows drops dots and blanks at the end of a name. */
static struct slice without_tail(struct slice name, struct arena *arena)
{
    (void)arena;
    for (;;) {
        size_t n = name.len;
        const char *end = name.data + n;
        if (n > 0 && (end[-1] == '.' || (uint8_t)end[-1] <= ' ' || end[-1] == 0x7f))
            name.len--;
        else if (wide_blank_before(end, n) > 0)
            name.len -= wide_blank_before(end, n);
        else
            return name;
    }
}

/* Whether some step below may change it. */
static bool is_ordinary(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = (uint8_t)name.data[i];
        if (c < 0x20 || c >= 0x7f || strchr("%&/\\", c) != NULL || is_forbidden((char)c))
            return false;
    }
    return name.len == 0 || (name.data[name.len - 1] != '.' && name.data[name.len - 1] != ' ');
}

enum { VARIANTS_MAX = 48 };

static bool is_found(const struct slice *found, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_equal(found[i], name))
            return true;
    }
    return false;
}

bool mime_name_variants_each(
    struct slice name, struct arena *arena, mime_reading_cb cb, void *context)
{
    static struct slice (*const steps[])(struct slice name, struct arena * arena) = {
        mime_percent_decode, mime_percent_decode, without_entities, plain, without_stream,
        without_forbidden, without_folders, without_tail};
    struct slice found[VARIANTS_MAX] = {name};
    size_t n = 1;
    if (is_ordinary(name))
        return true;
    for (size_t step = 0; step < sizeof(steps) / sizeof(steps[0]); step++) {
        size_t before = n;
        for (size_t i = 0; i < before; i++) {
            struct slice made = steps[step](found[i], arena);
            if (made.len == 0 || is_found(found, n, made))
                continue;
            if (n == VARIANTS_MAX)
                return false;
            found[n++] = made;
            cb(made, context);
        }
    }
    return true;
}

enum { EXTENSION_MAX = 10 };

struct slice mime_name_extension(struct slice name)
{
    const char *dot = name.len > 0 ? memrchr(name.data, '.', name.len) : NULL;
    if (dot == NULL)
        return slice_of("", 0);
    struct slice extension = slice_of(dot + 1, name.len - (size_t)(dot + 1 - name.data));
    bool has_letter = false;
    for (size_t i = 0; i < extension.len; i++) {
        char c = (char)(extension.data[i] | 0x20);
        bool is_letter = c >= 'a' && c <= 'z';
        if (!is_letter && (extension.data[i] < '0' || extension.data[i] > '9'))
            return slice_of("", 0);
        has_letter = has_letter || is_letter;
    }
    return has_letter && extension.len <= EXTENSION_MAX ? extension : slice_of("", 0);
}

/* What stands behind the last dot, whatever it is. */
static struct slice raw_extension(struct slice name)
{
    const char *dot = name.len > 0 ? memrchr(name.data, '.', name.len) : NULL;
    return dot == NULL ? slice_of("", 0)
                       : slice_of(dot + 1, name.len - (size_t)(dot + 1 - name.data));
}

/*
 * The length of an ISO 2022 designation at that place (ESC ( B, ESC $ B, ESC $ ) C …), or 0: a
 * name in such a charset is also read undecoded, and honest.
 */
static size_t designation_at(struct slice name, size_t at)
{
    const char *s = name.data + at;
    size_t left = name.len - at, n = 1;
    if (left < 3 || s[0] != 0x1b)
        return 0;
    n += s[n] == '$';
    n += n < left && strchr("()*+", s[n]) != NULL && s[n] != 0;
    return n > 1 && n < left && s[n] >= '@' && s[n] <= '~' ? n + 1 : 0;
}

static bool has_deceptive_char(struct slice name)
{
    for (size_t i = 0; i < name.len;) {
        size_t skip = designation_at(name, i);
        if (skip > 0) {
            i += skip;
            continue;
        }
        bool is_overlong = false;
        uint32_t c = next_char(name, &i, &is_overlong);
        if ((c < 0x20 && c != '\t') || c == 0x7f || turns(c))
            return true;
    }
    return false;
}

bool mime_name_is_deceptive(struct slice name, struct arena *arena)
{
    if (is_ordinary(name))
        return false;
    struct slice shown = without_tail(plain(name, arena), arena);
    struct slice bare = name;
    while (bare.len > 0 && (bare.data[bare.len - 1] == '.' || bare.data[bare.len - 1] == ' '))
        bare.len--; /* everybody sees these */
    return has_deceptive_char(name) ||
           !slice_equal_nocase(raw_extension(shown), raw_extension(bare));
}

bool mime_name_has_path(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (is_separator(name.data[i]))
            return true;
    }
    return false;
}
