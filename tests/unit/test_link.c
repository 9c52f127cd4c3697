/* Files behind links: the text in a mail, keys and names, the store and its index, what many
 * processes and killed ones leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/err.h"
#include "tests/unit/patience.h"
#include "worker/link_file.h"
#include "worker/link_store.h"
#include "worker/link_text.h"

/* ---- the text ---- */

static const struct link_facts facts = {.name = {"a<b>&\"c\".pdf", 12},
    .url = "https://x/y",
    .type = "application/pdf",
    .sha256 = "00ff",
    .size = 1400000,
    .expires_secs = 1795305600};

static void check_text(const struct link_facts *with, const char *template, bool is_html,
    const char *wanted, const char *wanted_wrong)
{
    struct arena *arena = arena_new();
    struct slice out = slice_text("");
    const char *wrong = link_text_fill(slice_text(template), with, is_html, arena, &out);
    if (wanted_wrong != NULL && (wrong == NULL || strstr(wrong, wanted_wrong) == NULL))
        fail_msg("%s: %s", template, wrong != NULL ? wrong : "no error");
    if (wanted_wrong == NULL && (wrong != NULL || !slice_equal(out, slice_text(wanted))))
        fail_msg("%s: %s, \"%.*s\"", template, wrong != NULL ? wrong : "", (int)out.len, out.data);
    arena_free(arena);
}

