/*
 * posternctl poison: messages that killed two workers, as the front end has kept them below
 * milterd.spool. Needs no server; only their owner and root can look.
 */
#include "ctl/poison.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/header.h"
#include "common/poison.h"
#include "common/xalloc.h"
#include "ctl/command.h"
#include "ctl/mail_file.h"
#include "ctl/render.h"
#include "ctl/server.h"

enum { FAULT_MAX = 512, HEADER_SHOWN_MAX = 65536 };

json_t *poison_facts_read(int one)
{
    struct buf text;
    json_error_t where;
    json_t *facts = NULL;
    int rc = poison_read(one, POISON_FACTS, POISON_FACTS_MAX, &text);
    if (rc == 0) {
        facts = json_loadb((const char *)text.data, text.len, 0, &where);
        buf_clear(&text);
    }
    if (json_is_object(facts)) {
        return facts;
    }
    json_decref(facts);
    return json_pack(
        "{s:s}", "error", rc == 0 ? "its facts are not a JSON object" : "its facts cannot be read");
}

/* How the workers died: "signal 6 (SIGABRT), signal 6 (SIGABRT)"; malloc'd. */
static char *poison_fault(const json_t *facts)
{
    struct buf out;
    size_t i;
    json_t *death;
    buf_init(&out, FAULT_MAX);
    json_array_foreach(json_object_get(facts, "deaths"), i, death)
    {
        if (buf_printf(&out, "%s%s", i > 0 ? ", " : "", render_text_of(death, "how")) != 0) {
            break;
        }
    }
    char *text = xmemdup0(out.len > 0 ? (const char *)out.data : "", out.len);
    buf_clear(&out);
    return text;
}

/* ---- list ---- */

static json_t *row_of(int folder, const struct poison_entry *entry)
{
    int one = poison_open_one(folder, entry->id);
    json_t *facts = one >= 0 ? poison_facts_read(one) : json_object();
    char *fault = poison_fault(facts);
    json_t *row = json_pack("{s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:s}", "id", entry->id, "time_ms",
        (json_int_t)(entry->time_ns / 1000000), "bytes", (json_int_t)entry->bytes, "uid",
        render_text_of(facts, "uid"), "queue_id", render_text_of(facts, "queue_id"), "sender",
        render_text_of(facts, "sender"), "hook", render_text_of(facts, "hook"), "fault", fault);
    json_object_set(row, "error", json_object_get(facts, "error"));
    free(fault);
    json_decref(facts);
    if (one >= 0) {
        close(one);
    }
    return row;
}

static void add_row(struct render_table *table, const json_t *row)
{
    static const char *const keys[] = {"id", "queue_id", "sender", "hook"};
    char when[32];
    render_time(when, sizeof(when), json_integer_value(json_object_get(row, "time_ms")) / 1000);
    render_table_add(table, when);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *text = render_text_of(row, keys[i]);
        render_table_add(table, text[0] != 0 ? text : "-");
    }
    const char *error = render_text_of(row, "error");
    render_table_add(table, error[0] != 0 ? error : render_text_of(row, "fault"));
}

static int list(const struct args *args, int folder)
{
    static const char *const headings[] = {"when", "id", "queue id", "sender", "hook", "fault"};
    struct poison_list found;
    struct render_table table;
    if (poison_scan(folder, &found) != 0) {
        fprintf(stderr, "posternctl: %s\n", err_text(-ERR_SYSTEM));
        return EXIT_CODE_SYSTEM;
    }
    render_table_init(&table, sizeof(headings) / sizeof(headings[0]));
    for (int i = 0; i < table.n_columns; i++) {
        render_table_add(&table, headings[i]);
    }
    for (size_t i = 0; i < found.n; i++) {
        json_t *row = row_of(folder, &found.items[i]);
        if (args_has(args, ARG_JSON)) {
            render_json_line(stdout, row);
        } else {
            add_row(&table, row);
        }
        json_decref(row);
    }
    if (!args_has(args, ARG_JSON) && found.n > 0) {
        render_table_print(&table, stdout);
    } else if (!args_has(args, ARG_JSON)) {
        printf("none\n");
    }
    render_table_clear(&table);
    poison_list_clear(&found);
    return EXIT_CODE_OK;
}

