/*
 * The store: the same tests on each place that entries are kept, then what only a file can suffer.
 * With POSTERN_TEST_REDIS, the socket of a server that nobody else uses: the same tests there
 * (tests/store/test_redis.py starts one).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/err.h"
#include "tests/unit/patience.h"
#include "worker/store.h"

struct fixture {
    enum store_use use;
    char dir[64], path[96];
    const char *redis; /* its socket; NULL: entries are elsewhere */
    struct conf *conf;
    struct store *store;
};

/* ---- setting up ---- */

static int open_fixture(struct fixture *f, const char *option)
{
    char state[128], server[160], prefix[64];
    char *error = NULL;
    strcpy(f->dir, "/tmp/postern-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/store.db", f->dir);
    snprintf(state, sizeof state, "worker.state_dir=%s", f->dir);
    snprintf(server, sizeof server, "redis.server=%s", f->redis != NULL ? f->redis : "/none");
    snprintf(prefix, sizeof prefix, "store.prefix=%.30s*[:", f->dir); /* own keys in each test */
    const char *overrides[] = {state, server, prefix, "store.timeout=20s",
        f->redis != NULL ? "store.backend=redis" : "store.backend=sqlite", option};
    assert_int_equal(conf_load(NULL, overrides, option != NULL ? 6 : 5, &f->conf, &error), 0);
    f->store = store_new(f->conf, f->use);
    return 0;
}

static int set_up_as(void **state, enum store_use use, const char *redis)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->use = use;
    f->redis = redis;
    *state = f;
    return open_fixture(f, NULL);
}

static int set_up_file(void **state)
{
    return set_up_as(state, STORE_SHARED, NULL);
}

static int set_up_memory(void **state)
{
    return set_up_as(state, STORE_PRIVATE, NULL);
}

static int set_up_redis(void **state)
{
    return set_up_as(state, STORE_SHARED, getenv("POSTERN_TEST_REDIS"));
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char path[128];
    store_free(f->store);
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", f->path, endings[i]);
        (void)unlink(path);
    }
    rmdir(f->dir);
    conf_free(f->conf);
    free(f);
    return 0;
}

/* ---- requests ---- */

static struct store_value integer(int64_t n)
{
    return (struct store_value){.kind = STORE_INTEGER, .integer = n};
}

static struct store_value text(const char *s)
{
    return (struct store_value){.kind = STORE_TEXT, .bytes = slice_text(s)};
}

static struct store_request request_of(enum store_op op, const char *key)
{
    return (struct store_request){
        .op = op, .key = slice_text(key), .deadline_ms = clock_now_ms() + patience_ms(20000)};
}

static void run_ok(struct fixture *f, struct store_request *request)
{
    int err = store_run_to_end(f->store, request);
    if (err != 0)
        fail_msg("%s: %s", err_text(err), store_error(f->store));
}

static bool put(
    struct fixture *f, enum store_op op, const char *key, struct store_value value, int64_t ttl_ms)
{
    struct store_request request = request_of(op, key);
    request.value = value;
    request.ttl_ms = ttl_ms;
    run_ok(f, &request);
    return request.is_done;
}

static void expect(struct fixture *f, const char *key, struct store_value wanted)
{
    struct store_request request = request_of(STORE_GET, key);
    run_ok(f, &request);
    assert_int_equal(request.result.kind, wanted.kind);
    assert_int_equal(request.result.integer, wanted.integer);
    assert_true(request.result.number == wanted.number);
    assert_true(slice_equal(request.result.bytes, wanted.bytes));
}

static int64_t incr(struct fixture *f, const char *key, int64_t n, int64_t ttl_ms)
{
    struct store_request request = request_of(STORE_INCR, key);
    request.value = integer(n);
    request.ttl_ms = ttl_ms;
    run_ok(f, &request);
    assert_int_equal(request.result.kind, STORE_INTEGER);
    return request.result.integer;
}

static bool swap(struct fixture *f, const char *key, struct store_value expected,
    struct store_value value, int64_t ttl_ms)
{
    struct store_request request = request_of(STORE_SWAP, key);
    request.expected = expected;
    request.value = value;
    request.ttl_ms = ttl_ms;
    run_ok(f, &request);
    return request.is_done;
}

