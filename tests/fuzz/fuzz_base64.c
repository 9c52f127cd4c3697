/* Any bytes as base64: every way of decoding gives the same bytes and the same defect, whole or in
 * pieces. The first byte is the length of the pieces. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "worker/mime_base64.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static size_t decode(
    struct mime_base64 *decoder, const char *in, size_t n, size_t piece, uint8_t *out)
{
    size_t len = 0;
    for (size_t pos = 0; pos < n; pos += piece) {
        size_t left = n - pos;
        len += mime_base64_step(decoder, in + pos, left < piece ? left : piece, out + len);
    }
    return len + mime_base64_end(decoder, out + len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2)
        return 0;
    const char *text = (const char *)data + 1;
    size_t n = len - 1, piece = data[0] == 0 ? n : data[0];
    uint8_t *wanted = malloc(n + 3), *got = malloc(n + 3);
    check(wanted != NULL && got != NULL);
    struct mime_base64 plain, other;
    mime_base64_init(&plain, MIME_BASE64_PLAIN);
    size_t wanted_len = decode(&plain, text, n, n, wanted);
    for (int way = MIME_BASE64_PLAIN; way <= (int)mime_base64_best(); way++) {
        mime_base64_init(&other, (enum mime_base64_way)way);
        check(decode(&other, text, n, piece, got) == wanted_len);
        check(memcmp(got, wanted, wanted_len) == 0 && other.is_broken == plain.is_broken);
    }
    free(wanted);
    free(got);
    return 0;
}
