/* posternctl profile: where the filter spends its time, as a table of lines and a flame graph. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hook.h"
#include "common/log.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "ctl/command.h"
#include "ctl/flame.h"
#include "ctl/render.h"
#include "ctl/server.h"
#include "ctl/stacks.h"

enum {
    SECONDS_MAX = 600, /* as in the server */
    ANSWER_MS = 10000, /* beyond the seconds */
    ROWS = 20,
    COLUMNS = 5,
};

static void add_time(struct render_table *table, uint64_t us, uint64_t all_us)
{
    char text[32];
    snprintf(text, sizeof(text), "%.1f ms", (double)us / 1000);
    render_table_add(table, text);
    snprintf(text, sizeof(text), "%.1f %%", all_us > 0 ? (double)us * 100 / (double)all_us : 0.0);
    render_table_add(table, text);
}

static void print_lines(const struct line *lines, size_t n, uint64_t all_us)
{
    static const char *const heads[COLUMNS] = {"SELF", "", "TOTAL", "", "WHERE"};
    struct render_table table;
    render_table_init(&table, COLUMNS);
    for (int i = 0; i < COLUMNS; i++) {
        render_table_add(&table, heads[i]);
    }
    for (size_t i = 0; i < n && i < ROWS; i++) {
        char *where = xmemdup0(lines[i].where.data, lines[i].where.len);
        add_time(&table, lines[i].self_us, all_us);
        add_time(&table, lines[i].total_us, all_us);
        render_table_add(&table, where);
        free(where);
    }
    render_table_print(&table, stdout);
    render_table_clear(&table);
}

static uint64_t sum_of(const json_t *stacks)
{
    uint64_t us = 0;
    for (size_t i = 0; i < json_array_size(stacks); i++) {
        us += (uint64_t)json_integer_value(json_array_get(json_array_get(stacks, i), 1));
    }
    return us;
}

/* "10.0 s: 1234 samples, 567.8 ms in the filter" */
static char *summary(const json_t *data, uint64_t us)
{
    return xasprintf("%.1f s: %lld samples, %.1f ms in the filter",
        json_number_value(json_object_get(data, "seconds")),
        (long long)json_integer_value(json_object_get(data, "samples")), (double)us / 1000);
}

static void print_text(const json_t *data, const json_t *stacks)
{
    struct line *lines;
    uint64_t us = sum_of(stacks);
    size_t n = stacks_lines(stacks, &lines);
    char *head = summary(data, us);
    json_int_t other = json_integer_value(json_object_get(data, "other_us"));
    printf("%s\n", head);
    if (other > 0) {
        printf(
            "%.1f ms more are not in the table: too many different stacks\n", (double)other / 1000);
    }
    if (n > 0) {
        printf("\n");
        print_lines(lines, n, us);
    }
    free(head);
    free(lines);
}

static void print_json(json_t *data, const json_t *stacks)
{
    struct line *lines;
    size_t n = stacks_lines(stacks, &lines);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(
            list, json_pack("{s:s#, s:I, s:I}", "where", lines[i].where.data,
                      (int)lines[i].where.len, "self_us", (json_int_t)lines[i].self_us, "total_us",
                      (json_int_t)lines[i].total_us));
    }
    json_object_set_new(data, "lines", list);
    render_json_line(stdout, data);
    free(lines);
}

static int write_flame(const char *path, const json_t *data, const json_t *stacks)
{
    FILE *out = fopen(path, "we");
    if (out == NULL) {
        fprintf(stderr, "posternctl: %s: %s\n", path, strerror(errno));
        return EXIT_CODE_SYSTEM;
    }
    char *head = summary(data, sum_of(stacks));
    flame_write(out, stacks, head);
    free(head);
    bool is_fine = ferror(out) == 0;
    is_fine = fclose(out) == 0 && is_fine;
    if (!is_fine) {
        fprintf(stderr, "posternctl: %s: %s\n", path, strerror(errno));
    }
    return is_fine ? EXIT_CODE_OK : EXIT_CODE_SYSTEM;
}

/* What is wrong with the command line is said; 0 or EXIT_CODE_USAGE. */
static int check(const struct args *args, int64_t *seconds_out)
{
    const char *hook = args_get(args, ARG_HOOK);
    if (text_to_i64(command_argument(args, 0), 1, SECONDS_MAX, seconds_out) != 0) {
        fprintf(stderr, "posternctl: SECONDS must be a number from 1 to %d\n", SECONDS_MAX);
        return EXIT_CODE_USAGE;
    }
    if (hook != NULL && hook_find(hook) == NULL) {
        char shown[100];
        const char *near = hook_nearest(hook);
        text_escape(shown, sizeof(shown), slice_text(hook), '"');
        fprintf(stderr, "posternctl: there is no hook \"%s\"%s%s%s\n", shown,
            near != NULL ? "; did you mean " : "", near != NULL ? near : "",
            near != NULL ? "?" : "");
        return EXIT_CODE_USAGE;
    }
    return 0;
}

int command_profile(const struct args *args)
{
    int64_t seconds;
    json_t *data = NULL;
    if (check(args, &seconds) != 0) {
        return EXIT_CODE_USAGE;
    }
    int code = server_ask(args, "profile", json_pack("{s:I}", "seconds", (json_int_t)seconds),
        seconds * 1000 + ANSWER_MS, &data);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    json_t *stacks = stacks_of_hook(json_object_get(data, "stacks"), args_get(args, ARG_HOOK));
    json_object_set(data, "stacks", stacks);
    if (args_has(args, ARG_OUTPUT)) {
        code = write_flame(args_get(args, ARG_OUTPUT), data, stacks);
    }
    if (args_has(args, ARG_JSON)) {
        print_json(data, stacks);
    } else {
        print_text(data, stacks);
    }
    json_decref(stacks);
    json_decref(data);
    return code;
}