static bool delete (struct fixture *f, const char *key)
{
    struct store_request request = request_of(STORE_DELETE, key);
    run_ok(f, &request);
    return request.is_done;
}

static const struct store_value none = {.kind = STORE_NONE};

/* ---- on each back end ---- */

static void test_kinds(void **state)
{
    struct fixture *f = *state;
    static const char bytes[] = "\0\xff'; DROP TABLE entry; --";
    const struct store_value values[] = {integer(INT64_MIN), integer(INT64_MAX), integer(0),
        {.kind = STORE_FLOAT, .number = 0.1}, {.kind = STORE_FLOAT, .number = 3},
        {.kind = STORE_FLOAT, .number = -1e300}, {.kind = STORE_BOOLEAN, .integer = 0},
        {.kind = STORE_BOOLEAN, .integer = 1}, text(""), text("1"),
        {.kind = STORE_TEXT, .bytes = {bytes, sizeof bytes}},
        {.kind = STORE_TABLE, .bytes = {"\6\0\0\0\0", 5}}};
    expect(f, "k", none);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        put(f, STORE_SET, "k", values[i], STORE_TTL_NONE);
        expect(f, "k", values[i]);
    }
    char *large = malloc(STORE_VALUE_MAX);
    assert_non_null(large);
    memset(large, 'x', STORE_VALUE_MAX);
    const struct store_value largest = {.kind = STORE_TEXT, .bytes = {large, STORE_VALUE_MAX}};
    put(f, STORE_SET, "k", largest, STORE_TTL_NONE);
    expect(f, "k", largest);
    free(large);
}

static void test_an_end(void **state)
{
    struct fixture *f = *state;
    put(f, STORE_SET, "short", integer(1), 10000);
    put(f, STORE_SET, "long", integer(2), STORE_TTL_NONE);
    struct store_request request = request_of(STORE_GET, "short");
    run_ok(f, &request);
    assert_in_range(request.expires_ms, clock_wall_ms(), clock_wall_ms() + 10000);
    clock_shift_wall(10001);
    expect(f, "short", none);
    expect(f, "long", integer(2));
    assert_true(put(f, STORE_ADD, "short", integer(3), 10000)); /* what has ended is not there */
    clock_shift_wall(10001);
    assert_int_equal(incr(f, "short", 5, 10000), 5);
    clock_shift_wall(10001);
    assert_false(delete (f, "short"));
    assert_true(delete (f, "long"));
    assert_false(delete (f, "long"));
}

static void test_add(void **state)
{
    struct fixture *f = *state;
    assert_true(put(f, STORE_ADD, "k", integer(1), STORE_TTL_NONE));
    assert_false(put(f, STORE_ADD, "k", integer(2), STORE_TTL_NONE));
    expect(f, "k", integer(1));
}

static void test_incr(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(incr(f, "n", 1, 10000), 1);
    clock_shift_wall(6000);
    assert_int_equal(incr(f, "n", 41, 10000), 42);
    clock_shift_wall(6000); /* its end is that of the first one */
    assert_int_equal(incr(f, "n", -3, STORE_TTL_NONE), -3);
    clock_shift_wall(1000000);
    assert_int_equal(incr(f, "n", 0, STORE_TTL_NONE), -3);
}

static void test_incr_of_something_else(void **state)
{
    struct fixture *f = *state;
    const struct store_value values[] = {text("1"), integer(INT64_MAX)};
    for (size_t i = 0; i < 2; i++) {
        put(f, STORE_SET, "n", values[i], STORE_TTL_NONE);
        struct store_request request = request_of(STORE_INCR, "n");
        request.value = integer(1);
        assert_int_equal(store_run_to_end(f->store, &request), -ERR_BAD);
        assert_non_null(strstr(store_error(f->store), "integer"));
        expect(f, "n", values[i]);
    }
}

