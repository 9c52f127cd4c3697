/* The ring: what goes in comes out whole or not at all, whoever writes and whatever is in the file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/ring.h"
#include "common/trace_entry.h"

enum { N_SLOTS = (RING_SIZE_MIN - RING_HEADER_BYTES) / RING_SLOT_BYTES, N_WRITERS = 4 };

static char folder[] = "/tmp/postern-ring.XXXXXX";
static char path[64], old_path[64];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/postern-ring.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/trace", folder);
    snprintf(old_path, sizeof old_path, "%s/trace.old", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    unlink(old_path);
    return rmdir(folder);
}

static struct ring *make(void)
{
    struct ring *ring = NULL;

    assert_int_equal(ring_create(path, 0, (gid_t)-1, &ring), 0);
    return ring;
}

static void put_text(struct ring *ring, const char *text)
{
    ring_put(ring, slice_text(text));
}

static void expect_text(struct ring_reader *reader, const char *text)
{
    struct slice entry;

    assert_int_equal(ring_next(reader, &entry), 0);
    assert_true(slice_equal(entry, slice_text(text)));
}

static void test_what_goes_in_comes_out(void **state)
{
    static char large[RING_ENTRY_MAX + 100];
    struct ring *ring = make();
    struct ring_reader reader;
    struct slice entry;
    struct stat st;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, RING_SIZE_MIN);
    assert_true(st.st_blocks * 512 >= RING_SIZE_MIN); /* a full disk cannot hit a writer */
    assert_int_equal(ring_reader_open(&reader, path), 0);
    assert_int_equal(ring_next(&reader, &entry), -ERR_AGAIN);
    assert_true(ring_is_at_end(&reader));
    put_text(ring, "one");
    ring_put(NULL, slice_text("nowhere"));
    ring_put(ring, slice_text(""));
    expect_text(&reader, "one");
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 7);
    ring_put(ring, slice_of(large, sizeof large));
    put_text(ring, "two");
    assert_int_equal(ring_next(&reader, &entry), 0);
    assert_int_equal(entry.len, RING_ENTRY_MAX);
    assert_memory_equal(entry.data, large, RING_ENTRY_MAX);
    expect_text(&reader, "two");
    assert_int_equal(ring_next(&reader, &entry), -ERR_AGAIN);
    assert_int_equal(reader.n_lost, 0);
    ring_reader_close(&reader);
    ring_close(ring);
}

static void test_it_wraps_and_slow_readers_lose(void **state)
{
    struct ring *ring = make();
    struct ring_reader slow, fresh;
    struct slice entry;
    char text[600];
    unsigned n = 0;

    (void)state;
    put_text(ring, "first");
    assert_int_equal(ring_reader_open(&slow, path), 0);
    for (unsigned i = 0; i < 10000; i++) { /* of three slots each */
        snprintf(text, sizeof text, "%0599u", i);
        put_text(ring, text);
    }
    assert_int_equal(ring_reader_open(&fresh, path), 0);
    while (ring_next(&fresh, &entry) == 0) {
        snprintf(text, sizeof text, "%0599u", 10000 - N_SLOTS / 3 + n++);
        assert_true(slice_equal(entry, slice_text(text)));
    }
    assert_int_equal(n, N_SLOTS / 3);
    assert_true(fresh.n_lost < 3); /* the rest of one whose beginning is gone */
    for (n = 0; ring_next(&slow, &entry) == 0; n++)
        continue;
    assert_int_equal(n, N_SLOTS / 3);
    assert_true(slow.n_lost >= 30001 - N_SLOTS && slow.n_lost < 30001 - N_SLOTS + 3);
    put_text(ring, "last");
    expect_text(&slow, "last");
    ring_seek_end(&fresh);
    put_text(ring, "newest");
    expect_text(&fresh, "newest");
    ring_reader_close(&slow);
    ring_reader_close(&fresh);
    ring_close(ring);
}

/* Each writer's entries: its number, a counter, and bytes that follow from both. */
struct record {
    uint32_t writer, number;
    uint8_t bytes[500];
};

static void fill(struct record *record, uint32_t writer, uint32_t number)
{
    record->writer = writer;
    record->number = number;
    for (size_t i = 0; i < sizeof record->bytes; i++)
        record->bytes[i] = (uint8_t)(writer * 31 + number * 7 + i);
}

struct work {
    struct ring *ring;
    uint32_t writer;
    _Atomic unsigned *n_running;
};

static void *write_many(void *context)
{
    struct work *work = context;
    struct record record;

    for (uint32_t i = 0; i < 20000; i++) {
        fill(&record, work->writer, i);
        ring_put(work->ring, slice_of(&record, i % 2 == 0 ? sizeof record : 200));
    }
    atomic_fetch_sub(work->n_running, 1);
    return NULL;
}

