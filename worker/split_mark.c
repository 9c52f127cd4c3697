#include "worker/split_mark.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/address.h"
#include "common/err.h"
#include "common/header.h"
#include "worker/client.h"
#include "worker/job.h"
#include "worker/link_key.h"

enum { HASH_CHARS = 2 * KEYED_HASH_BYTES, HEAD_MAX = SPLIT_MARK_MAX - HASH_CHARS };

int split_mark_key(const struct conf *conf, bool may_make, uint8_t key_out[KEYED_HASH_BYTES])
{
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof(path), "%s/smtp.key", conf->worker.state_dir);
    return n < (int)sizeof(path) ? link_key_get(path, may_make, key_out) : -ERR_BAD;
}

static void hash_mark(
    const uint8_t *key, const char *head, struct slice sender, char out[HASH_CHARS + 1])
{
    uint8_t hash[KEYED_HASH_BYTES];
    const struct slice pieces[] = {slice_text(SPLIT_MARK_FIELD), slice_text(head), sender};
    keyed_hash(key, pieces, sizeof(pieces) / sizeof(pieces[0]), hash);
    keyed_hash_hex(hash, sizeof(hash), out);
}

static void put_head(char *out, const struct split_mark *mark, int64_t secs)
{
    snprintf(out, HEAD_MAX, "v=1; t=%lld; by=%s; way=%s; h=", (long long)secs,
        mark->is_by_domain ? "domain" : "recipient", mark->is_out ? "out" : "in");
}

void split_mark_make(const struct split_mark *mark, struct slice sender,
    const uint8_t key[KEYED_HASH_BYTES], int64_t now_secs, char out[SPLIT_MARK_MAX])
{
    char head[HEAD_MAX], hash[HASH_CHARS + 1];
    put_head(head, mark, now_secs);
    hash_mark(key, head, sender, hash);
    snprintf(out, SPLIT_MARK_MAX, "%s%s", head, hash);
}

/* ---- reading ---- */

/* Blanks and folding may stand before and between. */
static bool read_value(
    struct slice value, struct split_mark *mark, int64_t *secs_out, char hex[HASH_CHARS + 1])
{
    char text[SPLIT_MARK_MAX + 32], by[10], way[4];
    long long secs = 0;
    int end = 0;
    if (value.len >= sizeof(text) || memchr(value.data, '\0', value.len) != NULL)
        return false;
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    if (sscanf(text, " v=1; t=%12lld; by=%9[a-z]; way=%3[a-z]; h=%64[0-9a-f] %n", &secs, by, way,
            hex, &end) != 4 ||
        text[end] != '\0')
        return false;
    mark->is_by_domain = strcmp(by, "domain") == 0;
    mark->is_out = strcmp(way, "out") == 0;
    *secs_out = secs;
    return (mark->is_by_domain || strcmp(by, "recipient") == 0) &&
           (mark->is_out || strcmp(way, "in") == 0) && strlen(hex) == HASH_CHARS;
}

static bool is_fresh(int64_t secs)
{
    const int64_t now = (int64_t)time(NULL);
    return secs >= now - SPLIT_MARK_PAST_SECS && secs <= now + SPLIT_MARK_FUTURE_SECS;
}

bool split_mark_get(struct job *job, struct split_mark *out)
{
    uint8_t key[KEYED_HASH_BYTES];
    char head[HEAD_MAX], hash[HASH_CHARS + 1], hex[HASH_CHARS + 1];
    int64_t secs;
    if (job->conf->smtp.reinject[0] == '\0' || !client_is_trusted(job))
        return false;
    const struct header_field *field =
        header_find(job_headers(job), slice_text(SPLIT_MARK_FIELD), 1);
    if (field == NULL)
        return false;
    if (!read_value(field->value, out, &secs, hex) || !is_fresh(secs) ||
        split_mark_key(job->conf, false, key) != 0)
        return false;
    put_head(head, out, secs);
    hash_mark(key, head, address_strip(job->envelope.sender), hash);
    return keyed_hash_is_same(hex, hash, HASH_CHARS);
}