static void test_swap(void **state)
{
    struct fixture *f = *state;
    assert_true(swap(f, "k", none, text("a"), 10000));
    assert_false(swap(f, "k", none, text("b"), STORE_TTL_NONE));
    assert_false(swap(f, "k", text("x"), text("b"), STORE_TTL_NONE));
    assert_false(swap(f, "k", integer(0), text("b"), STORE_TTL_NONE));
    assert_true(swap(f, "k", text("a"), integer(7), STORE_TTL_KEEP));
    expect(f, "k", integer(7));
    clock_shift_wall(10001); /* it has kept its end */
    expect(f, "k", none);
    assert_false(swap(f, "k", integer(7), none, STORE_TTL_NONE));
    put(f, STORE_SET, "k", integer(8), 10000);
    assert_true(swap(f, "k", integer(8), integer(9), STORE_TTL_NONE));
    clock_shift_wall(10001);
    expect(f, "k", integer(9));
    assert_false(swap(f, "k", integer(8), none, STORE_TTL_NONE));
    assert_true(swap(f, "k", integer(9), none, STORE_TTL_NONE));
    expect(f, "k", none);
}

struct listing {
    char text[400];
};

static void on_entry(const struct store_entry *entry, void *context)
{
    struct listing *listing = context;
    size_t at = strlen(listing->text);
    snprintf(listing->text + at, sizeof listing->text - at, "%.*s=%lld ", (int)entry->key.len,
        entry->key.data, (long long)entry->value.integer);
}

static const char *list(
    struct fixture *f, struct listing *out, const char *prefix, const char *after, uint32_t limit)
{
    struct store_request request = request_of(STORE_LIST, prefix);
    request.after = slice_text(after);
    request.limit = limit;
    request.on_entry = on_entry;
    request.context = out;
    out->text[0] = '\0';
    run_ok(f, &request);
    return out->text;
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    struct listing out;
    assert_string_equal(list(f, &out, "", "", 10), "");
    const char *const keys[] = {"b:2", "a", "b:", "b:1", "b;", "\xff", "\xff\xff", "\xff\xff:"};
    for (int i = 0; i < 8; i++)
        put(f, STORE_SET, keys[i], integer(i), STORE_TTL_NONE);
    put(f, STORE_SET, "b:gone", integer(9), 10);
    clock_shift_wall(11);
    assert_string_equal(list(f, &out, "b:", "", 10), "b:=2 b:1=3 b:2=0 ");
    assert_string_equal(list(f, &out, "b:", "b:", 10), "b:1=3 b:2=0 ");
    assert_string_equal(list(f, &out, "b:", "", 2), "b:=2 b:1=3 ");
    assert_string_equal(list(f, &out, "c", "", 2), "");
    assert_string_equal(list(f, &out, "\xff\xff", "", 10), "\xff\xff=6 \xff\xff:=7 ");
    assert_string_equal(list(f, &out, "", "b:2", 10), "b;=4 \xff=5 \xff\xff=6 \xff\xff:=7 ");
}

static void on_number(const struct store_entry *entry, void *context)
{
    char *seen = context;
    assert_in_range(entry->value.integer, 0, 2999);
    assert_int_equal(seen[entry->value.integer], 0);
    seen[entry->value.integer] = 1;
}

static uint32_t expire(struct fixture *f, uint32_t limit)
{
    struct store_request request = request_of(STORE_EXPIRE, "");
    request.limit = limit;
    run_ok(f, &request);
    return request.n_removed;
}

static void test_expire(void **state)
{
    struct fixture *f = *state;
    struct listing out;
    char key[16];
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "k%02d", i);
        put(f, STORE_SET, key, integer(i), i < 15 ? 1000 + i : STORE_TTL_NONE);
    }
    assert_int_equal(expire(f, 10), 0);
    clock_shift_wall(2000);
    assert_int_equal(expire(f, 10), 10);
    assert_int_equal(expire(f, 10), 5);
    assert_int_equal(expire(f, 10), 0);
    assert_string_equal(list(f, &out, "", "", 100), "k15=15 k16=16 k17=17 k18=18 k19=19 ");
}