static void texts_are_filled_in(void **state)
{
    static const struct {
        const char *template;
        bool is_html;
        const char *wanted, *wrong;
    } rows[] = {
        {"", false, "", NULL},
        {"no variable", false, "no variable", NULL},
        {"${name}", false, "a<b>&\"c\".pdf", NULL},
        {"<b>${name}</b>", true, "<b>a&lt;b&gt;&amp;&quot;c&quot;.pdf</b>", NULL},
        {"$ $$ ${size}$", false, "$ $$ 1.4 MB$", NULL},
        {"${url} ${type} ${sha256}", false, "https://x/y application/pdf 00ff", NULL},
        {"until ${expires}.", false, "until 2026-11-22.", NULL},
        {"${nmae}", false, NULL, "unknown variable ${nmae}"},
        {"${}", false, NULL, "unknown variable ${}"},
        {"${name", false, NULL, "not closed"},
        {"a ${", false, NULL, "not closed"},
        {"a $", false, "a $", NULL},
        {"\xff", false, NULL, "UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_text(&facts, rows[i].template, rows[i].is_html, rows[i].wanted, rows[i].wrong);
}

static void values_of_hostile_mail_are_tame(void **state)
{
    static const struct {
        const char *name, *wanted;
    } rows[] = {
        {"", "unnamed"},
        {"a\r\nb\tc", "a  b c"},
        {"evil\xe2\x80\xae"
         "fdp.exe",
            "evil_fdp.exe"},
        {"\xd8\x9cx\xe2\x81\xa7y", "_x_y"},
        {"${url}", "${url}"},
        {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"../../etc/passwd", "../../etc/passwd"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct link_facts with = facts;
        with.name = slice_text(rows[i].name);
        check_text(&with, "${name}", false, rows[i].wanted, NULL);
    }
    char name[5000];
    memset(name, 'n', sizeof(name));
    struct link_facts with = facts;
    struct arena *arena = arena_new();
    struct slice out;
    with.name = slice_of(name, sizeof(name));
    assert_null(link_text_fill(slice_text("${name}"), &with, false, arena, &out));
    assert_int_equal(out.len, LINK_SHOWN_BYTES);
    arena_free(arena);
}

static void sizes_are_for_people(void **state)
{
    static const struct {
        uint64_t size;
        const char *wanted;
    } rows[] = {{0, "0 bytes"}, {999, "999 bytes"}, {1000, "1.0 kB"}, {9949, "9.9 kB"},
        {9960, "10 kB"}, {999499, "999 kB"}, {999501, "1.0 MB"}, {25000000, "25 MB"}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct link_facts with = facts;
        with.size = rows[i].size;
        check_text(&with, "${size}", false, rows[i].wanted, NULL);
    }
    struct link_facts with = facts;
    with.expires_secs = 0;
    check_text(&with, "${expires}", false, "never", NULL);
}

static void too_much_text_is_refused(void **state)
{
    struct arena *arena = arena_new();
    struct slice out;
    char *template = malloc(LINK_TEMPLATE_MAX + 1);
    (void)state;
    assert_non_null(template);
    memset(template, 'x', LINK_TEMPLATE_MAX + 1);
    assert_non_null(
        link_text_fill(slice_of(template, LINK_TEMPLATE_MAX + 1), &facts, false, arena, &out));
    for (size_t i = 0; i + 7 <= LINK_TEMPLATE_MAX; i += 7)
        memcpy(template + i, "${name}", 7);
    struct link_facts with = facts;
    char name[LINK_SHOWN_BYTES];
    memset(name, '&', sizeof(name));
    with.name = slice_of(name, sizeof(name));
    assert_string_equal(
        link_text_fill(slice_of(template, 7 * (LINK_TEMPLATE_MAX / 7)), &with, true, arena, &out),
        "the text is too long");
    free(template);
    arena_free(arena);
}

/* ---- the store ---- */

struct store {
    char dir[64], files[80];
    struct conf *conf;
    struct arena *arena;
};

static void store_open(struct store *s)
{
    char option[160], *error = NULL;
    snprintf(s->dir, sizeof(s->dir), "/tmp/postern-link-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->files, sizeof(s->files), "%s/files", s->dir);
    assert_int_equal(mkdir(s->files, 0755), 0);
    snprintf(option, sizeof(option), "worker.state_dir=%s", s->dir);
    const char *overrides[] = {option};
    assert_int_equal(conf_load(NULL, overrides, 1, &s->conf, &error), 0);
    s->arena = arena_new();
}

static void store_close(struct store *s)
{
    char command[120];
    snprintf(command, sizeof(command), "rm -rf '%s'", s->dir);
    assert_int_equal(system(command), 0);
    conf_free(s->conf);
    arena_free(s->arena);
}

static const char *const id = "0123456789abcdef0123456789abcdef01234567";

static struct link link_of(const struct store *s, const char *content)
{
    return (struct link){.directory = s->files,
        .id = id,
        .url = "https://x/01/0123.bin",
        .content = slice_text(content),
        .sha256 = "00ff",
        .type = "application/pdf",
        .filename = slice_text("r\xc3\xa9sum\xc3\xa9.pdf"),
        .message_id = slice_text("<1@example.org>"),
        .sender = slice_text("a@example.org"),
        .queue_id = slice_text("Q1"),
        .now_secs = 1000,
        .expires_secs = 2000};
}

static const char *store(struct store *s, const struct link *link)
{
    return link_store(link, s->conf, s->arena, clock_now_ms() + patience_ms(10000));
}

static json_t *entry_of(const struct store *s)
{
    char name[LINK_INDEX_NAME_MAX];
    json_t *entry = NULL;
    const int index = link_index_open(s->conf, false);
    assert_true(index >= 0);
    const int shard = link_index_shard(index, id, false);
    assert_true(shard >= 0);
    link_index_name(id, s->files, name);
    assert_int_equal(link_index_read(shard, name, &entry), 0);
    close(shard);
    close(index);
    return entry;
}

static char *file_of(const struct store *s, char out[200])
{
    char path[LINK_FILE_LEN + 1];
    link_file_path(id, path);
    snprintf(out, 200, "%s/%s", s->files, path);
    return out;
}

static void assert_file(const struct store *s, const char *content, mode_t mode)
{
    char path[200], got[100] = "";
    struct stat st;
    const int fd = open(file_of(s, path), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, got, sizeof(got) - 1), strlen(content));
    assert_string_equal(got, content);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
    close(fd);
}

static int64_t number(const json_t *entry, const char *name)
{
    return json_integer_value(json_object_get(entry, name));
}

static void a_stored_file_is_in_the_index(void **state)
{
    struct store s;
    struct stat st;
    char path[200];
    (void)state;
    store_open(&s);
    const struct link link = link_of(&s, "content");
    assert_null(store(&s, &link));
    assert_file(&s, "content", 0644);
    snprintf(path, sizeof(path), "%s/01", s.files);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    json_t *entry = entry_of(&s);
    assert_string_equal(json_string_value(json_object_get(entry, "sha256")), "00ff");
    assert_int_equal(number(entry, "size"), 7);
    assert_int_equal(number(entry, "expires"), 2000);
    const json_t *use = json_array_get(json_object_get(entry, "uses"), 0);
    assert_string_equal(
        json_string_value(json_object_get(use, "filename")), "r\xc3\xa9sum\xc3\xa9.pdf");
    assert_string_equal(json_string_value(json_object_get(use, "sender")), "a@example.org");
    json_decref(entry);
    store_close(&s);
}

static void a_second_use_extends_and_a_retry_does_not_repeat(void **state)
{
    struct store s;
    struct stat before, after;
    char path[200];
    (void)state;
    store_open(&s);
    struct link link = link_of(&s, "content");
    assert_null(store(&s, &link));
    assert_int_equal(stat(file_of(&s, path), &before), 0);
    link.now_secs = 1500; /* the same mail again */
    link.expires_secs = 1800;
    assert_null(store(&s, &link));
    json_t *entry = entry_of(&s);
    assert_int_equal(json_array_size(json_object_get(entry, "uses")), 1);
    assert_int_equal(number(entry, "expires"), 2000);
    assert_int_equal(number(entry, "used"), 1500);
    assert_int_equal(number(entry, "stored"), 1000);
    json_decref(entry);
    link.message_id = slice_text("<2@example.org>");
    link.expires_secs = 0;
    assert_null(store(&s, &link));
    entry = entry_of(&s);
    assert_int_equal(json_array_size(json_object_get(entry, "uses")), 2);
    assert_int_equal(number(entry, "expires"), 0);
    json_decref(entry);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    store_close(&s);
}

static void uses_are_bounded_and_facts_cleaned(void **state)
{
    struct store s;
    char text[16], long_id[3000];
    (void)state;
    store_open(&s);
    struct link link = link_of(&s, "content");
    for (int i = 0; i < LINK_USES_MAX + 5; i++) {
        snprintf(text, sizeof(text), "<%d>", i);
        link.message_id = slice_text(text);
        assert_null(store(&s, &link));
    }
    json_t *entry = entry_of(&s);
    const json_t *uses = json_object_get(entry, "uses");
    assert_int_equal(json_array_size(uses), LINK_USES_MAX);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(uses, 0), "message_id")), "<5>");
    json_decref(entry);
    memset(long_id, '"', sizeof(long_id));
    link.message_id = slice_of(long_id, sizeof(long_id));
    link.filename = slice_text("a\nb\xff");
    assert_null(store(&s, &link));
    entry = entry_of(&s);
    const json_t *use = json_array_get(json_object_get(entry, "uses"), LINK_USES_MAX - 1);
    assert_int_equal(json_string_length(json_object_get(use, "message_id")), LINK_FACT_BYTES);
    assert_string_equal(json_string_value(json_object_get(use, "filename")), "a b\xef\xbf\xbd");
    json_decref(entry);
    store_close(&s);
}

