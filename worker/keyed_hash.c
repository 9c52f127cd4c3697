#include "worker/keyed_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/io.h"

/* ---- the secret ---- */

static int read_secret(int folder, const char *name, uint8_t *out)
{
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ERR_NOTFOUND : errno == ELOOP ? -ERR_BAD : -ERR_SYSTEM;
    struct stat st;
    int rc = fstat(fd, &st) == 0 ? 0 : -ERR_SYSTEM;
    const bool is_ours = rc == 0 && S_ISREG(st.st_mode) && st.st_size == KEYED_HASH_BYTES &&
                         (st.st_mode & S_IRWXO) == 0;
    if (rc == 0)
        rc = is_ours ? io_read_at(fd, out, KEYED_HASH_BYTES, 0) : -ERR_BAD;
    close(fd);
    return rc == -ERR_SHORT ? -ERR_BAD : rc;
}

static int write_secret(int folder, const char *name, struct slice bytes)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -ERR_SYSTEM;
    int rc = io_write_at(fd, bytes, 0);
    if (rc == 0 && fsync(fd) != 0)
        rc = -ERR_SYSTEM;
    struct stat st; /* root gives it to whom the folder belongs to, unless it is a worker */
    if (rc == 0 && geteuid() == 0 && fstat(folder, &st) == 0 && st.st_uid != 0 &&
        fchown(fd, st.st_uid, st.st_gid) != 0 && errno != EPERM)
        rc = -ERR_SYSTEM;
    close(fd);
    return rc;
}

/* A link, unlike a rename, does not take the place of one that another process has just made. */
static int make_secret(int folder, const char *name)
{
    uint8_t bytes[KEYED_HASH_BYTES + 8];
    char hex[17], temporary[64];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return -ERR_SYSTEM;
    keyed_hash_hex(bytes + KEYED_HASH_BYTES, 8, hex);
    snprintf(temporary, sizeof(temporary), ".tmp-%s", hex);
    int rc = write_secret(folder, temporary, slice_of(bytes, KEYED_HASH_BYTES));
    if (rc == 0 && linkat(folder, temporary, folder, name, 0) != 0 && errno != EEXIST)
        rc = -ERR_SYSTEM;
    const int saved = errno;
    (void)unlinkat(folder, temporary, 0);
    if (rc == 0 && fsync(folder) != 0)
        return -ERR_SYSTEM;
    errno = saved;
    return rc;
}

int keyed_hash_secret(
    int folder, const char *name, bool may_make, uint8_t secret_out[KEYED_HASH_BYTES])
{
    int rc = read_secret(folder, name, secret_out);
    if (rc != -ERR_NOTFOUND || !may_make)
        return rc;
    rc = make_secret(folder, name);
    return rc == 0 ? read_secret(folder, name, secret_out) : rc;
}

/* ---- the hash ---- */

/* GLib takes lengths of 31 bits. */
static void add(GHmac *hmac, struct slice piece)
{
    while (piece.len > 0) {
        const size_t n = piece.len < 1 << 20 ? piece.len : 1 << 20;
        g_hmac_update(hmac, (const guchar *)piece.data, (gssize)n);
        piece = slice_of(piece.data + n, piece.len - n);
    }
}

void keyed_hash(const uint8_t secret[KEYED_HASH_BYTES], const struct slice *pieces, size_t n,
    uint8_t out[KEYED_HASH_BYTES])
{
    GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA256, secret, KEYED_HASH_BYTES);
    for (size_t i = 0; i < n; i++) {
        uint8_t head[8];
        for (int k = 0; k < 8; k++)
            head[k] = (uint8_t)((uint64_t)pieces[i].len >> (56 - 8 * k));
        add(hmac, slice_of(head, sizeof(head)));
        add(hmac, pieces[i]);
    }
    gsize len = KEYED_HASH_BYTES;
    g_hmac_get_digest(hmac, out, &len);
    g_hmac_unref(hmac);
}

void keyed_hash_name(const uint8_t hash[KEYED_HASH_BYTES], char out[KEYED_HASH_NAME_CHARS + 1])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint32_t bits = 0;
    unsigned n_bits = 0, at = 0;
    for (int i = 0; i < KEYED_HASH_NAME_CHARS; i++) {
        if (n_bits < 5) {
            bits = (bits << 8 | hash[at++]) & 0xffff;
            n_bits += 8;
        }
        n_bits -= 5;
        out[i] = letters[(bits >> n_bits) & 31];
    }
    out[KEYED_HASH_NAME_CHARS] = '\0';
}

void keyed_hash_hex(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

bool keyed_hash_is_same(const char *a, const char *b, size_t n)
{
    unsigned char differs = 0;
    for (size_t i = 0; i < n; i++)
        differs |= (unsigned char)(a[i] ^ b[i]);
    return differs == 0;
}