/* ---- show ---- */

/* The message's header block, cut at HEADER_SHOWN_MAX. Malloc'd; "" when it cannot be read. */
static char *read_header(int one)
{
    struct buf message;
    if (poison_read(one, POISON_MESSAGE, MAIL_FILE_MAX, &message) != 0) {
        return xstrdup("");
    }
    size_t body_at = 0;
    size_t len = header_block_length(buf_slice(&message), &body_at);
    len = len < HEADER_SHOWN_MAX ? len : HEADER_SHOWN_MAX;
    char *text = xmemdup0(message.data, len);
    for (size_t i = 0; i < len; i++) {
        text[i] = text[i] == 0 ? ' ' : text[i];
    }
    buf_clear(&message);
    return text;
}

static void say(const char *key, const char *text, const char *more)
{
    printf("  %-9s ", key);
    render_escaped(stdout, slice_text(text));
    if (more[0] != 0) {
        printf(" ");
        render_escaped(stdout, slice_text(more));
    }
    printf("\n");
}

static void say_envelope(const json_t *facts)
{
    const json_t *client = json_object_get(facts, "client");
    const json_t *recipients = json_object_get(facts, "recipients");
    size_t i;
    json_t *recipient;
    say("client", render_text_of(client, "ip"), render_text_of(client, "name"));
    say("helo", render_text_of(facts, "helo"), "");
    say("from", render_text_of(facts, "sender"), render_text_of(facts, "sender_arguments"));
    json_array_foreach(recipients, i, recipient)
    {
        say("to", render_text_of(recipient, "address"), render_text_of(recipient, "arguments"));
    }
    json_int_t more = json_integer_value(json_object_get(facts, "n_recipients")) -
                      (json_int_t)json_array_size(recipients);
    if (more > 0) {
        printf("  %-9s and %lld more\n", "to", (long long)more);
    }
}

static void say_deaths(const json_t *facts)
{
    size_t i;
    json_t *death;
    json_array_foreach(json_object_get(facts, "deaths"), i, death)
    {
        const char *last = render_text_of(death, "last");
        char pid[40];
        snprintf(pid, sizeof(pid),
            "%lld:", (long long)json_integer_value(json_object_get(death, "pid")));
        printf("  %-9s %s ", "worker", pid);
        render_escaped(stdout, slice_text(render_text_of(death, "how")));
        if (last[0] != 0) {
            printf(", at ");
            render_escaped(stdout, slice_text(last));
        }
        printf("\n");
    }
}

static void say_header(const char *header)
{
    printf("\n");
    while (header[0] != 0) {
        size_t len = strcspn(header, "\n");
        size_t shown = len > 0 && header[len - 1] == '\r' ? len - 1 : len;
        printf("  ");
        render_escaped(stdout, slice_of(header, shown));
        printf("\n");
        header += header[len] != 0 ? len + 1 : len;
    }
}

static void say_all(const char *id, const json_t *facts, const char *header)
{
    char when[32];
    const json_t *answer = json_object_get(facts, "answer");
    printf("%s\n", id);
    if (render_text_of(facts, "error")[0] != 0) {
        say("error", render_text_of(facts, "error"), "");
    }
    render_time(when, sizeof(when), json_integer_value(json_object_get(facts, "time_ms")) / 1000);
    say("when", when, "");
    say("queue id", render_text_of(facts, "queue_id"), "");
    say_envelope(facts);
    say("hook", render_text_of(facts, "hook"), "");
    say("answer", render_text_of(answer, "verdict"), "");
    say_deaths(facts);
    printf("  %-9s %lld bytes\n", "message",
        (long long)json_integer_value(json_object_get(facts, "message_bytes")));
    say_header(header);
}

static int show(const struct args *args, int one, const char *id)
{
    json_t *facts = poison_facts_read(one);
    char *header = read_header(one);
    if (args_has(args, ARG_JSON)) {
        json_object_set_new(facts, "id", json_string(id));
        json_object_set_new(facts, "header", render_json_text(slice_text(header)));
        render_json_line(stdout, facts);
    } else {
        say_all(id, facts, header);
    }
    int code = json_object_get(facts, "error") != NULL ? EXIT_CODE_FOUND : EXIT_CODE_OK;
    free(header);
    json_decref(facts);
    return code;
}