static void half_a_file_under_the_name_is_replaced(void **state)
{
    struct store s;
    char path[200];
    (void)state;
    store_open(&s);
    const struct link link = link_of(&s, "content");
    assert_null(store(&s, &link));
    assert_int_equal(truncate(file_of(&s, path), 3), 0);
    assert_null(store(&s, &link));
    assert_file(&s, "content", 0644);
    assert_int_equal(unlink(path), 0);
    assert_null(store(&s, &link));
    assert_file(&s, "content", 0644);
    store_close(&s);
}

static void failures_name_the_path(void **state)
{
    struct store s;
    char path[200];
    (void)state;
    store_open(&s);
    struct link link = link_of(&s, "content");
    link.directory = "/nowhere/at/all";
    const char *why = store(&s, &link);
    assert_non_null(why);
    assert_non_null(strstr(why, "/nowhere/at/all"));
    /* a link where the folder should be */
    link = link_of(&s, "content");
    snprintf(path, sizeof(path), "%s/01", s.files);
    assert_int_equal(symlink("/tmp", path), 0);
    assert_non_null(store(&s, &link));
    assert_int_equal(unlink(path), 0);
    /* an index that others can enter */
    snprintf(path, sizeof(path), "%s/urls", s.dir);
    (void)mkdir(path, 0700);
    assert_int_equal(chmod(path, 0755), 0);
    why = store(&s, &link);
    assert_non_null(why);
    assert_non_null(strstr(why, "the index"));
    store_close(&s);
}

