/*
 * Text at the end of a stranger's body: never a crash; what was there stays in front (in base64 up
 * to its last whole group), the new end is a line, and the Content-Type that goes with it has no
 * line end. First byte: transfer encoding and charset; up to the first NUL: the text; then: the
 * body.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/append.h"
#include "worker/content_type.h"

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

static void check_appended(const struct append *append, struct slice out)
{
    const struct slice body = append->body;
    if (strcmp(append->encoding, "base64") != 0)
        check(out.len > body.len && (body.len == 0 || memcmp(out.data, body.data, body.len) == 0));
    check(out.len >= 2 && memcmp(out.data + out.len - 2, "\r\n", 2) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const encodings[] = {"", "8bit", "quoted-printable", "base64"};
    static const char *const charsets[] = {
        "", "utf-8", "iso-8859-1", "iso-2022-jp", "gb18030", "shift_jis", "unheard-of", "koi8-r"};
    if (len == 0)
        return 0;
    const uint8_t *nul = memchr(data + 1, '\0', len - 1);
    const size_t text_len = nul != NULL ? (size_t)(nul - data - 1) : len - 1;
    const size_t body_at = nul != NULL ? text_len + 2 : len;
    struct append append = {.text = slice_of(data + 1, text_len),
        .body = slice_of(data + body_at, len - body_at),
        .encoding = encodings[data[0] & 3],
        .charset = charsets[data[0] >> 2 & 7]};
    struct arena *arena = arena_new();
    struct buf out;
    buf_init(&out, 1 << 20);
    check_content_type(append.body, arena);
    if (text_is_utf8(append.text) && append_to_body(&append, arena, &out) == NULL)
        check_appended(&append, buf_slice(&out));
    buf_clear(&out);
    arena_free(arena);
    return 0;
}
