/*
 * posternctl urls expire: removes files whose time is over, then those not used for longest until
 * urls.max_bytes holds, entries that lost their file, and what processes have left half done. Looks
 * at all entries first, without a lock; each one is looked at again, with it, before it goes: a
 * worker may have used it meanwhile.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/xalloc.h"
#include "ctl/render.h"
#include "ctl/urls.h"
#include "worker/link_file.h"
#include "worker/link_store.h"

enum { LEFT_OVER_SECS = 3600 /* nobody writes one file for so long */ };

enum reason { REASON_NONE = 0, REASON_EXPIRED, REASON_MAX_BYTES, REASON_LOST };

static const char *const reason_names[] = {[REASON_NONE] = "",
    [REASON_EXPIRED] = "expired",
    [REASON_MAX_BYTES] = "max_bytes",
    [REASON_LOST] = "lost"};

struct candidate {
    char name[LINK_INDEX_NAME_MAX];
    int64_t used, expires;
    uint64_t size;
    enum reason reason;
};

struct expiry {
    bool is_json, is_rehearsal;
    int64_t now;
    struct candidate *items;
    size_t n, cap;
    char **directories; /* each once */
    size_t n_directories;
    uint64_t n_removed, removed_bytes, n_left, left_bytes, n_half_done;
    bool has_failed;
};

/* ---- looking ---- */

static void note_directory(struct expiry *expiry, const char *directory)
{
    for (size_t i = 0; i < expiry->n_directories; i++) {
        if (strcmp(expiry->directories[i], directory) == 0) {
            return;
        }
    }
    expiry->directories =
        xreallocarray(expiry->directories, expiry->n_directories + 1, sizeof(*expiry->directories));
    expiry->directories[expiry->n_directories++] = xstrdup(directory);
}

static enum reason reason_of(const struct expiry *expiry, const json_t *entry)
{
    const int64_t expires = render_number_of(entry, "expires");
    if (expires != 0 && expires <= expiry->now) {
        return REASON_EXPIRED;
    }
    const bool is_old = render_number_of(entry, "used") <= expiry->now - LEFT_OVER_SECS;
    return is_old && !link_has_file(entry) ? REASON_LOST : REASON_NONE;
}

static bool on_entry(int shard, const char *name, json_t *entry, void *context)
{
    struct expiry *expiry = context;
    (void)shard;
    if (expiry->n == expiry->cap) {
        expiry->cap = expiry->cap > 0 ? 2 * expiry->cap : 64;
        expiry->items = xreallocarray(expiry->items, expiry->cap, sizeof(*expiry->items));
    }
    struct candidate *candidate = &expiry->items[expiry->n++];
    *candidate = (struct candidate){.used = render_number_of(entry, "used"),
        .expires = render_number_of(entry, "expires"),
        .size = (uint64_t)render_number_of(entry, "size"),
        .reason = reason_of(expiry, entry)};
    snprintf(candidate->name, sizeof(candidate->name), "%s", name);
    note_directory(expiry, render_text_of(entry, "directory"));
    return true;
}

static int by_use(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->used != b->used) {
        return a->used < b->used ? -1 : 1;
    }
    return strcmp(a->name, b->name);
}

/* Those that stay, and of them as many as must go for the bound, the least used first. */
static void choose_for_bytes(struct expiry *expiry, int64_t max_bytes)
{
    uint64_t bytes = 0;
    if (expiry->n > 1) {
        qsort(expiry->items, expiry->n, sizeof(*expiry->items), by_use);
    }
    for (size_t i = 0; i < expiry->n; i++) {
        bytes += expiry->items[i].reason == REASON_NONE ? expiry->items[i].size : 0;
    }
    for (size_t i = 0; i < expiry->n && max_bytes > 0 && bytes > (uint64_t)max_bytes; i++) {
        struct candidate *candidate = &expiry->items[i];
        if (candidate->reason == REASON_NONE) {
            candidate->reason = REASON_MAX_BYTES;
            bytes -= candidate->size;
        }
    }
}

/* ---- removing ---- */

static void tell(
    const struct expiry *expiry, const struct candidate *candidate, const json_t *entry)
{
    const char *reason = reason_names[candidate->reason];
    if (expiry->is_json) {
        json_t *row = json_pack("{s:s, s:s, s:I, s:s, s:s}", "id", render_text_of(entry, "id"),
            "directory", render_text_of(entry, "directory"), "size", (json_int_t)candidate->size,
            "filename", urls_newest(entry, "filename"), "reason", reason);
        render_json_line(stdout, row);
        json_decref(row);
        return;
    }
    printf("%s %s ", render_text_of(entry, "id"), reason);
    render_escaped(stdout, slice_text(urls_newest(entry, "filename")));
    putchar('\n');
}