static void a_lock_that_is_held_is_not_waited_for_for_ever(void **state)
{
    struct store s;
    (void)state;
    store_open(&s);
    const struct link link = link_of(&s, "content");
    assert_null(store(&s, &link));
    const int index = link_index_open(s.conf, false);
    const int shard = link_index_shard(index, id, false);
    assert_int_equal(link_folder_lock(shard, clock_now_ms() + patience_ms(1000)), 0);
    const char *why = link_store(&link, s.conf, s.arena, clock_now_ms() + 50);
    assert_non_null(why);
    close(shard);
    close(index);
    assert_null(store(&s, &link));
    store_close(&s);
}

/* ---- many, and killed ones ---- */

enum { PROCESSES = 8, ROUNDS = 5 };

static void many_processes_make_one_file(void **state)
{
    struct store s;
    (void)state;
    store_open(&s);
    for (int i = 0; i < PROCESSES; i++) {
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            char text[16];
            const char *why = NULL;
            struct link link = link_of(&s, "content");
            snprintf(text, sizeof(text), "<%d>", i);
            link.message_id = slice_text(text);
            for (int k = 0; k < ROUNDS && why == NULL; k++)
                why = store(&s, &link);
            if (why != NULL)
                fprintf(stderr, "%s\n", why);
            _exit(why != NULL);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = -1;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    json_t *entry = entry_of(&s);
    assert_int_equal(json_array_size(json_object_get(entry, "uses")), PROCESSES);
    json_decref(entry);
    assert_file(&s, "content", 0644);
    store_close(&s);
}

/* Names in the served folder: temporary ones, and others. */
static void count_names(const struct store *s, int *temporary_out, int *other_out)
{
    char path[200];
    const struct dirent *row;
    *temporary_out = *other_out = 0;
    snprintf(path, sizeof(path), "%s/01", s->files);
    DIR *stream = opendir(path);
    while (stream != NULL && (row = readdir(stream)) != NULL) {
        if (strncmp(row->d_name, LINK_FILE_NEW, strlen(LINK_FILE_NEW)) == 0)
            (*temporary_out)++;
        else if (row->d_name[0] != '.')
            (*other_out)++;
    }
    if (stream != NULL)
        closedir(stream);
}

static void a_killed_process_leaves_no_half_file(void **state)
{
    enum { BIG = 64 << 20 };
    struct store s;
    int temporary, other;
    char *content = malloc(BIG);
    (void)state;
    assert_non_null(content);
    memset(content, 'c', BIG);
    store_open(&s);
    struct link link = link_of(&s, "");
    link.content = slice_of(content, BIG);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)store(&s, &link);
        _exit(0);
    }
    const int64_t deadline_ms = clock_now_ms() + patience_ms(20000);
    do
        count_names(&s, &temporary, &other);
    while (temporary + other == 0 && clock_now_ms() < deadline_ms);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    count_names(&s, &temporary, &other);
    if (other > 0) { /* it was quicker: then all of it is there */
        char path[200];
        struct stat st;
        assert_int_equal(stat(file_of(&s, path), &st), 0);
        assert_int_equal(st.st_size, BIG);
    }
    assert_null(store(&s, &link)); /* its lock has gone with it */
    count_names(&s, &temporary, &other);
    assert_int_equal(other, 1);
    const int folder = link_open_folder(s.files, id);
    assert_int_equal(link_file_clean(folder, 3600, false), 0);
    assert_int_equal(link_file_clean(folder, 0, true), temporary);
    assert_int_equal(link_file_clean(folder, 0, false), temporary);
    close(folder);
    free(content);
    store_close(&s);
}

