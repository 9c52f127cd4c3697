/*
 * posternctl store: what workers share through postern.store. Works on the file itself, beside
 * running workers or without any. A page of entries is read at once and then printed: a reader that
 * waits for its terminal must not hold up the file's log.
 */
#include "ctl/store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/server.h"
#include "ctl/store_entry.h"

enum { PAGE_ENTRIES = 500, EXPIRE_ENTRIES = 1000, VALUE_SHOWN_MAX = 100 };

struct store_request store_ctl_request(enum store_op op, struct slice key)
{
    return (struct store_request){
        .op = op, .key = key, .deadline_ms = clock_now_ms() + STORE_CTL_TIMEOUT_MS};
}

int store_ctl_run(const struct store_ctl *ctl, struct store_request *request)
{
    int err = store_run_to_end(ctl->store, request);
    if (err != 0)
        fprintf(stderr, "posternctl: %s\n", store_error(ctl->store));
    return err;
}

/* ---- printing ---- */

static void print_value(const json_t *value, size_t max_bytes)
{
    char *text = json_is_string(value)
                     ? NULL
                     : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    struct slice shown = text != NULL
                             ? slice_text(text)
                             : slice_of(json_string_value(value), json_string_length(value));
    bool is_cut = shown.len > max_bytes;
    render_escaped(stdout, slice_of(shown.data, is_cut ? max_bytes : shown.len));
    printf(is_cut ? "...\n" : "\n");
    free(text);
}

static void print_entry(const struct store_ctl *ctl, const struct store_entry *entry)
{
    char when[40];
    json_t *object = store_entry_to_json(entry);
    if (args_has(ctl->args, ARG_JSON) || strcmp(command_argument(ctl->args, 0), "export") == 0) {
        render_json_line(stdout, object);
    } else {
        render_time(when, sizeof when, entry->expires_ms / 1000);
        printf("%-19s  ", entry->expires_ms == STORE_FOREVER ? "never" : when);
        render_escaped(stdout, entry->key);
        printf(" = ");
        print_value(json_object_get(object, "value"), VALUE_SHOWN_MAX);
    }
    json_decref(object);
}

/* ---- list and export ---- */

struct page {
    struct arena *arena;
    struct store_entry entries[PAGE_ENTRIES];
    uint32_t n;
};

static void on_entry(const struct store_entry *entry, void *context)
{
    struct page *page = context;
    if (page->n == PAGE_ENTRIES)
        return;
    struct store_entry *kept = &page->entries[page->n++];
    *kept = *entry;
    kept->key.data = arena_memdup0(page->arena, entry->key.data, entry->key.len);
    if (entry->value.bytes.len > 0)
        kept->value.bytes.data =
            arena_memdup0(page->arena, entry->value.bytes.data, entry->value.bytes.len);
}

static int list(const struct store_ctl *ctl, struct slice prefix)
{
    struct page page = {.n = 0};
    char after[STORE_KEY_MAX];
    struct slice last = slice_of(NULL, 0);
    uint64_t n = 0;
    int err;
    do {
        struct store_request request = store_ctl_request(STORE_LIST, prefix);
        request.after = last;
        request.limit = PAGE_ENTRIES;
        request.on_entry = on_entry;
        request.context = &page;
        page.arena = arena_new();
        page.n = 0;
        err = store_ctl_run(ctl, &request);
        for (uint32_t i = 0; i < page.n; i++)
            print_entry(ctl, &page.entries[i]);
        n += page.n;
        if (page.n > 0) {
            last.len = page.entries[page.n - 1].key.len;
            last.data = memcpy(after, page.entries[page.n - 1].key.data, last.len);
        }
        arena_free(page.arena);
    } while (err == 0 && page.n == PAGE_ENTRIES);
    if (n == 0 && err == 0 && !args_has(ctl->args, ARG_JSON) &&
        strcmp(command_argument(ctl->args, 0), "list") == 0)
        printf("none\n");
    return err == 0 ? EXIT_CODE_OK : EXIT_CODE_SYSTEM;
}

/* ---- get, delete, expire ---- */

static int no_such(struct slice key)
{
    fprintf(stderr, "posternctl: there is no entry ");
    render_escaped(stderr, key);
    fprintf(stderr, "\n");
    return EXIT_CODE_FOUND;
}

static int get(const struct store_ctl *ctl, struct slice key)
{
    struct store_request request = store_ctl_request(STORE_GET, key);
    if (store_ctl_run(ctl, &request) != 0)
        return EXIT_CODE_SYSTEM;
    if (request.result.kind == STORE_NONE)
        return no_such(key);
    struct store_entry entry = {key, request.result, request.expires_ms};
    if (args_has(ctl->args, ARG_JSON)) {
        print_entry(ctl, &entry);
        return EXIT_CODE_OK;
    }
    json_t *object = store_entry_to_json(&entry);
    print_value(json_object_get(object, "value"), SIZE_MAX);
    json_decref(object);
    return EXIT_CODE_OK;
}