/* Nobody asks for it: those whose end has passed go while others are written. */
static void test_writing_removes_what_has_ended(void **state)
{
    struct fixture *f = *state;
    char key[16];
    for (int i = 0; i < 150; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(f, STORE_SET, key, integer(i), 1000);
    }
    clock_shift_wall(2000);
    for (int i = 0; i < 300; i++)
        incr(f, "n", 1, STORE_TTL_NONE);
    assert_int_equal(expire(f, 1000), 0);
}

/* ---- servers ---- */

/* More than one page of what is asked for at once, in order, though Redis has none. */
static void test_a_long_list(void **state)
{
    struct fixture *f = *state;
    static char seen[3000];
    char key[16], after[16] = "", wanted[32];
    struct listing out;
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "k%04d", i);
        put(f, STORE_SET, key, integer(i), STORE_TTL_NONE);
    }
    for (int i = 0; i < 3000; i++) {
        snprintf(wanted, sizeof wanted, "k%04d=%d ", i, i);
        if (i % 500 == 0 || i > 2990)
            assert_string_equal(list(f, &out, "k", after, 1), wanted);
        snprintf(after, sizeof after, "k%04d", i);
    }
    struct store_request request = request_of(STORE_LIST, "k");
    request.limit = STORE_PAGE_MAX;
    request.on_entry = on_number;
    request.context = seen;
    run_ok(f, &request);
    assert_null(memchr(seen, 0, sizeof seen));
}

/* A request that is given up takes its link with it, and the next one is answered as ever. */
static void test_given_up(void **state)
{
    struct fixture *f = *state;
    struct listing out;
    put(f, STORE_SET, "k", text("v"), STORE_TTL_NONE);
    for (int i = 0; i < 20; i++) {
        struct store_request request = request_of(i % 2 == 0 ? STORE_INCR : STORE_LIST, "n");
        request.value = integer(1);
        request.limit = 10;
        request.on_entry = on_entry;
        request.context = &out;
        out.text[0] = '\0';
        int err = store_run(f->store, &request);
        while (err == -ERR_AGAIN && i % 3 != 0) {
            store_wait(&request.wait);
            err = store_run(f->store, &request);
            if (i % 5 == 0)
                break;
        }
        store_cancel(f->store, &request);
        assert_null(request.pending);
        expect(f, "k", text("v"));
    }
}

static void test_no_server(void **state)
{
    struct fixture *f = *state;
    tear_down(state);
    f = calloc(1, sizeof *f);
    assert_non_null(f);
    *state = f;
    f->redis = "/nowhere/redis.sock";
    open_fixture(f, NULL);
    for (int i = 0; i < 2; i++) {
        struct store_request request = request_of(STORE_GET, "k");
        assert_int_equal(store_run_to_end(f->store, &request), -ERR_SYSTEM);
        assert_non_null(strstr(store_error(f->store), "redis /nowhere/redis.sock: "));
    }
}

/* ---- files ---- */

