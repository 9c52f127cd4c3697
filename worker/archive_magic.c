/* What the first bytes of a file say of it: an archive, or one file that is compressed. */
#include <string.h>

#include "worker/archive_impl.h"

static const struct magic {
    const char *bytes;
    size_t len, offset;
    bool is_packed; /* one file comes out */
} magics[] = {
    {"PK\x03\x04", 4, 0, false},
    {"PK\x05\x06", 4, 0, false},
    {"PK\x07\x08", 4, 0, false},
    {"Rar!\x1a\x07", 6, 0, false},
    {"7z\xbc\xaf\x27\x1c", 6, 0, false},
    {"\x1f\x8b", 2, 0, true},
    {"\x1f\x9d", 2, 0, true},
    {"BZh", 3, 0, true},
    {"\xfd"
     "7zXZ",
        5, 0, true},
    {"\x28\xb5\x2f\xfd", 4, 0, true},
    {"\x04\x22\x4d\x18", 4, 0, true},
    {"LZIP", 4, 0, true},
    {"MSCF", 4, 0, false},
    {"\x60\xea", 2, 0, false},
    {"**ACE**", 7, 7, false},
    {"-lh", 3, 2, false},
    {"xar!", 4, 0, false},
    {"ustar", 5, 257, false},
    {"0707", 4, 0, false},
    {"!<arch>\n", 8, 0, false},
    {"\xed\xab\xee\xdb", 4, 0, false},
};

static const struct magic *find(struct slice head, bool is_packed)
{
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        const struct magic *magic = &magics[i];
        if ((magic->is_packed || !is_packed) && head.len >= magic->offset + magic->len &&
            memcmp(head.data + magic->offset, magic->bytes, magic->len) == 0)
            return magic;
    }
    return NULL;
}

bool archive_has_magic(struct slice head)
{
    return find(head, false) != NULL;
}

bool archive_is_packed(struct slice head)
{
    return find(head, true) != NULL;
}
