/* Socket specs, listeners that replace and refuse, records with descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/proc.h"
#include "common/sock.h"
#include "common/wire.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/postern-test-sock.XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

/* Fails when a test left a file behind: listeners must not leave their temporary names. */
static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static struct sock_spec unix_spec(const char *name)
{
    struct sock_spec spec = {.kind = SOCK_KIND_UNIX};
    snprintf(spec.path, sizeof(spec.path), "%.63s/%.40s", folder, name);
    return spec;
}

static const struct sock_listen_options stream = {
    .type = SOCK_STREAM, .mode = 0600, .gid = (gid_t)-1, .uid = (uid_t)-1, .backlog = 5};

static void test_specs(void **state)
{
    (void)state;
    static const struct {
        const char *text, *printed; /* NULL: refused */
        enum sock_kind kind;
        int rc;
    } rows[] = {
        {"unix:/run/x.sock", "unix:/run/x.sock", SOCK_KIND_UNIX, 0},
        {"local:/run/x.sock", "unix:/run/x.sock", SOCK_KIND_UNIX, 0},
        {"/run/x.sock", "unix:/run/x.sock", SOCK_KIND_UNIX, 0},
        {"inet:8891@127.0.0.1", "inet:8891@127.0.0.1", SOCK_KIND_INET, 0},
        {"inet:8891", "inet:8891", SOCK_KIND_INET, 0},
        {"inet:0@localhost", "inet:0@localhost", SOCK_KIND_INET, 0},
        {"inet6:25@[::1]", "inet6:25@::1", SOCK_KIND_INET6, 0},
        {"inet6:25@::1", "inet6:25@::1", SOCK_KIND_INET6, 0},
        {"fd:3", "fd:3", SOCK_KIND_FD, 0},
        {"", NULL, 0, -ERR_BAD},
        {"unix:", NULL, 0, -ERR_BAD},
        {"inet:", NULL, 0, -ERR_BAD},
        {"inet:x@h", NULL, 0, -ERR_BAD},
        {"inet:65536", NULL, 0, -ERR_BAD},
        {"inet:-1", NULL, 0, -ERR_BAD},
        {"inet:25@", NULL, 0, -ERR_BAD},
        {"inet:00000000025", NULL, 0, -ERR_BAD},
        {"fd:", NULL, 0, -ERR_BAD},
        {"fd:-1", NULL, 0, -ERR_BAD},
        {"tcp:25", NULL, 0, -ERR_BAD},
        {"8891@localhost", NULL, 0, -ERR_BAD},
        {"unix:/"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaa",
            NULL, 0, -ERR_TOOBIG},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sock_spec spec;
        char printed[300];
        assert_int_equal(sock_spec_from_text(rows[i].text, &spec), rows[i].rc);
        if (rows[i].rc != 0)
            continue;
        assert_int_equal(spec.kind, rows[i].kind);
        sock_spec_to_text(&spec, -1, printed, sizeof(printed));
        assert_string_equal(printed, rows[i].printed);
    }
}