static void write_file(const char *path, const char *bytes, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

static void expect_error(struct fixture *f, const char *part)
{
    struct store_request request = request_of(STORE_GET, "k");
    assert_int_equal(store_run_to_end(f->store, &request), -ERR_SYSTEM);
    if (strstr(store_error(f->store), part) == NULL)
        fail_msg("%s: has no \"%s\"", store_error(f->store), part);
    assert_non_null(strstr(store_error(f->store), f->path));
}

/* After a file that cannot be used, the next try is a second later. */
static void wait_until_it_serves(struct fixture *f)
{
    const int64_t end_ms = clock_now_ms() + patience_ms(10000);
    struct store_request request = request_of(STORE_INCR, "n");
    request.value = integer(1);
    while (store_run_to_end(f->store, &request) != 0) {
        assert_true(clock_now_ms() < end_ms);
        store_wait(&(struct script_wait){.fd = -1, .until_ms = clock_now_ms() + 50});
    }
}

static void test_what_is_no_store(void **state)
{
    struct fixture *f = *state;
    char garbage[8192];
    sqlite3 *db;
    memset(garbage, 'x', sizeof garbage);
    write_file(f->path, garbage, sizeof garbage);
    expect_error(f, "not a database");
    expect_error(f, "not a database"); /* told again, and not tried */
    assert_int_equal(unlink(f->path), 0);
    wait_until_it_serves(f);
    store_free(f->store);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (a)", NULL, NULL, NULL), SQLITE_OK);
    f->store = store_new(f->conf, STORE_SHARED);
    expect_error(f, "something else");
    store_free(f->store);
    assert_int_equal(
        sqlite3_exec(
            db, "PRAGMA application_id = 0x506f7374; PRAGMA user_version = 99", NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    f->store = store_new(f->conf, STORE_SHARED);
    expect_error(f, "another version");
}

/* Pages in the middle of the file are overwritten under a store that is open. */
static void test_a_broken_file(void **state)
{
    struct fixture *f = *state;
    char key[32], page[4096];
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        put(f, STORE_SET, key, text("some text of a value"), STORE_TTL_NONE);
    }
    store_free(f->store); /* the log is in the file now */
    FILE *file = fopen(f->path, "r+");
    assert_non_null(file);
    memset(page, 0xa5, sizeof page);
    for (int i = 2; i < 12; i++) {
        fseek(file, i * 4096L, SEEK_SET);
        assert_int_equal(fwrite(page, 1, sizeof page, file), sizeof page);
    }
    fclose(file);
    f->store = store_new(f->conf, STORE_SHARED);
    int n_bad = 0;
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        struct store_request request = request_of(STORE_GET, key);
        n_bad += store_run_to_end(f->store, &request) != 0;
    }
    assert_true(n_bad > 0);
    assert_non_null(strstr(store_error(f->store), "malformed"));
}

static void test_no_folder(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rmdir(f->dir), 0);
    expect_error(f, "unable to open");
    assert_int_equal(mkdir(f->dir, 0700), 0);
    wait_until_it_serves(f);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
}

static void test_full(void **state)
{
    struct fixture *f = *state;
    char value[4000];
    int n = 0, err = 0;
    tear_down(state);
    f = calloc(1, sizeof *f);
    assert_non_null(f);
    *state = f;
    open_fixture(f, "store.max_bytes=256K");
    memset(value, 'v', sizeof value);
    for (; n < 1000 && err == 0; n++) {
        char key[16];
        snprintf(key, sizeof key, "%d", n);
        struct store_request request = request_of(STORE_SET, key);
        request.value = (struct store_value){.kind = STORE_TEXT, .bytes = {value, sizeof value}};
        err = store_run_to_end(f->store, &request);
    }
    assert_int_equal(err, -ERR_TOOBIG);
    assert_non_null(strstr(store_error(f->store), "full"));
    assert_in_range(n, 20, 70);
    assert_true(delete (f, "0")); /* it can be read and emptied */
    assert_true(delete (f, "1"));
    put(f, STORE_SET, "again", integer(1), STORE_TTL_NONE);
    expect(f, "again", integer(1));
}

/* Another writes all the time: who reads does not notice, who writes is told in time. */
static void test_busy(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db;
    put(f, STORE_SET, "k", integer(1), STORE_TTL_NONE);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    expect(f, "k", integer(1));
    struct store_request request = request_of(STORE_SET, "k");
    request.value = integer(2);
    assert_int_equal(store_run(f->store, &request), -ERR_AGAIN);
    assert_int_equal(request.wait.fd, -1);
    assert_true(request.wait.until_ms > 0);
    request.deadline_ms = clock_now_ms() + 30;
    assert_int_equal(store_run_to_end(f->store, &request), -ERR_TIMEOUT);
    assert_non_null(strstr(store_error(f->store), "busy"));
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    request.deadline_ms = clock_now_ms() + patience_ms(10000);
    run_ok(f, &request);
    expect(f, "k", integer(2));
}

/* The file is taken away, or another put in its place: workers let go of it after some changes. */
static void test_a_file_that_was_replaced(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    put(f, STORE_SET, "k", integer(1), STORE_TTL_NONE);
    assert_int_equal(unlink(f->path), 0);
    for (int i = 0; i < 100; i++)
        incr(f, "n", 1, STORE_TTL_NONE);
    expect(f, "k", none);
    assert_int_equal(stat(f->path, &st), 0);
}