/* With the lock, and what the entry says now. 0, or -ERR_AGAIN: it was used meanwhile. */
static int remove_locked(struct expiry *expiry, int shard, const struct candidate *candidate)
{
    json_t *entry = NULL;
    int rc = link_index_read(shard, candidate->name, &entry);
    if (rc != 0) {
        return rc;
    }
    const bool is_same = render_number_of(entry, "used") == candidate->used &&
                         render_number_of(entry, "expires") == candidate->expires;
    rc = is_same ? 0 : -ERR_AGAIN;
    if (rc == 0 && !expiry->is_rehearsal) {
        rc = link_remove(shard, candidate->name, entry);
    }
    if (rc == 0) {
        tell(expiry, candidate, entry);
    }
    json_decref(entry);
    return rc;
}

static int remove_one(struct expiry *expiry, int index, const struct candidate *candidate)
{
    const int shard = link_index_shard(index, candidate->name, false);
    if (shard < 0) {
        return shard;
    }
    int rc = link_folder_lock(shard, clock_now_ms() + URLS_LOCK_MS);
    if (rc == 0) {
        rc = remove_locked(expiry, shard, candidate);
    }
    close(shard);
    return rc;
}

static void remove_chosen(struct expiry *expiry, int index)
{
    for (size_t i = 0; i < expiry->n; i++) {
        const struct candidate *candidate = &expiry->items[i];
        const int rc =
            candidate->reason != REASON_NONE ? remove_one(expiry, index, candidate) : -ERR_AGAIN;
        if (rc == 0) {
            expiry->n_removed++;
            expiry->removed_bytes += candidate->reason != REASON_LOST ? candidate->size : 0;
        } else if (rc == -ERR_AGAIN) {
            expiry->n_left++;
            expiry->left_bytes += candidate->size;
        } else if (rc != -ERR_NOTFOUND) {
            fprintf(stderr, "posternctl: %.*s: %s\n", (int)LINK_ID_LEN, candidate->name,
                rc == -ERR_DENIED ? "its file is not one of ours" : err_text(rc));
            expiry->has_failed = true;
        }
    }
}

/* ---- what was left half done ---- */

static void clean_folder(struct expiry *expiry, int folder)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 256; i++) {
        const char name[3] = {digits[i >> 4], digits[i & 15], 0};
        const int shard = link_folder_open_at(folder, name, false, 0);
        if (shard >= 0) {
            expiry->n_half_done += link_file_clean(shard, LEFT_OVER_SECS, expiry->is_rehearsal);
            close(shard);
        }
    }
}

static void clean(struct expiry *expiry, int index)
{
    clean_folder(expiry, index);
    expiry->n_half_done += link_file_clean(index, LEFT_OVER_SECS, expiry->is_rehearsal);
    for (size_t i = 0; i < expiry->n_directories; i++) {
        const int folder = link_folder_open(expiry->directories[i], false, 0);
        if (folder >= 0) {
            clean_folder(expiry, folder);
            close(folder);
        }
    }
}

/* ---- all of it ---- */

static void tell_all(const struct expiry *expiry)
{
    char removed[40], left[40];
    if (expiry->is_json) {
        return;
    }
    urls_size_text(removed, sizeof(removed), (int64_t)expiry->removed_bytes);
    urls_size_text(left, sizeof(left), (int64_t)expiry->left_bytes);
    printf("%s: %llu (%s), half done: %llu; left: %llu (%s)\n",
        expiry->is_rehearsal ? "would be removed" : "removed",
        (unsigned long long)expiry->n_removed, removed, (unsigned long long)expiry->n_half_done,
        (unsigned long long)expiry->n_left, left);
}

int urls_expire(const struct args *args, const struct conf *conf, int index)
{
    struct expiry expiry = {.is_json = args_has(args, ARG_JSON),
        .is_rehearsal = args_has(args, ARG_DRY_RUN),
        .now = (int64_t)time(NULL)};
    uint32_t n_broken;
    const int rc = link_index_walk(index, on_entry, &expiry, &n_broken);
    if (rc == 0) {
        choose_for_bytes(&expiry, conf->urls.max_bytes);
        remove_chosen(&expiry, index);
        if (conf->urls.directory[0] == '/') {
            note_directory(&expiry, conf->urls.directory);
        }
        clean(&expiry, index);
        tell_all(&expiry);
    }
    for (size_t i = 0; i < expiry.n_directories; i++) {
        free(expiry.directories[i]);
    }
    free(expiry.directories);
    free(expiry.items);
    if (rc != 0) {
        fprintf(stderr, "posternctl: %s\n", err_text(rc));
        return EXIT_CODE_SYSTEM;
    }
    const int broken = urls_tell_broken(n_broken);
    return expiry.has_failed ? EXIT_CODE_FOUND : broken;
}