static void test_unix_listener(void **state)
{
    (void)state;
    struct sock_spec spec = unix_spec("a.sock");
    struct stat st;
    int first, second, client;
    assert_int_equal(sock_listen(&spec, &stream, &first), 0);
    assert_int_equal(lstat(spec.path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(fcntl(first, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(first, F_GETFL) & O_NONBLOCK, 0);

    /* live: refused, whatever type asks */
    assert_int_equal(sock_listen(&spec, &stream, &second), -ERR_IN_USE);
    struct sock_listen_options records = stream;
    records.type = SOCK_SEQPACKET;
    assert_int_equal(sock_listen(&spec, &records, &second), -ERR_IN_USE);
    assert_int_equal(sock_connect(&spec, SOCK_STREAM, 1000, &client), 0);
    assert_int_equal(fcntl(client, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(client, F_GETFL) & O_NONBLOCK, 0);
    close(client);

    /* stale: replaced */
    close(first);
    assert_int_equal(sock_connect(&spec, SOCK_STREAM, 1000, &client), -ERR_SYSTEM);
    assert_int_equal(errno, ECONNREFUSED);
    assert_int_equal(sock_listen(&spec, &records, &second), 0);
    assert_int_equal(sock_connect(&spec, SOCK_SEQPACKET, 1000, &client), 0);
    assert_true(sock_peer_is_trusted(client));
    uid_t uid;
    gid_t gid;
    pid_t pid;
    assert_int_equal(sock_peer(client, &uid, &gid, &pid), 0);
    assert_int_equal(pid, getpid());
    close(client);
    close(second);
    unlink(spec.path);
}

static void test_full_backlog_is_live(void **state)
{
    (void)state;
    struct sock_spec spec = unix_spec("full.sock");
    struct sock_listen_options options = stream;
    int listener, clients[8], n = 0, rc = 0, other;
    options.backlog = 0;
    assert_int_equal(sock_listen(&spec, &options, &listener), 0);
    while (n < 8 && (rc = sock_connect(&spec, SOCK_STREAM, 20, &clients[n])) == 0)
        n++;
    assert_int_equal(rc, -ERR_TIMEOUT);
    assert_int_equal(sock_listen(&spec, &options, &other), -ERR_IN_USE);
    while (n > 0)
        close(clients[--n]);
    close(listener);
    unlink(spec.path);
}

static void test_what_is_no_socket_is_left_alone(void **state)
{
    (void)state;
    struct sock_spec file = unix_spec("file"), link = unix_spec("link"),
                     target = unix_spec("target"), missing = unix_spec("no/such/folder");
    struct stat st;
    int fd;
    fd = open(file.path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(symlink(target.path, link.path), 0);
    assert_int_equal(sock_listen(&file, &stream, &fd), -ERR_DENIED);
    assert_int_equal(sock_listen(&link, &stream, &fd), -ERR_DENIED);
    assert_int_equal(sock_listen(&missing, &stream, &fd), -ERR_SYSTEM);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(lstat(file.path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(lstat(link.path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(lstat(target.path, &st), -1);
    unlink(file.path);
    unlink(link.path);
}

static void test_longest_path(void **state)
{
    (void)state;
    struct sock_spec spec = {.kind = SOCK_KIND_UNIX};
    int fd, client;
    size_t len = (size_t)snprintf(spec.path, sizeof(spec.path), "%s/", folder);
    memset(spec.path + len, 'x', SOCK_PATH_MAX - len);
    assert_int_equal(strlen(spec.path), SOCK_PATH_MAX);
    assert_int_equal(sock_listen(&spec, &stream, &fd), 0);
    assert_int_equal(sock_connect(&spec, SOCK_STREAM, 1000, &client), 0);
    close(client);
    close(fd);
    unlink(spec.path);
}

static void test_failed_listener_leaves_nothing(void **state)
{
    (void)state;
    struct sock_spec spec = unix_spec("dir");
    int fd, before = count_fds();
    struct sock_listen_options options = stream;
    options.type = SOCK_RAW + 100;
    assert_int_equal(sock_listen(&spec, &options, &fd), -ERR_SYSTEM);
    assert_int_equal(count_fds(), before);
}

static void test_inet_listener(void **state)
{
    (void)state;
    struct sock_spec spec, bound;
    char text[300];
    int listener, second, client, on = 0;
    socklen_t len = sizeof(on);
    assert_int_equal(sock_spec_from_text("inet:0@127.0.0.1", &spec), 0);
    assert_int_equal(sock_listen(&spec, &stream, &listener), 0);
    sock_spec_to_text(&spec, listener, text, sizeof(text));
    assert_int_equal(sock_spec_from_text(text, &bound), 0);
    assert_int_not_equal(bound.port, 0);
    assert_int_equal(getsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_int_equal(on, 1);
    assert_int_equal(sock_listen(&bound, &stream, &second), -ERR_IN_USE);
    assert_int_equal(sock_connect(&bound, SOCK_STREAM, 1000, &client), 0);
    assert_int_equal(getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_int_equal(on, 1);
    close(client);

    /* a descriptor that somebody hands over */
    struct sock_spec handed = {.kind = SOCK_KIND_FD, .fd = listener};
    assert_int_equal(sock_listen(&handed, &stream, &second), 0);
    assert_int_equal(second, listener);
    close(listener);
    assert_int_equal(sock_listen(&handed, &stream, &second), -ERR_SYSTEM);
    assert_int_equal(sock_connect(&bound, SOCK_STREAM, 1000, &client), -ERR_SYSTEM);
    handed.fd = STDIN_FILENO;
    assert_int_not_equal(sock_listen(&handed, &stream, &second), 0);
    assert_int_equal(sock_connect(&handed, SOCK_STREAM, 10, &client), -ERR_SYSTEM);
    strcpy(spec.host, "not an address");
    assert_int_equal(sock_listen(&spec, &stream, &second), -ERR_BAD);
    assert_int_equal(sock_connect(&spec, SOCK_STREAM, 10, &client), -ERR_SYSTEM);
}

/* Records. */

struct pair {
    int fds[2];
};

static void open_pair(struct pair *pair)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair->fds), 0);
    assert_int_equal(sock_set_record_buffers(pair->fds[0]), 0);
}

static void close_pair(struct pair *pair)
{
    close(pair->fds[0]);
    close(pair->fds[1]);
}

static void test_four_full_records_fit(void **state)
{
    (void)state;
    static char record[WIRE_RECORD_MAX];
    struct sock_received received;
    struct pair pair;
    open_pair(&pair);
    int n = 0, rc;
    while ((rc = sock_send_record(
                pair.fds[0], slice_of(record, sizeof(record)), NULL, 0, MSG_DONTWAIT)) == 0)
        n++;
    assert_int_equal(rc, -ERR_AGAIN);
    assert_true(n >= 4);
    for (int i = 0; i < n; i++) {
        assert_int_equal(sock_recv_record(pair.fds[1], record, sizeof(record), &received, 0), 0);
        assert_int_equal(received.len, sizeof(record));
    }
    assert_int_equal(
        sock_recv_record(pair.fds[1], record, sizeof(record), &received, MSG_DONTWAIT), -ERR_AGAIN);
    close_pair(&pair);
}

static void test_descriptors_travel(void **state)
{
    (void)state;
    struct pair pair;
    struct sock_received received;
    char buffer[16];
    int pipe_fds[2];
    open_pair(&pair);
    assert_int_equal(pipe(pipe_fds), 0);
    int before = count_fds();
    assert_int_equal(sock_send_record(pair.fds[0], slice_text("x"), pipe_fds, 2, 0), 0);
    assert_int_equal(sock_recv_record(pair.fds[1], buffer, sizeof(buffer), &received, 0), 0);
    assert_int_equal(received.len, 1);
    assert_int_equal(received.n_fds, 2);
    assert_int_equal(fcntl(received.fds[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(received.fds[1], "y", 1), 1);
    assert_int_equal(read(pipe_fds[0], buffer, 1), 1);
    int kept = received.fds[0];
    received.fds[0] = -1; /* taken over */
    sock_close_fds(&received);
    sock_close_fds(&received);
    close(kept);
    assert_int_equal(count_fds(), before);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    close_pair(&pair);
}

/* What a hostile peer may send: too many descriptors, too many bytes, nothing at all. Nothing may
 * stay open. */
static void send_raw(int fd, size_t bytes, const int *fds, size_t n_fds)
{
    static char data[70000];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control = {0};
    struct iovec iov = {data, bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &message, 0), bytes);
}

static void test_hostile_records(void **state)
{
    (void)state;
    static char buffer[WIRE_RECORD_MAX];
    static const struct {
        size_t bytes, n_fds;
        int rc;
    } rows[] = {
        {1, 3, -ERR_BAD},
        {1, 8, -ERR_BAD},
        {WIRE_RECORD_MAX + 1, 0, -ERR_BAD},
        {WIRE_RECORD_MAX + 1, 2, -ERR_BAD},
        {0, 0, -ERR_PEER},
        {0, 2, -ERR_PEER},
        {WIRE_RECORD_MAX, 1, 0},
    };
    int fds[8] = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct pair pair;
        struct sock_received received;
        open_pair(&pair);
        int before = count_fds();
        send_raw(pair.fds[0], rows[i].bytes, fds, rows[i].n_fds);
        assert_int_equal(
            sock_recv_record(pair.fds[1], buffer, sizeof(buffer), &received, 0), rows[i].rc);
        if (rows[i].rc != 0)
            assert_int_equal(received.n_fds, 0);
        sock_close_fds(&received);
        assert_int_equal(count_fds(), before);
        close_pair(&pair);
    }
}

static void test_peer_gone(void **state)
{
    (void)state;
    struct pair pair;
    struct sock_received received;
    char buffer[8];
    open_pair(&pair);
    close(pair.fds[1]);
    assert_int_equal(
        sock_recv_record(pair.fds[0], buffer, sizeof(buffer), &received, 0), -ERR_PEER);
    assert_int_equal(sock_send_record(pair.fds[0], slice_text("x"), NULL, 0, 0), -ERR_PEER);
    close(pair.fds[0]);
    assert_int_equal(sock_send_record(pair.fds[0], slice_text("x"), NULL, 0, 0), -ERR_SYSTEM);
    assert_int_equal(sock_set_nonblocking(pair.fds[0], true), -ERR_SYSTEM);
}

static void test_nonblocking(void **state)
{
    (void)state;
    struct pair pair;
    open_pair(&pair);
    assert_int_equal(sock_set_nonblocking(pair.fds[0], true), 0);
    assert_true((fcntl(pair.fds[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(sock_set_nonblocking(pair.fds[0], false), 0);
    assert_true((fcntl(pair.fds[0], F_GETFL) & O_NONBLOCK) == 0);
    close_pair(&pair);
}

/* proc.c, as far as it deals with descriptors and this process. */
static void test_process(void **state)
{
    (void)state;
    char dir[512];
    gid_t gid;
    assert_int_equal(proc_program_dir(dir, sizeof(dir)), 0);
    assert_int_equal(dir[0], '/');
    assert_int_not_equal(dir[strlen(dir) - 1], '/');
    assert_int_equal(proc_program_dir(dir, 3), -ERR_SYSTEM);
    assert_true(proc_thread_count() >= 1);
    assert_true(proc_resident_bytes(getpid()) > 100000);
    assert_int_equal(proc_resident_bytes(-1), 0);
    assert_int_equal(proc_group_id("0", &gid), 0);
    assert_int_equal(gid, 0);
    assert_int_equal(proc_group_id("no-such-group-here", &gid), -ERR_NOTFOUND);
    assert_int_equal(proc_drop_privileges("", ""), 0);
    assert_int_equal(proc_drop_privileges("no-such-user-here", ""), -ERR_NOTFOUND);
    assert_true(proc_raise_fd_limit(64) >= 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specs),
        cmocka_unit_test(test_unix_listener),
        cmocka_unit_test(test_full_backlog_is_live),
        cmocka_unit_test(test_what_is_no_socket_is_left_alone),
        cmocka_unit_test(test_longest_path),
        cmocka_unit_test(test_failed_listener_leaves_nothing),
        cmocka_unit_test(test_inet_listener),
        cmocka_unit_test(test_four_full_records_fit),
        cmocka_unit_test(test_descriptors_travel),
        cmocka_unit_test(test_hostile_records),
        cmocka_unit_test(test_peer_gone),
        cmocka_unit_test(test_nonblocking),
        cmocka_unit_test(test_process),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
