/*
 * posternctl urls: files behind links, as part:replace_with_url has stored them. Works on the index
 * and the served folders themselves, beside running workers or without any.
 */
#include "ctl/urls.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/xalloc.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/server.h"
#include "worker/link_file.h"
#include "worker/link_store.h"

int urls_tell_broken(uint32_t n_broken)
{
    if (n_broken == 0) {
        return EXIT_CODE_OK;
    }
    fprintf(stderr, "posternctl: %u entries of the index cannot be read\n", n_broken);
    return EXIT_CODE_FOUND;
}

void urls_size_text(char *out, size_t out_bytes, int64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double size = (double)bytes;
    size_t unit = 0;
    while (size >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        size /= 1000;
        unit++;
    }
    snprintf(out, out_bytes, unit > 0 && size < 9.95 ? "%.1f %s" : "%.0f %s", size, units[unit]);
}

static const json_t *newest_use(const json_t *entry)
{
    const json_t *uses = json_object_get(entry, "uses");
    return json_array_get(uses, json_array_size(uses) - 1);
}

const char *urls_newest(const json_t *entry, const char *member)
{
    return render_text_of(newest_use(entry), member);
}

/* What a list and show give of an entry: it, and whether its file is there. */
static json_t *row_of(const json_t *entry)
{
    json_t *row = json_copy((json_t *)(uintptr_t)entry);
    json_object_set_new(row, "has_file", json_boolean(link_has_file(entry)));
    return row;
}

/* ---- list ---- */

struct listing {
    json_t **items;
    size_t n, cap;
};

static bool on_listed(int shard, const char *name, json_t *entry, void *context)
{
    struct listing *listing = context;
    (void)shard;
    (void)name;
    if (listing->n == listing->cap) {
        listing->cap = listing->cap > 0 ? 2 * listing->cap : 64;
        listing->items = xreallocarray(listing->items, listing->cap, sizeof(*listing->items));
    }
    listing->items[listing->n++] = json_incref(entry);
    return true;
}

static int by_stored(const void *left, const void *right)
{
    const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;
    const int64_t at_a = render_number_of(a, "stored"), at_b = render_number_of(b, "stored");
    if (at_a != at_b) {
        return at_a < at_b ? -1 : 1;
    }
    return strcmp(render_text_of(a, "id"), render_text_of(b, "id"));
}

static void add_row(struct render_table *table, const json_t *entry)
{
    char text[40];
    const int64_t expires = render_number_of(entry, "expires");
    render_time(text, sizeof(text), render_number_of(entry, "stored"));
    render_table_add(table, text);
    render_time(text, sizeof(text), expires);
    render_table_add(table, expires == 0 ? "never" : text);
    urls_size_text(text, sizeof(text), render_number_of(entry, "size"));
    render_table_add(table, text);
    render_table_add(table, render_text_of(entry, "id"));
    const char *const names[] = {urls_newest(entry, "sender"), urls_newest(entry, "filename")};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        render_table_add(table, names[i][0] != 0 ? names[i] : "-");
    }
}

static void print_table(const struct listing *listing)
{
    static const char *const headings[] = {"stored", "expires", "size", "id", "sender", "name"};
    struct render_table table;
    render_table_init(&table, sizeof(headings) / sizeof(headings[0]));
    for (int i = 0; i < table.n_columns; i++) {
        render_table_add(&table, headings[i]);
    }
    for (size_t i = 0; i < listing->n; i++) {
        add_row(&table, listing->items[i]);
    }
    if (listing->n > 0) {
        render_table_print(&table, stdout);
    } else {
        printf("none\n");
    }
    render_table_clear(&table);
}

static int list(const struct args *args, int index)
{
    struct listing listing = {.n = 0};
    uint32_t n_broken;
    const int rc = link_index_walk(index, on_listed, &listing, &n_broken);
    if (listing.n > 1) {
        qsort(listing.items, listing.n, sizeof(*listing.items), by_stored);
    }
    if (!args_has(args, ARG_JSON)) {
        print_table(&listing);
    }
    for (size_t i = 0; i < listing.n; i++) {
        if (args_has(args, ARG_JSON)) {
            json_t *row = row_of(listing.items[i]);
            render_json_line(stdout, row);
            json_decref(row);
        }
        json_decref(listing.items[i]);
    }
    free(listing.items);
    return rc != 0 ? EXIT_CODE_SYSTEM : urls_tell_broken(n_broken);
}

/* ---- show ---- */

static void say(const char *key, const char *text)
{
    printf("  %-10s ", key);
    render_escaped(stdout, slice_text(text[0] != 0 ? text : "-"));
    putchar('\n');
}

static void say_time(const char *key, int64_t secs)
{
    char text[40];
    render_time(text, sizeof(text), secs);
    say(key, secs == 0 ? "never" : text);
}

static void say_uses(const json_t *entry)
{
    size_t i;
    json_t *use;
    json_array_foreach(json_object_get(entry, "uses"), i, use)
    {
        char text[40];
        render_time(text, sizeof(text), render_number_of(use, "time"));
        printf("  %-10s %s ", "sent", text);
        render_escaped(stdout, slice_text(render_text_of(use, "filename")));
        printf(" from <");
        render_escaped(stdout, slice_text(render_text_of(use, "sender")));
        printf("> in ");
        render_escaped(stdout, slice_text(render_text_of(use, "message_id")));
        printf(" (");
        render_escaped(stdout, slice_text(render_text_of(use, "queue_id")));
        printf(")\n");
    }
}

struct showing {
    bool is_json;
    int n;
};

