/* Uuencode, and the "Q" of encoded words, on memory. Decoders never fail: what cannot be read is
 * skipped or kept as it is, as mail readers do. */
#include "worker/mime_impl.h"

#include <gmime/gmime.h>

#include "common/text.h"

size_t mime_word_q_decode(const char *text, size_t n, uint8_t *out)
{
    const uint8_t *in = (const uint8_t *)text;
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        int high = in[i] == '=' && i + 2 < n ? text_hex_digit(text[i + 1]) : -1;
        int low = high >= 0 ? text_hex_digit(text[i + 2]) : -1;
        if (low >= 0) {
            out[len++] = (uint8_t)(high << 4 | low);
            i += 2;
        } else {
            out[len++] = in[i] == '_' ? ' ' : in[i];
        }
    }
    return len;
}

/* Each byte plus 42; critical ones plus 64 more behind a "=". Lines that begin with "=y" are about
 * the file. (yEnc, revision 1.3) */
size_t mime_yenc_decode(const char *in, size_t n, uint8_t *out)
{
    struct slice all = slice_of(in, n);
    size_t len = 0;
    for (size_t pos = 0; pos < n;) {
        struct slice line = mime_line_next(all, &pos, false);
        if (line.len >= 2 && line.data[0] == '=' && line.data[1] == 'y')
            continue;
        for (size_t i = 0; i < line.len; i++) {
            bool is_escaped = line.data[i] == '=' && i + 1 < line.len;
            uint8_t c = (uint8_t)line.data[is_escaped ? ++i : i];
            out[len++] = (uint8_t)(c - 42 - (is_escaped ? 64 : 0));
        }
    }
    return len;
}

/* Behind the "begin 644 name" line; the start when there is none. */
static size_t uu_data_start(const char *in, size_t n)
{
    struct slice all = slice_of(in, n);
    for (size_t pos = 0; pos < n;) {
        struct slice line = mime_line_next(all, &pos, false);
        if (line.len > 6 && memcmp(line.data, "begin ", 6) == 0)
            return pos;
    }
    return 0;
}

size_t mime_uu_decode(const char *in, size_t n, uint8_t *out)
{
    size_t start = uu_data_start(in, n);
    GMimeEncoding encoding;
    g_mime_encoding_init_decode(&encoding, GMIME_CONTENT_ENCODING_UUENCODE);
    return g_mime_encoding_step(&encoding, in + start, n - start, (char *)out);
}