static int delete (const struct store_ctl *ctl, struct slice key)
{
    struct store_request request = store_ctl_request(STORE_DELETE, key);
    if (store_ctl_run(ctl, &request) != 0)
        return EXIT_CODE_SYSTEM;
    return request.is_done ? EXIT_CODE_OK : no_such(key);
}

static void tell_expired(const struct args *args, uint64_t n)
{
    if (!args_has(args, ARG_JSON)) {
        printf("removed: %llu\n", (unsigned long long)n);
        return;
    }
    json_t *object = json_pack("{s:I}", "removed", (json_int_t)n);
    render_json_line(stdout, object);
    json_decref(object);
}

static int expire(const struct store_ctl *ctl)
{
    uint64_t n = 0;
    uint32_t n_removed;
    do {
        struct store_request request = store_ctl_request(STORE_EXPIRE, slice_of(NULL, 0));
        request.limit = EXPIRE_ENTRIES;
        if (store_ctl_run(ctl, &request) != 0)
            return EXIT_CODE_SYSTEM;
        n_removed = request.n_removed;
        n += n_removed;
    } while (n_removed == EXPIRE_ENTRIES);
    tell_expired(ctl->args, n);
    return EXIT_CODE_OK;
}

/* ---- which ---- */

static const struct word {
    const char *name;
    int fewest, most; /* further arguments */
    bool has_json;
} words[] = {{"list", 0, 1, true}, {"get", 1, 1, true}, {"export", 0, 1, true},
    {"import", 0, 1, false}, {"expire", 0, 0, true}, {"delete", 1, 1, false}};

static bool is_usage(const struct args *args)
{
    int n = command_n_arguments(args) - 1;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(command_argument(args, 0), words[i].name) == 0)
            return n >= words[i].fewest && n <= words[i].most &&
                   (words[i].has_json || !args_has(args, ARG_JSON)) &&
                   (strcmp(words[i].name, "import") == 0 || !args_has(args, ARG_FROM));
    }
    return false;
}

static bool has_good_key(const struct args *args)
{
    if (command_n_arguments(args) < 2 || strcmp(command_argument(args, 0), "import") == 0)
        return true;
    size_t len = strlen(command_argument(args, 1));
    bool is_prefix = strcmp(command_argument(args, 0), "list") == 0 ||
                     strcmp(command_argument(args, 0), "export") == 0;
    return len <= STORE_KEY_MAX && (len > 0 || is_prefix);
}

static int run(const struct store_ctl *ctl)
{
    const char *word = command_argument(ctl->args, 0);
    const char *argument = command_n_arguments(ctl->args) > 1 ? command_argument(ctl->args, 1) : "";
    struct slice key = slice_text(argument);
    if (strcmp(word, "import") == 0)
        return store_ctl_import(ctl, argument);
    if (strcmp(word, "expire") == 0)
        return expire(ctl);
    if (strcmp(word, "get") == 0)
        return get(ctl, key);
    return strcmp(word, "delete") == 0 ? delete (ctl, key) : list(ctl, key);
}

/* Nothing has been kept yet: looking makes no file. */
static int without_file(const struct args *args)
{
    const char *word = command_argument(args, 0);
    if (strcmp(word, "get") == 0 || strcmp(word, "delete") == 0)
        return no_such(slice_text(command_argument(args, 1)));
    if (strcmp(word, "expire") == 0)
        tell_expired(args, 0);
    else if (strcmp(word, "list") == 0 && !args_has(args, ARG_JSON))
        printf("none\n");
    return EXIT_CODE_OK;
}

int command_store(const struct args *args)
{
    char path[PATH_MAX];
    if (!is_usage(args)) {
        fprintf(stderr, "usage: posternctl store list [PREFIX] [--json] | get KEY [--json] | "
                        "export [PREFIX] | import [FILE] [--from FORMAT] | expire [--json] | "
                        "delete KEY\n");
        return EXIT_CODE_USAGE;
    }
    if (!has_good_key(args)) {
        fprintf(stderr, "posternctl: a key has 1 to %d bytes\n", STORE_KEY_MAX);
        return EXIT_CODE_USAGE;
    }
    struct conf *conf = server_conf(args, true);
    if (conf == NULL)
        return EXIT_CODE_USAGE;
    int code;
    if (conf->store.backend == STORE_IN_SQLITE &&
        strcmp(command_argument(args, 0), "import") != 0 && store_path(conf, path) &&
        access(path, F_OK) != 0 && errno == ENOENT) {
        code = without_file(args);
    } else {
        struct store_ctl ctl = {args, conf, store_new(conf, STORE_SHARED)};
        log_set_level(LOG_LEVEL_FATAL); /* what is wrong with the file is told once, by us */
        code = run(&ctl);
        store_free(ctl.store);
    }
    conf_free(conf);
    return code;
}