static void test_the_log_stays_small(void **state)
{
    struct fixture *f = *state;
    char path[128], value[2000];
    struct stat st;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 12000; i++)
        put(f, STORE_SET, i % 2 == 0 ? "a" : "b", text(value), STORE_TTL_NONE);
    snprintf(path, sizeof path, "%s-wal", f->path);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(st.st_size, 1, 12 << 20);
}

static void test_two_at_once(void **state)
{
    struct fixture *f = *state;
    struct store *first = f->store;
    struct store *second = store_new(f->conf, STORE_SHARED);
    for (int i = 1; i <= 200; i++) {
        f->store = i % 2 != 0 ? first : second;
        assert_int_equal(incr(f, "n", 1, STORE_TTL_NONE), i);
    }
    f->store = first;
    store_free(second);
}

enum { PROCESSES = 200, CHANGES = 12 };

/* Each its own connection, as workers have; half of what they change is one entry. */
static int change_many(struct fixture *f, int number)
{
    struct store *store = store_new(f->conf, STORE_SHARED);
    char own[16];
    int n_failed = 0;
    snprintf(own, sizeof own, "own-%d", number);
    for (int i = 0; i < CHANGES; i++) {
        struct store_request request = request_of(STORE_INCR, i % 2 == 0 ? "all" : own);
        request.deadline_ms = clock_now_ms() + patience_ms(60000);
        request.value = integer(1);
        n_failed += store_run_to_end(store, &request) != 0;
    }
    store_free(store);
    return n_failed;
}

static void test_many_processes(void **state)
{
    struct fixture *f = *state;
    int64_t sum = 0;
    for (int i = 0; i < PROCESSES; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(change_many(f, i) == 0 ? 0 : 1);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(incr(f, "all", 0, STORE_TTL_NONE), PROCESSES * CHANGES / 2);
    for (int i = 0; i < PROCESSES; i++) {
        char own[16];
        snprintf(own, sizeof own, "own-%d", i);
        sum += incr(f, own, 0, STORE_TTL_NONE);
    }
    assert_int_equal(sum, PROCESSES * CHANGES / 2);
}

#define ON_EACH(name)                                                                              \
    {#name " (memory)", name, set_up_memory, tear_down, NULL},                                     \
    {                                                                                              \
#name " (file)", name, set_up_file, tear_down, NULL                                        \
    }
#define ON_FILE(name) cmocka_unit_test_setup_teardown(name, set_up_file, tear_down)

#define ON_REDIS(name) cmocka_unit_test_setup_teardown(name, set_up_redis, tear_down)

static int run_on_redis(void)
{
    const struct CMUnitTest tests[] = {
        ON_REDIS(test_kinds),
        ON_REDIS(test_an_end),
        ON_REDIS(test_add),
        ON_REDIS(test_incr),
        ON_REDIS(test_incr_of_something_else),
        ON_REDIS(test_swap),
        ON_REDIS(test_list),
        ON_REDIS(test_two_at_once),
        ON_REDIS(test_many_processes),
        ON_REDIS(test_a_long_list),
        ON_REDIS(test_given_up),
        ON_REDIS(test_no_server),
    };
    return cmocka_run_group_tests_name("redis", tests, NULL, NULL);
}

int main(void)
{
    if (getenv("POSTERN_TEST_REDIS") != NULL)
        return run_on_redis();
    const struct CMUnitTest tests[] = {
        ON_EACH(test_kinds),
        ON_EACH(test_an_end),
        ON_EACH(test_add),
        ON_EACH(test_incr),
        ON_EACH(test_incr_of_something_else),
        ON_EACH(test_swap),
        ON_EACH(test_list),
        ON_EACH(test_expire),
        ON_EACH(test_writing_removes_what_has_ended),
        ON_FILE(test_what_is_no_store),
        ON_FILE(test_a_broken_file),
        ON_FILE(test_no_folder),
        ON_FILE(test_full),
        ON_FILE(test_busy),
        ON_FILE(test_a_file_that_was_replaced),
        ON_FILE(test_the_log_stays_small),
        ON_FILE(test_two_at_once),
        ON_FILE(test_many_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
