/*
 * Compressed RTF, as mail programs keep it ([MS-OXRTFCP]): runs of eight literals or references
 * into the last 4096 bytes, which begin as a text that every such document has. The sizes in its
 * header are not believed.
 */
#include <string.h>

#include "worker/mime_impl.h"

enum {
    HEADER_BYTES = 16, /* size, raw size, kind, checksum */
    KIND_AT = 8,
    WINDOW = 4096, /* a power of two */
    SHORTEST = 2,
};

static const char prefix[] =
    "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern "
    "\\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0"
    "\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";
enum { PREFIX_BYTES = sizeof(prefix) - 1 };

struct unpacker {
    const uint8_t *in;
    size_t len, pos;
    uint8_t *out; /* NULL: only counted */
    size_t n, most;
    bool is_ended; /* as it should */
};

/* The byte at an offset of the window, as it is when n bytes came out. */
static uint8_t window_at(const struct unpacker *u, size_t offset)
{
    const size_t written = PREFIX_BYTES + u->n;
    const size_t back = (written - offset - 1) % WINDOW + 1; /* bytes ago, 1 … WINDOW */
    if (back > written)
        return 0; /* nothing was written there yet */
    const size_t at = written - back;
    return at < PREFIX_BYTES ? (uint8_t)prefix[at] : u->out[at - PREFIX_BYTES];
}

static void put_reference(struct unpacker *u, unsigned token)
{
    const size_t offset = token >> 4;
    size_t len = (token & 15) + SHORTEST;
    if (offset == (PREFIX_BYTES + u->n) % WINDOW) {
        u->is_ended = true;
        return;
    }
    for (size_t i = 0; i < len && u->n < u->most; i++) {
        if (u->out != NULL)
            u->out[u->n] = window_at(u, (offset + i) % WINDOW);
        u->n++;
    }
}

/* A control byte, and what its bits say of what follows. False at the end of the bytes. */
static bool unpack_run(struct unpacker *u)
{
    const unsigned control = u->in[u->pos++];
    for (unsigned bit = 0; bit < 8 && !u->is_ended && u->n < u->most; bit++) {
        const bool is_reference = (control >> bit & 1) != 0;
        if (u->len - u->pos < (is_reference ? 2U : 1U))
            return false;
        if (is_reference) {
            put_reference(u, (unsigned)u->in[u->pos] << 8 | u->in[u->pos + 1]);
            u->pos += 2;
            continue;
        }
        if (u->out != NULL)
            u->out[u->n] = u->in[u->pos];
        u->pos++;
        u->n++;
    }
    return true;
}

static size_t unpack(struct slice in, uint8_t *out, size_t most, bool *is_ended_out)
{
    struct unpacker u = {.in = (const uint8_t *)in.data, .len = in.len, .out = out, .most = most};
    while (u.pos < u.len && !u.is_ended && u.n < u.most && unpack_run(&u)) {
    }
    *is_ended_out = u.is_ended;
    return u.n;
}

bool mime_rtf_unpack(struct slice packed, size_t most, struct arena *arena, struct slice *out)
{
    *out = slice_of("", 0);
    if (packed.len < HEADER_BYTES)
        return false;
    const struct slice rest = slice_of(packed.data + HEADER_BYTES, packed.len - HEADER_BYTES);
    if (memcmp(packed.data + KIND_AT, "MELA", 4) == 0) { /* not compressed */
        *out = slice_of(rest.data, rest.len < most ? rest.len : most);
        return true;
    }
    if (memcmp(packed.data + KIND_AT, "LZFu", 4) != 0)
        return false;
    bool is_ended;
    const size_t n = unpack(rest, NULL, most, &is_ended);
    uint8_t *bytes = arena_alloc(arena, n + 1);
    bool is_ended_again;
    *out = slice_of(bytes, unpack(rest, bytes, n, &is_ended_again));
    return is_ended || n == most;
}
