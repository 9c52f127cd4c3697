#include "tests/unit/trap_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <ftw.h>

#include "common/err.h"

const char trap_test_mail[] =
    "Subject: =?utf-8?Q?caf=C3=A9_=1B=5B31m?=\nMessage-ID: <one@example.org>\n"
    "Content-Type: multipart/mixed; boundary=b\n\n"
    "--b\nContent-Type: text/plain\n\nhello\n"
    "--b\nContent-Type: application/octet-stream; name=\"../../x.exe\"\n"
    "Content-Transfer-Encoding: base64\n\nTVpoZWxsbw==\n--b--\n";

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void trap_test_begin(struct trap_test *t, const char *code, const char *more)
{
    char state_option[128];
    *t = (struct trap_test){.store = NULL};
    snprintf(t->state, sizeof(t->state), "/tmp/postern-trap.XXXXXX");
    assert_non_null(mkdtemp(t->state));
    snprintf(state_option, sizeof(state_option), "worker.state_dir=%s", t->state);
    fixture_open(&t->f, (const char *[]){state_option, "trap.min_free=0", more, NULL});
    fixture_filter(
        &t->f, arena_printf(t->f.texts, "function filter_message(msg)\n%s\nend\n", code));
    script_do_deeds(t->f.script);
}

void trap_test_end(struct trap_test *t)
{
    trap_store_close(t->store);
    fixture_close(&t->f);
    assert_int_equal(nftw(t->state, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void trap_test_run(struct trap_test *t, const char *message, enum verdict verdict)
{
    fixture_start(&t->f, message);
    fixture_run_ok(&t->f, HOOK_MESSAGE, verdict);
}

struct trap_store *trap_test_store(struct trap_test *t)
{
    if (t->store == NULL)
        assert_int_equal(trap_store_open(t->f.conf, false, &t->store), 0);
    return t->store;
}

struct trap_rows trap_test_rows(struct trap_test *t, size_t n)
{
    struct trap_rows rows;
    assert_int_equal(trap_test_store(t)->calls->list(t->store, &rows), 0);
    assert_int_equal(rows.n, n);
    return rows;
}

json_t *trap_test_only_facts(struct trap_test *t, char id_out[TRAP_ID_CHARS + 1])
{
    struct trap_rows rows = trap_test_rows(t, 1);
    json_t *facts = NULL;
    memcpy(id_out, rows.items[0].id, TRAP_ID_CHARS + 1);
    assert_int_equal(t->store->calls->find(t->store, id_out, &facts), 0);
    trap_rows_clear(&rows);
    return facts;
}