static void check_record(struct slice entry, uint32_t newest[N_WRITERS])
{
    struct record read, expected;

    assert_true(entry.len == sizeof read || entry.len == 200);
    memcpy(&read, entry.data, entry.len);
    assert_true(read.writer < N_WRITERS);
    fill(&expected, read.writer, read.number);
    assert_memory_equal(&read, &expected, entry.len);
    /* Each writer's own order is kept, and nothing comes twice. */
    assert_true(newest[read.writer] == UINT32_MAX || read.number > newest[read.writer]);
    newest[read.writer] = read.number;
}

static void test_many_writers_and_a_reader(void **state)
{
    struct ring *ring = make();
    _Atomic unsigned n_running = N_WRITERS;
    uint32_t newest[N_WRITERS];
    struct work works[N_WRITERS];
    pthread_t threads[N_WRITERS];
    struct ring_reader reader;
    struct slice entry;
    unsigned n = 0;

    (void)state;
    memset(newest, 0xff, sizeof newest);
    assert_int_equal(ring_reader_open(&reader, path), 0);
    for (uint32_t i = 0; i < N_WRITERS; i++) {
        works[i] = (struct work){ring, i, &n_running};
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &works[i]), 0);
    }
    for (;;) {
        bool is_over = atomic_load(&n_running) == 0;
        int rc = ring_next(&reader, &entry);

        if (rc == 0) {
            check_record(entry, newest);
            n++;
        } else if (is_over && ring_is_at_end(&reader)) {
            break;
        } else if (is_over) {
            ring_skip(&reader);
        }
    }
    for (uint32_t i = 0; i < N_WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(n >= N_SLOTS / 4);
    ring_reader_close(&reader);
    ring_close(ring);
}

static void test_the_old_one_is_kept(void **state)
{
    struct ring *ring = make();
    struct ring_reader reader;

    (void)state;
    put_text(ring, "of the first");
    ring_close(ring);
    ring = make(); /* nothing gets into this one: it does not take the place of the first */
    ring_close(ring);
    ring = make();
    put_text(ring, "of the third");
    assert_int_equal(ring_reader_open(&reader, old_path), 0);
    expect_text(&reader, "of the first");
    ring_reader_close(&reader);
    assert_int_equal(ring_reader_open(&reader, path), 0);
    expect_text(&reader, "of the third");
    ring_reader_close(&reader);
    ring_close(ring);
}

static void test_it_follows_no_link_and_fails_clean(void **state)
{
    struct ring *ring = NULL;
    char victim[80], nowhere[80];
    struct stat st;

    (void)state;
    snprintf(victim, sizeof victim, "%s/victim", folder);
    snprintf(nowhere, sizeof nowhere, "%s/none/trace", folder);
    assert_int_equal(symlink(victim, path), 0);
    ring_close(make());
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(access(victim, F_OK), -1);
    assert_int_equal(ring_create(nowhere, 0, (gid_t)-1, &ring), -ERR_SYSTEM);
    assert_int_equal(errno, ENOENT);
    assert_null(ring);
}

static void test_a_group_may_read(void **state)
{
    struct ring *ring = NULL;
    struct stat st;

    (void)state;
    assert_int_equal(ring_create(path, RING_SIZE_MIN, getgid(), &ring), 0);
    assert_int_equal(errno, 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_gid, getgid());
    ring_close(ring);
}

