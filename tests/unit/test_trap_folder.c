/* The folder of what is kept: leftovers, half entries, modes, what others put there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <utime.h>

#include "common/err.h"

#include "tests/unit/trap_fixture.h"

static void age(const struct trap_test *t, const char *name, int secs)
{
    char path[200];
    const struct utimbuf times = {.actime = time(NULL) - secs, .modtime = time(NULL) - secs};
    snprintf(path, sizeof(path), "%s/trap/%s", t->state, name);
    assert_int_equal(utime(path, &times), 0);
}

static void make_file(const struct trap_test *t, const char *name, int old_secs)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/trap/%s", t->state, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("half", file) >= 0);
    assert_int_equal(fclose(file), 0);
    age(t, name, old_secs);
}

static bool has_file(const struct trap_test *t, const char *name)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/trap/%s", t->state, name);
    return access(path, F_OK) == 0;
}

static void leftovers_go_and_what_is_not_ours_stays(void **state)
{
    (void)state;
    struct trap_test t;
    struct trap_usage usage;
    trap_test_begin(&t, "msg:trap()", NULL);
    trap_test_run(&t, trap_test_mail, VERDICT_CONTINUE);
    static const struct {
        const char *name;
        int old_secs;
        bool stays;
    } rows[] = {
        {".tmp-0123456789abcdef01234567", 7200, false},
        {".tmp-young", 10, true},
        {"abcdefghijklmnopqrstuvwx.eml", 7200, false},
        {"abcdefghijklmnopqrstuvww.part", 7200, false},
        {"abcdefghijklmnopqrstuvwy.eml", 10, true},
        {"notes.txt", 7200, true},
        {"ABCDEFGHIJKLMNOPQRSTUVWX.eml", 7200, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        make_file(&t, rows[i].name, rows[i].old_secs);
    assert_int_equal(trap_test_store(&t)->calls->mend(t.store, &usage), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(has_file(&t, rows[i].name), rows[i].stays);
    assert_int_equal(usage.n_entries, 1);
    assert_true(usage.bytes > t.f.message.len);
    trap_test_end(&t);
}

/* One that a dead worker has left half: the next try of the mail makes it whole. */
static void a_half_entry_is_made_whole(void **state)
{
    (void)state;
    struct trap_test t;
    char id[TRAP_ID_CHARS + 1], name[200];
    struct buf content;
    trap_test_begin(&t, "msg:trap()", NULL);
    trap_test_run(&t, trap_test_mail, VERDICT_CONTINUE);
    json_decref(trap_test_only_facts(&t, id));
    snprintf(name, sizeof(name), "%s.eml", id);
    make_file(&t, name, 0);
    snprintf(name, sizeof(name), "%s/trap/%s.json", t.state, id);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(t.store->calls->read(t.store, id, &content), -ERR_NOTFOUND);
    trap_test_run(&t, trap_test_mail, VERDICT_CONTINUE);
    json_decref(trap_test_only_facts(&t, id));
    assert_int_equal(t.store->calls->read(t.store, id, &content), 0);
    assert_int_equal(content.len, t.f.message.len);
    buf_clear(&content);
    trap_test_end(&t);
}

static void modes_are_private_or_for_a_group(void **state)
{
    (void)state;
    static const struct {
        const char *option;
        mode_t folder, file;
    } rows[] = {{NULL, 0700, 0600}, {"trap.mode=0750", 0750, 0640}, {"trap.mode=0777", 0750, 0640}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct trap_test t;
        char id[TRAP_ID_CHARS + 1], path[200];
        struct stat st;
        trap_test_begin(&t, "msg:trap()", rows[i].option);
        trap_test_run(&t, trap_test_mail, VERDICT_CONTINUE);
        json_decref(trap_test_only_facts(&t, id));
        snprintf(path, sizeof(path), "%s/trap", t.state);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, rows[i].folder);
        snprintf(path, sizeof(path), "%s/trap/%s.eml", t.state, id);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, rows[i].file);
        snprintf(path, sizeof(path), "%s/trap/.secret", t.state);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        trap_test_end(&t);
    }
}

/* Garbage and links where facts should be: an error, and never followed. */
static void what_others_put_there_is_not_trusted(void **state)
{
    (void)state;
    struct trap_test t;
    char id[TRAP_ID_CHARS + 1], path[200], secret[200];
    json_t *facts;
    trap_test_begin(&t, "msg:trap()", NULL);
    trap_test_run(&t, trap_test_mail, VERDICT_CONTINUE);
    json_decref(trap_test_only_facts(&t, id));
    snprintf(path, sizeof(path), "%s/trap/%s.json", t.state, id);
    static const char *const texts[] = {"", "{", "[]", "null", "\"x\""};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(texts[i], file) >= 0);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(t.store->calls->find(t.store, id, &facts), -ERR_BAD);
        trap_test_run(&t, trap_test_mail, VERDICT_TEMPFAIL);
    }
    snprintf(secret, sizeof(secret), "%s/secret", t.state);
    FILE *file = fopen(secret, "w");
    assert_non_null(file);
    assert_true(fputs("{}", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(secret, path), 0);
    assert_int_equal(t.store->calls->find(t.store, id, &facts), -ERR_BAD);
    struct trap_rows rows = trap_test_rows(&t, 0);
    trap_rows_clear(&rows);
    trap_test_end(&t);
}

static void ids_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", "../../../../etc/passwd0", "abcdefghijklmnopqrstuvw",
        "abcdefghijklmnopqrstuvwxy", "abcdefghijklmnopqrstuvw/", "abcdefghijklmnopqrstuvw1",
        "ABCDEFGHIJKLMNOPQRSTUVWX"};
    assert_true(trap_id_is_good("abcdefghijklmnopqrstuvwx"));
    assert_true(trap_id_is_good("234567yzabcdefghijklmnop"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(trap_id_is_good(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leftovers_go_and_what_is_not_ours_stays),
        cmocka_unit_test(a_half_entry_is_made_whole),
        cmocka_unit_test(modes_are_private_or_for_a_group),
        cmocka_unit_test(what_others_put_there_is_not_trusted),
        cmocka_unit_test(ids_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
