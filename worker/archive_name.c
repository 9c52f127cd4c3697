/* Names of entries: every reading of their bytes, and what a name alone says. */
#include <string.h>
#include <strings.h>

#include "common/text.h"
#include "worker/archive_impl.h"

/* IBM code page 437, what a zip's names are in unless they say otherwise (APPNOTE.TXT, appendix D):
 * the upper half. */
static const uint16_t code_page_437[128] = {
    0x00c7,
    0x00fc,
    0x00e9,
    0x00e2,
    0x00e4,
    0x00e0,
    0x00e5,
    0x00e7,
    0x00ea,
    0x00eb,
    0x00e8,
    0x00ef,
    0x00ee,
    0x00ec,
    0x00c4,
    0x00c5,
    0x00c9,
    0x00e6,
    0x00c6,
    0x00f4,
    0x00f6,
    0x00f2,
    0x00fb,
    0x00f9,
    0x00ff,
    0x00d6,
    0x00dc,
    0x00a2,
    0x00a3,
    0x00a5,
    0x20a7,
    0x0192,
    0x00e1,
    0x00ed,
    0x00f3,
    0x00fa,
    0x00f1,
    0x00d1,
    0x00aa,
    0x00ba,
    0x00bf,
    0x2310,
    0x00ac,
    0x00bd,
    0x00bc,
    0x00a1,
    0x00ab,
    0x00bb,
    0x2591,
    0x2592,
    0x2593,
    0x2502,
    0x2524,
    0x2561,
    0x2562,
    0x2556,
    0x2555,
    0x2563,
    0x2551,
    0x2557,
    0x255d,
    0x255c,
    0x255b,
    0x2510,
    0x2514,
    0x2534,
    0x252c,
    0x251c,
    0x2500,
    0x253c,
    0x255e,
    0x255f,
    0x255a,
    0x2554,
    0x2569,
    0x2566,
    0x2560,
    0x2550,
    0x256c,
    0x2567,
    0x2568,
    0x2564,
    0x2565,
    0x2559,
    0x2558,
    0x2552,
    0x2553,
    0x256b,
    0x256a,
    0x2518,
    0x250c,
    0x2588,
    0x2584,
    0x258c,
    0x2590,
    0x2580,
    0x03b1,
    0x00df,
    0x0393,
    0x03c0,
    0x03a3,
    0x03c3,
    0x00b5,
    0x03c4,
    0x03a6,
    0x0398,
    0x03a9,
    0x03b4,
    0x221e,
    0x03c6,
    0x03b5,
    0x2229,
    0x2261,
    0x00b1,
    0x2265,
    0x2264,
    0x2320,
    0x2321,
    0x00f7,
    0x2248,
    0x00b0,
    0x2219,
    0x00b7,
    0x221a,
    0x207f,
    0x00b2,
    0x25a0,
    0x00a0,
};

/* All of them take two or three bytes in UTF-8. */
static struct slice from_code_page(struct slice raw, struct arena *arena)
{
    char *out = arena_alloc(arena, raw.len * 3 + 1);
    size_t n = 0;
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t c = (uint8_t)raw.data[i];
        uint16_t u = c < 128 ? c : code_page_437[c - 128];
        if (u < 0x80) {
            out[n++] = (char)u;
        } else if (u < 0x800) {
            out[n++] = (char)(0xc0 | u >> 6);
            out[n++] = (char)(0x80 | (u & 0x3f));
        } else {
            out[n++] = (char)(0xe0 | u >> 12);
            out[n++] = (char)(0x80 | (u >> 6 & 0x3f));
            out[n++] = (char)(0x80 | (u & 0x3f));
        }
    }
    return slice_of(out, n);
}

static bool has_name(const struct archive_item *item, struct slice name)
{
    for (uint32_t i = 0; i < item->n_names; i++) {
        if (strlen(item->names[i]) == name.len && memcmp(item->names[i], name.data, name.len) == 0)
            return true;
    }
    return false;
}

static void add(struct lister *lister, struct archive_item *item, struct slice utf8)
{
    if (item->names == NULL)
        item->names = arena_calloc(lister->arena, ARCHIVE_NAMES_MAX, sizeof(*item->names));
    if (utf8.len == 0 || has_name(item, utf8))
        return;
    if (item->n_names == ARCHIVE_NAMES_MAX) {
        archive_fail(lister, "an entry has too many names");
        return;
    }
    item->names[item->n_names++] = arena_memdup0(lister->arena, utf8.data, utf8.len);
    item->name = item->names[0];
    item->is_absolute = item->is_absolute || archive_leaves_folder(item->names[item->n_names - 1]);
}

/* A name without NUL. */
static void add_readings(
    struct lister *lister, struct archive_item *item, struct slice raw, bool is_utf8)
{
    bool is_valid = text_is_utf8(raw);
    if (is_valid)
        add(lister, item, raw);
    if (is_valid && (is_utf8 || text_is_ascii(raw)))
        return;
    add(lister, item, from_code_page(raw, lister->arena));
}

/* Beginning and end of a name that is too long: what it is called at its end decides what opens it.
 */
