#include "worker/origin_mark.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/network.h"
#include "worker/signing.h"

/* "v=1; t=TIME; ip=ADDRESS; helo=HEX; host=HEX; h=HEX": names are hexadecimal, so that nothing of a
 * stranger's stands in the field as it is, and no server folds it elsewhere than at the blanks. */
enum { N_TAGS = 6, TEXT_MAX = 2000, HASH_CHARS = 2 * KEYED_HASH_BYTES };
static const char *const tag_names[N_TAGS] = {"v", "t", "ip", "helo", "host", "h"};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Mail servers fold anew: blanks do not count. */
static struct slice without_blanks(struct slice text, struct arena *arena)
{
    char *out = arena_alloc(arena, text.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_blank(text.data[i]))
            out[n++] = text.data[i];
    }
    return slice_of(out, n);
}

static struct slice cut(struct slice name)
{
    name.len = name.len < ORIGIN_MARK_NAME_MAX ? name.len : ORIGIN_MARK_NAME_MAX;
    return name;
}

static void hash_mark(const struct origin_mark *mark, struct slice time, struct slice message_id,
    const uint8_t key[KEYED_HASH_BYTES], char out[HASH_CHARS + 1])
{
    uint8_t hash[KEYED_HASH_BYTES];
    const struct slice pieces[] = {slice_text(ORIGIN_MARK_FIELD " 1"), time, slice_text(mark->ip),
        mark->helo, mark->hostname, message_id};
    keyed_hash(key, pieces, sizeof(pieces) / sizeof(pieces[0]), hash);
    keyed_hash_hex(hash, sizeof(hash), out);
}

void origin_mark_key(struct slice bytes, uint8_t key_out[KEYED_HASH_BYTES])
{
    static_assert((int)KEYED_HASH_BYTES == (int)SIGNING_HASH_BYTES, "a hash is a key");
    signing_hash(bytes, key_out);
}

static const char *hex_of(struct slice name, struct arena *arena)
{
    char *out = arena_alloc(arena, 2 * name.len + 1);
    out[0] = '\0';
    keyed_hash_hex((const uint8_t *)name.data, name.len, out);
    return out;
}

struct slice origin_mark_make(const struct origin_mark *given, struct slice message_id,
    const uint8_t key[KEYED_HASH_BYTES], int64_t now_secs, struct arena *arena)
{
    char hash[HASH_CHARS + 1];
    struct origin_mark mark = *given;
    mark.helo = cut(mark.helo);
    mark.hostname = cut(mark.hostname);
    const char *time = arena_printf(arena, "%" PRId64, now_secs);
    hash_mark(&mark, slice_text(time), without_blanks(message_id, arena), key, hash);
    return slice_text(arena_printf(arena, "v=1; t=%s; ip=%s; helo=%s; host=%s; h=%s", time, mark.ip,
        hex_of(mark.helo, arena), hex_of(mark.hostname, arena), hash));
}

/* ---- reading ---- */

/* The tags in their order, and nothing else. */
static bool split(struct slice text, struct slice tags[N_TAGS])
{
    for (int i = 0; i < N_TAGS; i++) {
        const size_t n = strlen(tag_names[i]);
        if (text.len <= n || memcmp(text.data, tag_names[i], n) != 0 || text.data[n] != '=')
            return false;
        text = slice_of(text.data + n + 1, text.len - n - 1);
        const char *end = i + 1 < N_TAGS ? memchr(text.data, ';', text.len) : text.data + text.len;
        if (end == NULL)
            return false;
        tags[i] = slice_of(text.data, (size_t)(end - text.data));
        if (i + 1 < N_TAGS)
            text = slice_of(end + 1, text.len - tags[i].len - 1);
    }
    return true;
}

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool name_from_hex(struct slice hex, struct arena *arena, struct slice *out)
{
    char *name = arena_alloc(arena, hex.len / 2 + 1);
    if (hex.len % 2 != 0 || hex.len > 2 * ORIGIN_MARK_NAME_MAX)
        return false;
    for (size_t i = 0; i < hex.len; i += 2) {
        const int high = nibble(hex.data[i]), low = nibble(hex.data[i + 1]);
        if (high < 0 || low < 0)
            return false;
        name[i / 2] = (char)(high << 4 | low);
    }
    *out = slice_of(name, hex.len / 2);
    return true;
}

static bool is_in_time(struct slice text, int64_t now_secs)
{
    char digits[20];
    if (text.len == 0 || text.len >= sizeof(digits))
        return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = '\0';
    if (strspn(digits, "0123456789") != text.len)
        return false;
    const int64_t secs = strtoll(digits, NULL, 10);
    return secs >= now_secs - ORIGIN_MARK_PAST_SECS && secs <= now_secs + ORIGIN_MARK_FUTURE_SECS;
}

static bool read_ip(struct slice text, char out[INET6_ADDRSTRLEN])
{
    char copy[64];
    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.data, 0, text.len) != NULL)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return network_ip_canonical(copy, out) == 0;
}

bool origin_mark_read(struct slice value, struct slice message_id,
    const uint8_t key[KEYED_HASH_BYTES], int64_t now_secs, struct arena *arena,
    struct origin_mark *out)
{
    char hash[HASH_CHARS + 1];
    struct slice tags[N_TAGS];
    if (value.len > TEXT_MAX || !split(without_blanks(value, arena), tags))
        return false;
    if (!slice_equal(tags[0], slice_text("1")) || !is_in_time(tags[1], now_secs) ||
        !read_ip(tags[2], out->ip) || !name_from_hex(tags[3], arena, &out->helo) ||
        !name_from_hex(tags[4], arena, &out->hostname) || tags[5].len != HASH_CHARS)
        return false;
    hash_mark(out, tags[1], without_blanks(message_id, arena), key, hash);
    return keyed_hash_is_same(tags[5].data, hash, HASH_CHARS);
}