/* ---- keys and entries ---- */

static void a_key_is_made_once(void **state)
{
    struct store s;
    uint8_t one[KEYED_HASH_BYTES], two[KEYED_HASH_BYTES];
    struct stat st;
    char path[200], made[LINK_ID_LEN + 1], again[LINK_ID_LEN + 1];
    (void)state;
    store_open(&s);
    snprintf(path, sizeof(path), "%s/urls/key", s.dir);
    assert_int_equal(link_key_get(path, false, one), -ERR_NOTFOUND);
    assert_int_equal(link_key_get(path, true, one), 0);
    assert_int_equal(link_key_get(path, true, two), 0);
    assert_memory_equal(one, two, sizeof(one));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    link_id_make(one, slice_text("x"), made);
    link_id_make(two, slice_text("x"), again);
    assert_string_equal(made, again);
    assert_true(link_id_is_good(made));
    link_id_make(one, slice_text("y"), again);
    assert_string_not_equal(made, again);
    one[0] ^= 1;
    link_id_make(one, slice_text("x"), again);
    assert_string_not_equal(made, again);
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(link_key_get(path, true, one), -ERR_BAD);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, KEYED_HASH_BYTES - 1), 0);
    assert_int_equal(link_key_get(path, true, one), -ERR_BAD);
    assert_int_equal(link_key_get("no-folder", true, one), -ERR_BAD);
    store_close(&s);
}

static void entries_that_cannot_be_trusted_are_refused(void **state)
{
    static const char *const texts[] = {"", "null", "[]", "{}", "{\"id\": 1}", "{\"id\": \"x\"}"};
    char name[LINK_INDEX_NAME_MAX], *text;
    json_t *entry = NULL;
    struct store s;
    (void)state;
    store_open(&s);
    const struct link link = link_of(&s, "content");
    assert_null(store(&s, &link));
    json_t *good = entry_of(&s);
    link_index_name(id, s.files, name);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(link_index_parse(name, slice_text(texts[i]), &entry), -ERR_BAD);
    /* another folder, another id, no uses, a negative size */
    static const char *const members[] = {"directory", "id", "uses", "size", "sha256"};
    json_t *const values[] = {json_string("/etc"), json_string("../../../etc/passwd"), json_array(),
        json_integer(-1), json_null()};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_t *bad = json_deep_copy(good);
        json_object_set_new(bad, members[i], values[i]);
        text = json_dumps(bad, 0);
        assert_int_equal(link_index_parse(name, slice_text(text), &entry), -ERR_BAD);
        free(text);
        json_decref(bad);
    }
    text = json_dumps(good, 0);
    assert_int_equal(link_index_parse(name, slice_text(text), &entry), 0);
    free(text);
    json_decref(entry);
    json_decref(good);
    store_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_filled_in),
        cmocka_unit_test(values_of_hostile_mail_are_tame),
        cmocka_unit_test(sizes_are_for_people),
        cmocka_unit_test(too_much_text_is_refused),
        cmocka_unit_test(a_stored_file_is_in_the_index),
        cmocka_unit_test(a_second_use_extends_and_a_retry_does_not_repeat),
        cmocka_unit_test(uses_are_bounded_and_facts_cleaned),
        cmocka_unit_test(half_a_file_under_the_name_is_replaced),
        cmocka_unit_test(failures_name_the_path),
        cmocka_unit_test(a_lock_that_is_held_is_not_waited_for_for_ever),
        cmocka_unit_test(many_processes_make_one_file),
        cmocka_unit_test(a_killed_process_leaves_no_half_file),
        cmocka_unit_test(a_key_is_made_once),
        cmocka_unit_test(entries_that_cannot_be_trusted_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
