/* The mark of released mail: X-Postern-Released: ID; t=SECONDS; h=HEX. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/header.h"
#include "common/xalloc.h"
#include "worker/job.h"
#include "worker/trap.h"

enum { HASH_CHARS = 2 * KEYED_HASH_BYTES, CLOCKS_DIFFER_SECS = 600, MARKS_TRIED = 3 };

/*
 * The body with its lines ended alike, and without empty ones at its end: what hands mail on may do
 * that otherwise than we were told. Malloc'd.
 */
static char *plain_body(struct slice body, size_t *len_out)
{
    char *text = xmalloc(body.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < body.len; i++) {
        const char c = body.data[i];
        if (c == '\n' && i > 0 && body.data[i - 1] == '\r')
            continue;
        text[n++] = c == '\r' ? '\n' : c;
    }
    while (n > 0 && text[n - 1] == '\n')
        n--;
    *len_out = n;
    return text;
}

static void hash_mark(const uint8_t *secret, const char *head, struct slice body, char *hex_out)
{
    uint8_t hash[KEYED_HASH_BYTES];
    size_t len;
    char *text = plain_body(body, &len);
    const struct slice pieces[] = {slice_text(head), slice_of(text, len)};
    keyed_hash(secret, pieces, 2, hash);
    keyed_hash_hex(hash, sizeof(hash), hex_out);
    free(text);
}

static void put_head(char *out, size_t out_bytes, const char *id, int64_t time_secs)
{
    snprintf(out, out_bytes, "%s; t=%lld; h=", id, (long long)time_secs);
}

void trap_mark_make(const uint8_t secret[KEYED_HASH_BYTES], const char *id, int64_t time_secs,
    struct slice body, char out[TRAP_MARK_MAX])
{
    char head[TRAP_MARK_MAX - HASH_CHARS], hex[HASH_CHARS + 1];
    put_head(head, sizeof(head), id, time_secs);
    hash_mark(secret, head, body, hex);
    snprintf(out, TRAP_MARK_MAX, "%s%s", head, hex);
}

/* Reads "ID; t=SECONDS; h=HEX", blanks and folding before and between. */
static bool read_mark(struct slice value, char *id, int64_t *time_secs, char *hex)
{
    char text[TRAP_MARK_MAX + 32];
    long long secs = 0;
    int end = 0;
    if (value.len >= sizeof(text) || memchr(value.data, '\0', value.len) != NULL)
        return false;
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    if (sscanf(text, " %24[a-z2-7]; t=%12lld; h=%64[0-9a-f] %n", id, &secs, hex, &end) != 3 ||
        text[end] != '\0')
        return false;
    *time_secs = secs;
    return trap_id_is_good(id) && strlen(hex) == HASH_CHARS;
}

static bool is_fresh(int64_t time_secs)
{
    const int64_t age = (int64_t)time(NULL) - time_secs;
    return age >= -CLOCKS_DIFFER_SECS && age <= (int64_t)TRAP_MARK_DAYS * 86400;
}

static bool has_hash(struct job *job, const uint8_t *secret, struct slice value)
{
    char id[TRAP_ID_CHARS + 1], hex[HASH_CHARS + 1];
    char head[TRAP_MARK_MAX - HASH_CHARS], wanted[HASH_CHARS + 1];
    int64_t time_secs;
    if (!read_mark(value, id, &time_secs, hex) || !is_fresh(time_secs))
        return false;
    put_head(head, sizeof(head), id, time_secs);
    hash_mark(secret, head, job_body(job), wanted);
    return keyed_hash_is_same(wanted, hex, HASH_CHARS);
}

/* One of them is enough: mail that is released again after it was kept again has two. */
bool trap_mark_is_good(struct job *job, const char *field, const uint8_t secret[KEYED_HASH_BYTES])
{
    const struct header_list *headers = job_headers(job);
    for (uint32_t nth = 1; nth <= MARKS_TRIED; nth++) {
        const struct header_field *mark = header_find(headers, slice_text(field), nth);
        if (mark == NULL)
            return false;
        if (has_hash(job, secret, mark->value))
            return true;
    }
    return false;
}

bool trap_mark_is_on(struct job *job)
{
    uint8_t secret[KEYED_HASH_BYTES];
    struct trap_store *store = NULL;
    if (header_find(job_headers(job), slice_text(TRAP_MARK_NAME), 1) == NULL)
        return false;
    int rc = trap_store_open(job->conf, false, &store);
    if (rc == 0)
        rc = store->calls->secret(store, secret);
    trap_store_close(store);
    return rc == 0 && trap_mark_is_good(job, TRAP_MARK_NAME, secret);
}
