/* A message of any bytes, and everything that a filter may ask about it: never a crash, and what
 * holds for every message. The first byte picks small limits or the usual ones. */
#include "tests/fuzz/fuzz.h"

#include "tests/unit/mime_fixture.h"

static struct mime_fixture *fixture(bool is_small)
{
    static const char *const limits[] = {"worker.max_parts=5", "worker.max_depth=2",
        "worker.max_headers=10", "worker.max_header_line=1024", "worker.max_decoded=65536",
        "worker.max_text=1024", NULL};
    static struct mime_fixture fixtures[2];
    struct mime_fixture *f = &fixtures[is_small];
    if (f->arena == NULL)
        mime_fixture_open(f, is_small ? limits : NULL);
    return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct mime_fixture *f = fixture((data[0] & 1) != 0);
    mime_fixture_read(f, data + 1, len - 1);
    mime_fixture_check(f);
    struct slice text = mime_message_text(f->mime);
    struct slice value =
        mime_encode_header(slice_of(text.data, text.len < 500 ? text.len : 500), 7, f->arena);
    mime_decode_header(value, f->arena);
    return 0;
}
