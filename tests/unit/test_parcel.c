/* Parcels and annexes: memory, disk, reuse, and what a reader takes. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/parcel.h"

enum { MEMORY = 64 << 10, MESSAGE_MAX = 1 << 20, KEEP = 32 << 10 };

static char spool[PATH_MAX];

static int make_spool(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(spool, sizeof(spool), "%s/postern-parcel.XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(spool) != NULL ? 0 : -1;
}

static int remove_spool(void **state)
{
    (void)state;
    /* Fails when a file was left behind. */
    return rmdir(spool);
}

static struct parcel *new_parcel(void)
{
    const struct parcel_limits limits = {
        .memory_bytes = MEMORY,
        .message_bytes = MESSAGE_MAX,
        .keep_bytes = KEEP,
        .spool = spool,
    };
    struct parcel *parcel;

    assert_int_equal(parcel_new(&limits, &parcel), 0);
    return parcel;
}

/* len bytes that tell where they stand. */
static struct slice pattern(size_t len, unsigned seed)
{
    static char bytes[MESSAGE_MAX + 1];

    assert_true(len <= sizeof(bytes));
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)((i * 31 + i / 251 + seed) % 255 + 1);
    return slice_of(bytes, len);
}

static void assert_zero(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            fail_msg("byte %zu is left over", i);
}

static void assert_is(struct slice got, struct slice want)
{
    assert_int_equal(got.len, want.len);
    assert_true(slice_equal(got, want));
}

/* Reads the parcel as a worker would. */
static void assert_view(struct parcel *parcel, struct slice envelope, struct slice message)
{
    struct parcel_view view;
    int fd = parcel_fd(parcel);

    assert_true(fd >= 0);
    assert_int_equal(parcel_view_open(fd, envelope.len, message.len, &view), 0);
    assert_is(view.envelope, envelope);
    assert_is(view.message, message);
    parcel_view_close(&view);
}

static void test_append_and_read(void **state)
{
    struct parcel *parcel = new_parcel();

    (void)state;
    assert_view(parcel, slice_text(""), slice_text(""));
    assert_int_equal(parcel_append_envelope(parcel, slice_text("one ")), 0);
    assert_int_equal(parcel_append_message(parcel, slice_text("Subject: x\r\n")), 0);
    assert_int_equal(parcel_append_message(parcel, slice_text("")), 0);
    assert_view(parcel, slice_text("one "), slice_text("Subject: x\r\n"));
    assert_int_equal(parcel_append_envelope(parcel, slice_text("two")), 0);
    assert_int_equal(parcel_append_message(parcel, slice_text("\r\n")), 0);
    assert_view(parcel, slice_text("one two"), slice_text("Subject: x\r\n\r\n"));
    assert_is(parcel_envelope(parcel), slice_text("one two"));
    assert_is(parcel_message(parcel), slice_text("Subject: x\r\n\r\n"));
    assert_int_equal(parcel_envelope_bytes(parcel), 7);
    assert_int_equal(parcel_message_bytes(parcel), 14);
    assert_true(parcel_is_reusable(parcel));
    parcel_free(parcel);
    parcel_free(NULL);
}

static void test_a_holder_cannot_change_it(void **state)
{
    struct parcel *parcel = new_parcel();
    int fd = parcel_fd(parcel);

    (void)state;
    assert_int_equal(parcel_append_message(parcel, slice_text("x")), 0);
    assert_int_equal(pwrite(fd, "y", 1, (off_t)PARCEL_MESSAGE_OFFSET), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, 1 << 30), -1);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    /* The writer still can. */
    assert_int_equal(parcel_append_message(parcel, slice_text("z")), 0);
    assert_view(parcel, slice_text(""), slice_text("xz"));
    parcel_free(parcel);
}