static struct slice shortened(struct slice raw, struct arena *arena)
{
    enum { HALF = ARCHIVE_NAME_BYTES / 2 };
    if (raw.len <= ARCHIVE_NAME_BYTES)
        return raw;
    char *out = arena_alloc(arena, ARCHIVE_NAME_BYTES);
    memcpy(out, raw.data, HALF);
    memcpy(out + HALF, raw.data + raw.len - HALF, HALF);
    return slice_of(out, ARCHIVE_NAME_BYTES);
}

/* For programs in C a name ends at a NUL; others go on, and leave it out or show something. */
void archive_item_name(
    struct lister *lister, struct archive_item *item, struct slice raw, bool is_utf8)
{
    raw = shortened(raw, lister->arena);
    const char *nul = raw.len > 0 ? memchr(raw.data, 0, raw.len) : NULL;
    if (nul == NULL) {
        add_readings(lister, item, raw, is_utf8);
        return;
    }
    add_readings(lister, item, slice_of(raw.data, (size_t)(nul - raw.data)), is_utf8);
    char *whole = arena_alloc(lister->arena, raw.len);
    size_t n = 0;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.data[i] != '\0')
            whole[n++] = raw.data[i];
    }
    add_readings(lister, item, slice_of(whole, n), is_utf8);
}

static bool is_separator(char c)
{
    return c == '/' || c == '\\';
}

bool archive_leaves_folder(const char *name)
{
    bool is_letter = (name[0] | 0x20) >= 'a' && (name[0] | 0x20) <= 'z';
    if (is_separator(name[0]) || (is_letter && name[1] == ':'))
        return true;
    for (const char *p = name; *p != '\0'; p++) {
        bool is_start = p == name || is_separator(p[-1]);
        if (is_start && p[0] == '.' && p[1] == '.' && (p[2] == '\0' || is_separator(p[2])))
            return true;
    }
    return false;
}

/* What the usual unpackers open, whether we can or not. */
static const char *const extensions[] = {"zip", "zipx", "rar", "7z", "tar", "gz", "tgz", "bz2",
    "tbz", "tbz2", "xz", "txz", "lzma", "tlz", "lz", "lz4", "zst", "tzst", "z", "taz", "lzh", "lha",
    "arj", "ace", "cab", "iso", "cpio", "xar"};

static bool is_named(const char *name)
{
    size_t len = strlen(name);
    while (len > 0 && (name[len - 1] == '.' || name[len - 1] == ' '))
        len--;
    const char *dot = memrchr(name, '.', len);
    if (dot == NULL)
        return false;
    size_t n = len - (size_t)(dot + 1 - name);
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        if (strlen(extensions[i]) == n && strncasecmp(dot + 1, extensions[i], n) == 0)
            return true;
    }
    return false;
}

bool archive_is_named(const char *const *names, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (is_named(names[i]))
            return true;
    }
    return false;
}

/* "x.tar.gz" without its last extension, ".tgz" as ".tar"; a name without one as it is. */
static struct slice unpacked_name(struct lister *lister, const char *name)
{
    static const char *const tars[] = {"tgz", "taz", "tbz", "tbz2", "txz", "tlz", "tzst"};
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || !is_named(name))
        return slice_text(name);
    struct slice base = slice_of(name, (size_t)(dot - name));
    for (size_t i = 0; i < sizeof(tars) / sizeof(tars[0]); i++) {
        if (strcasecmp(dot + 1, tars[i]) == 0)
            return slice_text(arena_printf(lister->arena, "%.*s.tar", (int)base.len, base.data));
    }
    return base;
}

/* The name that gzip notes (RFC 1952 section 2.3); empty when there is none. */
static struct slice gzip_name(struct slice bytes)
{
    enum { FLAGS_AT = 3, HEADER_BYTES = 10, HAS_EXTRA = 4, HAS_NAME = 8 };
    size_t at = HEADER_BYTES;
    if (bytes.len < HEADER_BYTES + 2 || memcmp(bytes.data, "\x1f\x8b", 2) != 0 ||
        (bytes.data[FLAGS_AT] & HAS_NAME) == 0)
        return slice_of(NULL, 0);
    if ((bytes.data[FLAGS_AT] & HAS_EXTRA) != 0)
        at += 2 + (size_t)(uint8_t)bytes.data[at] + ((size_t)(uint8_t)bytes.data[at + 1] << 8);
    if (at >= bytes.len)
        return slice_of(NULL, 0);
    return slice_of(bytes.data + at, strnlen(bytes.data + at, bytes.len - at));
}

void archive_item_name_unpacked(struct lister *lister, struct archive_item *item,
    const struct archive_place *place, struct slice noted)
{
    archive_item_name(lister, item, gzip_name(place->bytes), false);
    archive_item_name(lister, item, noted, false);
    for (uint32_t i = 0; i < place->n_names; i++)
        archive_item_name(lister, item, unpacked_name(lister, place->names[i]), true);
    if (item->n_names == 0)
        archive_item_name(lister, item, slice_text("data"), true);
}
