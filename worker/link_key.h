/*
 * The key that makes the names of files behind links unguessable, and the names: the first 160 bits
 * of a keyed hash (keyed_hash.h) of the content, in hexadecimal. Who has the content and not the
 * key cannot tell where it is; the same content has the same name, so that a message that is
 * filtered twice makes one file.
 */
#ifndef POSTERN_WORKER_LINK_KEY_H
#define POSTERN_WORKER_LINK_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "worker/keyed_hash.h"

enum { LINK_ID_LEN = 40 };

/*
 * Reads the key from its file; makes it, durably and once for all processes, when there is none and
 * may_make, and the folder that it is in (not those above). Returns 0; -ERR_NOTFOUND (and may not
 * make it); -ERR_BAD (it is no plain file of KEYED_HASH_BYTES bytes that others cannot read);
 * -ERR_SYSTEM.
 */
int link_key_get(const char *path, bool may_make, uint8_t key_out[KEYED_HASH_BYTES]);
/* The name of a content: LINK_ID_LEN lower-case hexadecimal digits. */
void link_id_make(
    const uint8_t key[KEYED_HASH_BYTES], struct slice content, char out[LINK_ID_LEN + 1]);
bool link_id_is_good(const char *id);
/* SHA-256 of bytes in hexadecimal. */
void link_sha256(struct slice bytes, char out[65]);

#endif