/* Overwrites bytes of the file. */
static void damage(off_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

static void test_damaged_slots_are_passed_over(void **state)
{
    struct ring *ring = make();
    struct ring_reader reader;
    struct slice entry;

    (void)state;
    put_text(ring, "one");
    put_text(ring, "two");
    put_text(ring, "three");
    damage(RING_HEADER_BYTES + RING_SLOT_BYTES + 9, "W", 1);
    assert_int_equal(ring_reader_open(&reader, path), 0);
    expect_text(&reader, "one");
    assert_int_equal(ring_next(&reader, &entry), -ERR_AGAIN);
    assert_int_equal(ring_next(&reader, &entry), -ERR_AGAIN);
    assert_false(ring_is_at_end(&reader));
    ring_skip(&reader);
    expect_text(&reader, "three");
    assert_int_equal(reader.n_lost, 1);
    ring_reader_close(&reader);
    ring_close(ring);
}

static void test_what_is_no_ring_is_refused(void **state)
{
    struct ring_reader reader;
    uint64_t number = UINT64_MAX;
    struct slice entry;

    (void)state;
    assert_int_equal(ring_reader_open(&reader, path), -ERR_SYSTEM);
    ring_reader_close(&reader);
    assert_int_equal(ring_reader_open(&reader, folder), -ERR_BAD);
    ring_reader_close(&reader);
    ring_close(make());
    assert_int_equal(ring_reader_open(&reader, path), 0);
    damage(128, &number, sizeof number); /* a position that cannot be: taken for none */
    assert_int_equal(ring_next(&reader, &entry), -ERR_AGAIN);
    number = 1000;
    damage(128, &number, sizeof number);
    assert_int_equal(truncate(path, RING_HEADER_BYTES + 100), 0);
    while (ring_next(&reader, &entry) != 0 && !ring_is_at_end(&reader))
        ring_skip(&reader);
    assert_true(ring_is_at_end(&reader));
    assert_int_equal(reader.n_lost, 1000);
    ring_reader_close(&reader);
    assert_int_equal(ring_reader_open(&reader, path), -ERR_BAD);
    ring_reader_close(&reader);
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(ring_reader_open(&reader, path), -ERR_BAD);
    ring_reader_close(&reader);
}

static void test_entries_of_fields(void **state)
{
    struct trace_entry entry;
    struct trace_value value;
    struct trace_view view;

    (void)state;
    trace_entry_init(&entry, TRACE_STAGE);
    trace_entry_put_text(&entry, TRACE_FIELD_UID, slice_text("m.1"), 100);
    trace_entry_put_text(&entry, TRACE_FIELD_ID, slice_text(""), 100);
    trace_entry_put_number(&entry, TRACE_FIELD_CODE, 550);
    trace_entry_put_number(&entry, TRACE_FIELD_PORT, 0);
    trace_entry_put_number(&entry, TRACE_FIELD_SIZE, UINT64_MAX);
    assert_int_equal(trace_view_read(trace_entry_bytes(&entry), &view), 0);
    assert_false(view.is_cut);
    assert_string_equal(trace_kind_name(view.kind), "stage");
    assert_true(slice_equal(trace_view_text(&view, TRACE_FIELD_UID), slice_text("m.1")));
    assert_int_equal(trace_view_text(&view, TRACE_FIELD_ID).len, 0);
    assert_int_equal(trace_view_next(&view.fields, &value), 0);
    assert_int_equal(trace_view_next(&view.fields, &value), 0);
    assert_int_equal(value.field, TRACE_FIELD_CODE);
    assert_int_equal(value.number, 550);
    assert_int_equal(trace_view_next(&view.fields, &value), 0);
    assert_true(value.number == UINT64_MAX);
    assert_int_equal(trace_view_next(&view.fields, &value), -ERR_NOTFOUND);
}

static void test_what_is_too_long_is_cut_and_marked(void **state)
{
    static char text[5000];
    struct trace_entry entry;
    struct trace_view view;

    (void)state;
    memset(text, 'x', sizeof text);
    trace_entry_init(&entry, TRACE_MESSAGE);
    trace_entry_put_text(&entry, TRACE_FIELD_FROM, slice_of(text, sizeof text), 10);
    assert_int_equal(trace_view_read(trace_entry_bytes(&entry), &view), 0);
    assert_true(view.is_cut);
    assert_true(slice_equal(trace_view_text(&view, TRACE_FIELD_FROM), slice_text("xxxxxxx...")));
    trace_entry_put_text(&entry, TRACE_FIELD_TO, slice_of(text, sizeof text), sizeof text);
    trace_entry_put_text(&entry, TRACE_FIELD_ERROR, slice_of(text, sizeof text), 100);
    trace_entry_put_number(&entry, TRACE_FIELD_SIZE, 1);
    assert_int_equal(trace_entry_bytes(&entry).len, RING_ENTRY_MAX);
    assert_int_equal(trace_view_read(trace_entry_bytes(&entry), &view), 0);
    assert_true(trace_view_text(&view, TRACE_FIELD_TO).len > 1800);
    assert_int_equal(trace_view_text(&view, TRACE_FIELD_ERROR).len, 0);
}

int main(void)
{
#define RING_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RING_TEST(test_what_goes_in_comes_out),
        RING_TEST(test_it_wraps_and_slow_readers_lose),
        RING_TEST(test_many_writers_and_a_reader),
        RING_TEST(test_the_old_one_is_kept),
        RING_TEST(test_it_follows_no_link_and_fails_clean),
        RING_TEST(test_a_group_may_read),
        RING_TEST(test_damaged_slots_are_passed_over),
        RING_TEST(test_what_is_no_ring_is_refused),
        cmocka_unit_test(test_entries_of_fields),
        cmocka_unit_test(test_what_is_too_long_is_cut_and_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
