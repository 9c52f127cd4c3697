#include "worker/link_key.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "worker/link_file.h"

enum { CHUNK = 1 << 20 /* GLib takes lengths of 31 bits at a time */ };

/* The folder of a path, as a descriptor; *name_out is what stands behind it. */
static int open_folder(const char *path, bool may_make, const char **name_out)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    if (slash == NULL || slash[1] == '\0' || slash - path >= PATH_MAX)
        return -ERR_BAD;
    snprintf(folder, sizeof(folder), "%.*s", slash > path ? (int)(slash - path) : 1, path);
    *name_out = slash + 1;
    return link_folder_open(folder, may_make, 0700);
}

int link_key_get(const char *path, bool may_make, uint8_t key_out[KEYED_HASH_BYTES])
{
    const char *name = "";
    const int folder = open_folder(path, may_make, &name);
    if (folder < 0)
        return folder;
    const int rc = keyed_hash_secret(folder, name, may_make, key_out);
    const int error = errno;
    close(folder);
    errno = error;
    return rc;
}

void link_id_make(
    const uint8_t key[KEYED_HASH_BYTES], struct slice content, char out[LINK_ID_LEN + 1])
{
    uint8_t hash[KEYED_HASH_BYTES];
    keyed_hash(key, &content, 1, hash);
    keyed_hash_hex(hash, LINK_ID_LEN / 2, out);
}

bool link_id_is_good(const char *id)
{
    return strlen(id) == LINK_ID_LEN && strspn(id, "0123456789abcdef") == LINK_ID_LEN;
}

void link_sha256(struct slice bytes, char out[65])
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    while (bytes.len > 0) {
        const size_t n = bytes.len < CHUNK ? bytes.len : CHUNK;
        g_checksum_update(sum, (const guchar *)bytes.data, (gssize)n);
        bytes = slice_of(bytes.data + n, bytes.len - n);
    }
    snprintf(out, 65, "%s", g_checksum_get_string(sum));
    g_checksum_free(sum);
}