/* ---- delete ---- */

static int delete_one(int folder, const char *id)
{
    int rc = poison_remove(folder, id);
    if (rc == 0) {
        return EXIT_CODE_OK;
    }
    fprintf(stderr, "posternctl: %s: %s\n", id, err_text(rc));
    return EXIT_CODE_FOUND;
}

static int delete_all(int folder)
{
    struct poison_list found;
    int code = poison_scan(folder, &found) == 0 ? EXIT_CODE_OK : EXIT_CODE_SYSTEM;
    for (size_t i = 0; i < found.n; i++) {
        int one = delete_one(folder, found.items[i].id);
        code = one > code ? one : code;
    }
    printf("deleted: %zu\n", found.n);
    poison_list_clear(&found);
    return code;
}

/* ---- which ---- */

static int on_one(const struct args *args, struct conf *conf, int folder, const char *id)
{
    const char *word = command_argument(args, 0);
    if (strcmp(word, "delete") == 0) {
        return delete_one(folder, id);
    }
    int one = poison_open_one(folder, id);
    if (one < 0) {
        char shown[100];
        snprintf(shown, sizeof(shown), "%.80s", id);
        fprintf(stderr, "posternctl: there is no poison message \"");
        render_escaped(stderr, slice_text(shown));
        fprintf(stderr, "\"\n");
        return EXIT_CODE_FOUND;
    }
    int code = strcmp(word, "run") == 0 ? poison_run(args, conf, one, id) : show(args, one, id);
    close(one);
    return code;
}

/* False: the words and options do not go together. */
static bool is_usage(const struct args *args)
{
    const char *word = command_argument(args, 0);
    int n = command_n_arguments(args);
    bool is_delete = strcmp(word, "delete") == 0, is_run = strcmp(word, "run") == 0;
    if ((args_has(args, ARG_ALL) && !is_delete) || (args_has(args, ARG_FILTER) && !is_run)) {
        return false;
    }
    if (strcmp(word, "list") == 0 || (is_delete && args_has(args, ARG_ALL))) {
        return n == 1;
    }
    return n == 2 && (is_delete || is_run || strcmp(word, "show") == 0);
}

static int in_folder(const struct args *args, struct conf *conf, int folder)
{
    if (strcmp(command_argument(args, 0), "list") == 0) {
        return list(args, folder);
    }
    if (args_has(args, ARG_ALL)) {
        return delete_all(folder);
    }
    return on_one(args, conf, folder, command_argument(args, 1));
}

/* No message has killed two workers yet, or there is no such spool. */
static int without_folder(const struct args *args)
{
    const char *word = command_argument(args, 0);
    if (strcmp(word, "list") == 0) {
        fputs(args_has(args, ARG_JSON) ? "" : "none\n", stdout);
        return EXIT_CODE_OK;
    }
    if (args_has(args, ARG_ALL)) {
        printf("deleted: 0\n");
        return EXIT_CODE_OK;
    }
    fprintf(stderr, "posternctl: there is no poison message\n");
    return EXIT_CODE_FOUND;
}

int command_poison(const struct args *args)
{
    if (!is_usage(args)) {
        fprintf(stderr, "usage: posternctl poison list | show ID | run ID [--filter FILE] | "
                        "delete ID | delete --all\n");
        return EXIT_CODE_USAGE;
    }
    struct conf *conf = server_conf(args, true);
    if (conf == NULL) {
        return EXIT_CODE_USAGE;
    }
    int folder = poison_open(conf->milterd.spool, false);
    int code = EXIT_CODE_SYSTEM;
    if (folder == -ERR_NOTFOUND) {
        code = without_folder(args);
    } else if (folder < 0) {
        fprintf(stderr, "posternctl: %s/%s: %s\n", conf->milterd.spool, POISON_FOLDER,
            folder == -ERR_DENIED ? "it is not a folder of its owner alone, or not ours"
                                  : err_text(folder));
    } else {
        code = in_folder(args, conf, folder);
        close(folder);
    }
    conf_free(conf);
    return code;
}