static bool on_shown(int shard, const char *name, json_t *entry, void *context)
{
    struct showing *showing = context;
    char text[40];
    (void)shard;
    (void)name;
    showing->n++;
    json_t *row = row_of(entry);
    if (showing->is_json) {
        render_json_line(stdout, row);
        json_decref(row);
        return true;
    }
    printf("%s\n", render_text_of(entry, "id"));
    say("url", render_text_of(entry, "url"));
    say("folder", render_text_of(entry, "directory"));
    say("file", json_is_true(json_object_get(row, "has_file")) ? "is there" : "is gone");
    urls_size_text(text, sizeof(text), render_number_of(entry, "size"));
    say("size", text);
    say("type", render_text_of(entry, "type"));
    say("sha256", render_text_of(entry, "sha256"));
    say_time("stored", render_number_of(entry, "stored"));
    say_time("expires", render_number_of(entry, "expires"));
    say_uses(entry);
    json_decref(row);
    return true;
}

/* ---- delete ---- */

struct deleting {
    int n, failure; /* failure: 0, or what went wrong last */
    bool has_lock;
};

static bool on_deleted(int shard, const char *name, json_t *entry, void *context)
{
    struct deleting *deleting = context;
    int rc = deleting->has_lock ? 0 : link_folder_lock(shard, clock_now_ms() + URLS_LOCK_MS);
    deleting->has_lock = rc == 0;
    if (rc == 0) {
        rc = link_remove(shard, name, entry);
    }
    deleting->n += rc == 0 ? 1 : 0;
    if (rc != 0) {
        fprintf(stderr, "posternctl: %s: %s\n", render_text_of(entry, "id"), err_text(rc));
        deleting->failure = rc;
    }
    return true;
}

/* ---- which ---- */

static int no_such(const char *which)
{
    char shown[100];
    snprintf(shown, sizeof(shown), "%.80s", which);
    fprintf(stderr, "posternctl: there is no file behind a link \"");
    render_escaped(stderr, slice_text(shown));
    fprintf(stderr, "\"\n");
    return EXIT_CODE_FOUND;
}

/* An id, or an address that ends in one. */
static bool find_id(const char *which, char id[LINK_ID_LEN + 1])
{
    const char *slash = strrchr(which, '/');
    const char *last = slash != NULL ? slash + 1 : which;
    const size_t len = strspn(last, "0123456789abcdef");
    if (len != LINK_ID_LEN || (last[len] != 0 && strcmp(last + len, LINK_SUFFIX) != 0)) {
        return false;
    }
    memcpy(id, last, LINK_ID_LEN);
    id[LINK_ID_LEN] = 0;
    return true;
}

static int on_one(const struct args *args, int index)
{
    const char *which = command_argument(args, 1);
    const bool is_delete = strcmp(command_argument(args, 0), "delete") == 0;
    struct deleting deleting = {.n = 0};
    struct showing showing = {.is_json = args_has(args, ARG_JSON)};
    char id[LINK_ID_LEN + 1];
    uint32_t n_broken = 0;
    if (!find_id(which, id)) {
        return no_such(which);
    }
    int rc = is_delete ? link_index_each(index, id, on_deleted, &deleting, &n_broken)
                       : link_index_each(index, id, on_shown, &showing, &n_broken);
    if (rc != 0) {
        fprintf(stderr, "posternctl: %s\n", err_text(rc));
        return EXIT_CODE_SYSTEM;
    }
    if (n_broken > 0) {
        return urls_tell_broken(n_broken);
    }
    if (deleting.failure != 0) {
        return EXIT_CODE_FOUND;
    }
    return deleting.n + showing.n > 0 ? EXIT_CODE_OK : no_such(which);
}

/* False: the words and options do not go together. */
static bool is_usage(const struct args *args)
{
    const char *word = command_argument(args, 0);
    const int n = command_n_arguments(args);
    const bool is_expire = strcmp(word, "expire") == 0, is_delete = strcmp(word, "delete") == 0;
    if ((args_has(args, ARG_DRY_RUN) && !is_expire) || (args_has(args, ARG_JSON) && is_delete)) {
        return false;
    }
    if (is_expire || strcmp(word, "list") == 0) {
        return n == 1;
    }
    return n == 2 && (is_delete || strcmp(word, "show") == 0);
}

static int in_index(const struct args *args, const struct conf *conf, int index)
{
    const char *word = command_argument(args, 0);
    if (strcmp(word, "list") == 0) {
        return list(args, index);
    }
    return strcmp(word, "expire") == 0 ? urls_expire(args, conf, index) : on_one(args, index);
}

/* Nothing has been stored yet. */
static int without_index(const struct args *args)
{
    if (command_n_arguments(args) == 2) {
        return no_such(command_argument(args, 1));
    }
    if (!args_has(args, ARG_JSON)) {
        printf("none\n");
    }
    return EXIT_CODE_OK;
}

int command_urls(const struct args *args)
{
    char path[PATH_MAX] = "";
    if (!is_usage(args)) {
        fprintf(stderr, "usage: posternctl urls list [--json] | show ID [--json] | "
                        "expire [--dry-run] [--json] | delete ID\n");
        return EXIT_CODE_USAGE;
    }
    struct conf *conf = server_conf(args, true);
    if (conf == NULL) {
        return EXIT_CODE_USAGE;
    }
    const int index = link_index_open(conf, false);
    int code = EXIT_CODE_SYSTEM;
    if (index == -ERR_NOTFOUND) {
        code = without_index(args);
    } else if (index < 0) {
        const char *why = index == -ERR_DENIED
                              ? "it is not a folder of its owner alone, or not ours"
                              : err_text(index);
        (void)link_index_path(conf, path);
        fprintf(stderr, "posternctl: %s: %s\n", path, why);
    } else {
        code = in_index(args, conf, index);
        close(index);
    }
    conf_free(conf);
    return code;
}