static void test_reuse_leaves_nothing(void **state)
{
    struct parcel *parcel = new_parcel();
    struct parcel_view view;
    struct stat before, after;
    int fd = parcel_fd(parcel);

    (void)state;
    assert_int_equal(fstat(fd, &before), 0);
    assert_int_equal(parcel_append_envelope(parcel, slice_text("connection")), 0);
    assert_int_equal(parcel_append_envelope(parcel, pattern(9000, 1)), 0);
    assert_int_equal(parcel_append_message(parcel, pattern(20000, 2)), 0);
    parcel_fd(parcel);

    assert_int_equal(parcel_rewind(parcel, 10), 0);
    assert_int_equal(parcel_append_envelope(parcel, slice_text("next")), 0);
    assert_int_equal(parcel_append_message(parcel, slice_text("short")), 0);
    assert_int_equal(parcel_fd(parcel), fd);
    assert_int_equal(fstat(fd, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_view(parcel, slice_text("connectionnext"), slice_text("short"));

    /* What the first message left is not there for a reader who looks further. */
    assert_int_equal(parcel_view_open(fd, 20000, 30000, &view), 0);
    assert_zero(view.envelope.data + 14, 20000 - 14);
    assert_zero(view.message.data + 5, 30000 - 5);
    parcel_view_close(&view);

    /* Growing again within what was zeroed. */
    assert_int_equal(parcel_append_message(parcel, pattern(1000, 3)), 0);
    assert_int_equal(parcel_rewind(parcel, 0), 0);
    assert_int_equal(parcel_append_message(parcel, slice_text("s")), 0);
    parcel_fd(parcel);
    assert_int_equal(parcel_view_open(fd, 20000, 30000, &view), 0);
    assert_zero(view.envelope.data, 20000);
    assert_zero(view.message.data + 1, 30000 - 1);
    parcel_view_close(&view);
    parcel_free(parcel);
}

static void test_a_large_one_is_given_back(void **state)
{
    struct parcel *parcel = new_parcel();
    struct stat before, after;

    (void)state;
    assert_int_equal(parcel_append_envelope(parcel, slice_text("connection+message")), 0);
    assert_int_equal(parcel_append_message(parcel, pattern(KEEP - 18, 1)), 0);
    assert_true(parcel_is_reusable(parcel));
    assert_int_equal(parcel_append_message(parcel, slice_text("x")), 0);
    assert_false(parcel_is_reusable(parcel));
    assert_int_equal(fstat(parcel_fd(parcel), &before), 0);
    assert_int_equal(parcel_rewind(parcel, 10), 0);
    assert_int_equal(fstat(parcel_fd(parcel), &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    assert_true(parcel_is_reusable(parcel));
    assert_view(parcel, slice_text("connection"), slice_text(""));
    parcel_free(parcel);
}

static void test_limits(void **state)
{
    struct parcel *parcel = new_parcel();
    static char block[1 << 20];

    (void)state;
    assert_int_equal(parcel_append_message(parcel, pattern(MESSAGE_MAX + 1, 1)), -ERR_TOOBIG);
    assert_int_equal(parcel_append_message(parcel, pattern(MESSAGE_MAX, 1)), 0);
    assert_int_equal(parcel_append_message(parcel, slice_text("x")), -ERR_TOOBIG);
    assert_int_equal(parcel_message_bytes(parcel), MESSAGE_MAX);
    for (int i = 0; i < 16; i++)
        assert_int_equal(parcel_append_envelope(parcel, slice_of(block, sizeof(block))), 0);
    assert_int_equal(parcel_append_envelope(parcel, slice_text("x")), -ERR_TOOBIG);
    assert_int_equal(parcel_envelope_bytes(parcel), PARCEL_ENVELOPE_MAX);
    parcel_free(parcel);
}

static void test_memory_is_full_to_the_byte(void **state)
{
    struct parcel *parcel = new_parcel();

    (void)state;
    assert_int_equal(parcel_append_message(parcel, pattern(MEMORY, 1)), 0);
    assert_false(parcel_is_on_disk(parcel));
    assert_view(parcel, slice_text(""), pattern(MEMORY, 1));
    assert_int_equal(parcel_append_message(parcel, slice_text("x")), 0);
    assert_true(parcel_is_on_disk(parcel));
    parcel_free(parcel);
}

static void test_disk(void **state)
{
    struct parcel *parcel = new_parcel();
    const size_t first = 50000, all = 200000;
    struct stat st;
    int fd;

    (void)state;
    assert_int_equal(parcel_append_envelope(parcel, slice_text("envelope")), 0);
    assert_int_equal(parcel_append_message(parcel, pattern(first, 1)), 0);
    assert_view(parcel, slice_text("envelope"), pattern(first, 1));
    assert_int_equal(
        parcel_append_message(parcel, slice_of(pattern(all, 1).data + first, all - first)), 0);
    assert_true(parcel_is_on_disk(parcel));
    assert_false(parcel_is_reusable(parcel));
    assert_view(parcel, slice_text("envelope"), pattern(all, 1));
    assert_is(parcel_message(parcel), pattern(all, 1));
    assert_is(parcel_envelope(parcel), slice_text("envelope"));

    /* The mappings follow appends. */
    assert_int_equal(parcel_append_envelope(parcel, slice_text(" more")), 0);
    assert_is(parcel_envelope(parcel), slice_text("envelope more"));
    assert_is(parcel_message(parcel), pattern(all, 1));

    fd = parcel_fd(parcel);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(st.st_mode & 0777, 0400);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);

    assert_int_equal(parcel_rewind(parcel, 8), 0);
    assert_false(parcel_is_on_disk(parcel));
    assert_true(parcel_is_reusable(parcel));
    assert_view(parcel, slice_text("envelope"), slice_text(""));
    parcel_free(parcel);
}

static void test_no_spool(void **state)
{
    const struct parcel_limits limits = {MEMORY, MESSAGE_MAX, KEEP, "/nonexistent/spool"};
    struct parcel *parcel;

    (void)state;
    assert_int_equal(parcel_new(&limits, &parcel), 0);
    assert_int_equal(parcel_append_message(parcel, pattern(1000, 1)), 0);
    assert_int_equal(parcel_append_message(parcel, pattern(MEMORY, 1)), -ERR_SYSTEM);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(parcel_message_bytes(parcel), 1000);
    assert_view(parcel, slice_text(""), pattern(1000, 1));
    parcel_free(parcel);
}

/* A full disk, played by a limit on the size of files. */
static void test_full_disk(void **state)
{
    struct parcel *parcel = new_parcel();
    struct rlimit old, small;

    (void)state;
    assert_int_equal(parcel_append_message(parcel, pattern(MEMORY, 1)), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    small = old;
    small.rlim_cur = PARCEL_MESSAGE_OFFSET + MEMORY + 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(parcel_append_message(parcel, pattern(100, 1)), 0);
    assert_int_equal(parcel_append_message(parcel, pattern(100, 1)), -ERR_SYSTEM);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(parcel_message_bytes(parcel), MEMORY + 100);
    assert_int_equal(parcel_append_message(parcel, pattern(100, 1)), 0);
    assert_int_equal(parcel_message_bytes(parcel), MEMORY + 200);
    parcel_free(parcel);
}

static int memory_file(size_t bytes, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void test_what_a_reader_refuses(void **state)
{
    const int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
    const struct {
        size_t file_bytes;
        int seals;
        size_t envelope_bytes, message_bytes;
        int err;
    } rows[] = {
        {4096, sealed, 4096, 0, 0},
        {4096, sealed, 4097, 0, -ERR_BAD},
        {4096, sealed, 0, 1, -ERR_BAD},
        {PARCEL_MESSAGE_OFFSET + 10, sealed, 0, 10, 0},
        {PARCEL_MESSAGE_OFFSET + 10, sealed, 5, 11, -ERR_BAD},
        {4096, F_SEAL_SHRINK, 10, 0, -ERR_BAD},
        {4096, F_SEAL_GROW, 10, 0, -ERR_BAD},
        {4096, 0, 10, 0, -ERR_BAD},
        {4096, 0, 0, 0, -ERR_BAD},
        {4096, sealed, PARCEL_ENVELOPE_MAX + 1, 0, -ERR_TOOBIG},
        {4096, sealed, 0, SIZE_MAX, -ERR_TOOBIG},
        {4096, sealed, 0, (size_t)SSIZE_MAX, -ERR_TOOBIG},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct parcel_view view;
        int fd = memory_file(rows[i].file_bytes, rows[i].seals);
        int err = parcel_view_open(fd, rows[i].envelope_bytes, rows[i].message_bytes, &view);
        if (err != rows[i].err)
            fail_msg("row %zu: %d", i, err);
        parcel_view_close(&view);
        close(fd);
    }
}

static void test_files_a_reader_refuses(void **state)
{
    char path[PATH_MAX + 8];
    struct parcel_view view;
    int writing, reading, ends[2];

    (void)state;
    snprintf(path, sizeof(path), "%s/file", spool);
    writing = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(writing >= 0);
    assert_int_equal(write(writing, "0123456789", 10), 10);
    reading = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(reading >= 0);
    /* It has a name; then it has none, but may be written through this descriptor. */
    assert_int_equal(parcel_view_open(reading, 10, 0, &view), -ERR_BAD);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(parcel_view_open(writing, 10, 0, &view), -ERR_BAD);
    assert_int_equal(parcel_view_open(reading, 10, 0, &view), 0);
    assert_is(view.envelope, slice_text("0123456789"));
    parcel_view_close(&view);
    assert_int_equal(parcel_view_open(reading, 11, 0, &view), -ERR_BAD);
    close(writing);
    close(reading);

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(parcel_view_open(ends[0], 0, 0, &view), -ERR_BAD);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(parcel_view_open(-1, 0, 0, &view), -ERR_SYSTEM);
}

static void test_annex(void **state)
{
    struct slice bytes = pattern(100000, 5), got;
    int fd;

    (void)state;
    assert_int_equal(annex_new(bytes, &fd), 0);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(annex_open(fd, 99999, &got), -ERR_TOOBIG);
    assert_int_equal(annex_open(fd, 100000, &got), 0);
    close(fd);
    assert_is(got, bytes);
    annex_close(got);

    assert_int_equal(annex_new(slice_text(""), &fd), 0);
    assert_int_equal(annex_open(fd, 0, &got), 0);
    assert_int_equal(got.len, 0);
    annex_close(got);
    close(fd);
}

static void test_annexes_that_are_refused(void **state)
{
    const int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    const struct {
        int seals, err;
    } rows[] = {
        {all, 0},
        {all | F_SEAL_SEAL, 0},
        {F_SEAL_SHRINK | F_SEAL_GROW, -ERR_BAD},
        {F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE, -ERR_BAD},
        {F_SEAL_SHRINK | F_SEAL_WRITE, -ERR_BAD},
        {F_SEAL_GROW | F_SEAL_WRITE, -ERR_BAD},
        {0, -ERR_BAD},
    };
    struct slice got;
    int file = open(spool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int fd = memory_file(100, rows[i].seals);
        assert_int_equal(annex_open(fd, 1000, &got), rows[i].err);
        annex_close(got);
        close(fd);
    }
    assert_int_equal(annex_open(file, 1000, &got), -ERR_BAD);
    close(file);
    assert_int_equal(annex_open(-1, 1000, &got), -ERR_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_read),
        cmocka_unit_test(test_a_holder_cannot_change_it),
        cmocka_unit_test(test_reuse_leaves_nothing),
        cmocka_unit_test(test_a_large_one_is_given_back),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_memory_is_full_to_the_byte),
        cmocka_unit_test(test_disk),
        cmocka_unit_test(test_no_spool),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_what_a_reader_refuses),
        cmocka_unit_test(test_files_a_reader_refuses),
        cmocka_unit_test(test_annex),
        cmocka_unit_test(test_annexes_that_are_refused),
    };

    return cmocka_run_group_tests(tests, make_spool, remove_spool);
}
