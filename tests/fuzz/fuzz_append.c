/*
 * Text or HTML at the end of a stranger's body: never a crash; decoded, the new body is the old one
 * with something put into it in one place, for text at its end; the Content-Type that goes with it
 * has no line end. First byte: transfer encoding, charset, HTML or not, format=flowed or not,
 * nested or not; up to the first NUL: the text; then: the body.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/append.h"
#include "worker/content_type.h"
#include "worker/splice.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_content_type(struct slice value, struct arena *arena)
{
    const struct slice changed = content_type_with_charset(value, "utf-8", arena);
    check(!text_has_line_break_or_nul(changed));
    content_type_charset(value, arena);
    content_type_is(value, "text/plain");
}

static struct slice decoded(struct slice body, const char *encoding, struct arena *arena)
{
    struct splice_body b = {.encoded = body, .encoding = encoding, .line_end = "\r\n"};
    check(splice_open(&b, arena));
    return b.decoded;
}

static void check_appended(const struct append *append, struct slice out, struct arena *arena)
{
    const char *encoding = append->new_encoding != NULL ? append->new_encoding : append->encoding;
    const struct slice before = decoded(append->body, append->encoding, arena);
    const struct slice after = decoded(out, encoding, arena);
    check(after.len >= before.len);
    size_t front = 0, back = 0;
    while (front < before.len && before.data[front] == after.data[front])
        front++;
    while (back < before.len - front &&
           before.data[before.len - back - 1] == after.data[after.len - back - 1])
        back++;
    check(front + back == before.len);
    check(append->is_html || front == before.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const encodings[] = {"", "8bit", "quoted-printable", "base64"};
    static const char *const charsets[] = {
        "", "utf-8", "iso-8859-1", "iso-2022-jp", "gb18030", "utf-16le", "unheard-of", "koi8-r"};
    if (len == 0)
        return 0;
    const uint8_t *nul = memchr(data + 1, '\0', len - 1);
    const size_t text_len = nul != NULL ? (size_t)(nul - data - 1) : len - 1;
    const size_t body_at = nul != NULL ? text_len + 2 : len;
    struct append append = {.text = slice_of(data + 1, text_len),
        .body = slice_of(data + body_at, len - body_at),
        .line_end = "\r\n",
        .encoding = encodings[data[0] & 3],
        .charset = charsets[data[0] >> 2 & 7],
        .is_html = (data[0] & 32) != 0,
        .is_flowed = (data[0] & 64) != 0,
        .is_top = (data[0] & 128) == 0};
    struct arena *arena = arena_new();
    struct buf out;
    buf_init(&out, 1 << 20);
    check_content_type(append.body, arena);
    if (text_is_utf8(append.text) && append_to_body(&append, arena, &out) == NULL)
        check_appended(&append, buf_slice(&out), arena);
    append_is_there(append.body, &append.text, 1, arena);
    append_is_there(append.text, &append.body, 1, arena); /* with NULs */
    buf_clear(&out);
    arena_free(arena);
    return 0;
}
