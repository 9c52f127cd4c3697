/* Header and body in the forms that signatures see, and keys that strangers publish. Whatever the
 * bytes: the forms are fix points (made again they are the same), lines of a body end with CRLF, no
 * blank is left at the end of a relaxed line, and a limited hash tells the same length. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "worker/canon.h"
#include "worker/signing.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool is_same(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void keep(void *context, const void *data, size_t len)
{
    check(buf_put(context, data, len) == 0);
}

static void check_line_ends(struct slice text, enum canon canon)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '\n')
            continue;
        check(i > 0 && text.data[i - 1] == '\r');
        check(canon != CANON_RELAXED || i < 2 ||
              (text.data[i - 2] != ' ' && text.data[i - 2] != '\t'));
    }
    check(text.len < 2 || memcmp(text.data + text.len - 2, "\r\n", 2) == 0);
}

static void try_body(struct slice body, enum canon canon)
{
    uint8_t hash[SIGNING_HASH_BYTES], again[SIGNING_HASH_BYTES];
    struct buf first, second;
    buf_init(&first, SIZE_MAX);
    buf_init(&second, SIZE_MAX);
    canon_body(body, canon, keep, &first);
    canon_body(buf_slice(&first), canon, keep, &second);
    check(is_same(&first, &second));
    check_line_ends(buf_slice(&first), canon);
    check(signing_hash_body(body, canon, UINT64_MAX, hash) == first.len);
    check(signing_hash_body(body, canon, first.len, again) == first.len);
    check(memcmp(hash, again, sizeof(hash)) == 0);
    signing_hash(buf_slice(&first), again);
    check(memcmp(hash, again, sizeof(hash)) == 0);
    buf_clear(&first);
    buf_clear(&second);
}

static void try_header(struct slice field, enum canon canon)
{
    struct buf first, second;
    buf_init(&first, SIZE_MAX);
    buf_init(&second, SIZE_MAX);
    check(canon_header(field, canon, &first) == 0);
    check(canon_header(buf_slice(&first), canon, &second) == 0);
    check(is_same(&first, &second));
    buf_clear(&first);
    buf_clear(&second);
}

static void try_key(struct slice key)
{
    char signature[64];
    unsigned bits;
    memset(signature, 0xff, sizeof(signature)); /* no signature of anything, whatever the key */
    for (int kind = SIGNING_RSA; kind <= SIGNING_ED25519; kind++)
        check(signing_verify((enum signing_kind)kind, key, slice_of("x", 1),
                  slice_of(signature, sizeof(signature)), &bits) != SIGNING_GOOD);
}

/* The first byte says which. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    const struct slice rest = slice_of((const char *)data + 1, len - 1);
    switch (data[0] % 3) {
    case 0:
        try_body(rest, CANON_SIMPLE);
        try_body(rest, CANON_RELAXED);
        break;
    case 1:
        try_header(rest, CANON_SIMPLE);
        try_header(rest, CANON_RELAXED);
        break;
    default:
        try_key(rest);
    }
    return 0;
}
