/* Bytes of an MTA connection: commands however they are cut, actions sent with their reply, frames
 * that end the session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "milterd/stream.h"

enum { COMMAND_MAX = 70000, WAIT_MS = 10000 };

struct pair {
    struct stream stream;
    int peer;
};

static void open_pair(struct pair *pair)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    stream_init(&pair->stream, fds[0], COMMAND_MAX);
    pair->peer = fds[1];
}

static void close_pair(struct pair *pair)
{
    close(pair->stream.fd);
    close(pair->peer);
}

static void feed(struct pair *pair, const void *bytes, size_t n)
{
    assert_int_equal(send(pair->peer, bytes, n, 0), n);
}

static void expect(struct pair *pair, char command, const char *data, size_t n)
{
    char got;
    size_t len;
    char *bytes = stream_read(&pair->stream, WAIT_MS, &got, &len);
    assert_int_equal(got, command);
    assert_int_equal(len, n);
    assert_true((bytes != NULL) == (n > 0));
    if (n > 0)
        assert_memory_equal(bytes, data, n);
    free(bytes);
}

static void expect_end(struct pair *pair, int timeout_ms, enum stream_end why)
{
    char got;
    size_t len;
    assert_null(stream_read(&pair->stream, timeout_ms, &got, &len));
    assert_int_equal(got, why);
    assert_int_equal(len, 0);
}

static const char two[] = "\0\0\0\3Hab\0\0\0\1T\0\0\0\2Bx";

static void commands_come_at_once(void **state)
{
    (void)state;
    struct pair pair;
    open_pair(&pair);
    assert_false(stream_has_input(&pair.stream));
    feed(&pair, two, sizeof(two) - 1);
    expect(&pair, 'H', "ab", 2);
    assert_true(stream_has_input(&pair.stream));
    expect(&pair, 'T', NULL, 0);
    expect(&pair, 'B', "x", 1);
    assert_false(stream_has_input(&pair.stream));
    close_pair(&pair);
}

/* Commands of every length around the buffer's, one behind the other, so that heads are cut too. */
static void commands_of_any_length(void **state)
{
    (void)state;
    struct pair pair;
    static uint8_t frame[COMMAND_MAX + 5], twice[2 * sizeof(frame)];
    open_pair(&pair);
    memset(frame, 'x', sizeof(frame));
    for (uint32_t len = STREAM_IN_BYTES - 12; len < STREAM_IN_BYTES + 6; len++) {
        frame[0] = frame[1] = 0;
        frame[2] = (uint8_t)((len + 1) >> 8);
        frame[3] = (uint8_t)(len + 1);
        memcpy(twice, frame, len + 5);
        memcpy(twice + len + 5, frame, len + 5);
        feed(&pair, twice, 2 * (len + 5));
        expect(&pair, 'x', (const char *)frame + 5, len);
        expect(&pair, 'x', (const char *)frame + 5, len);
    }
    close_pair(&pair);
}

static void sessions_end(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        enum stream_end why;
    } rows[] = {
        {"", 0, STREAM_EOF},
        {"\0\0\0", 3, STREAM_EOF},
        {"\0\0\0\3Ha", 6, STREAM_EOF},
        {"\0\0\0\0H", 5, STREAM_UNREADABLE},
        {"\0\1\x11\x72H", 5, STREAM_TOO_BIG},
        {"\xff\xff\xff\xffH", 5, STREAM_TOO_BIG},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pair pair;
        open_pair(&pair);
        feed(&pair, rows[i].bytes, rows[i].n);
        shutdown(pair.peer, SHUT_WR);
        expect_end(&pair, WAIT_MS, rows[i].why);
        close_pair(&pair);
    }
    struct pair pair;
    open_pair(&pair);
    expect_end(&pair, 1, STREAM_TIMED_OUT);
    close_pair(&pair);
}

static void actions_go_with_the_reply(void **state)
{
    (void)state;
    struct pair pair;
    char got[64];
    open_pair(&pair);
    assert_int_equal(stream_write(&pair.stream, WAIT_MS, 'h', "X\0y", 4), 0);
    assert_int_equal(recv(pair.peer, got, sizeof(got), MSG_DONTWAIT), -1);
    assert_int_equal(stream_write(&pair.stream, WAIT_MS, 'c', NULL, 0), 0);
    assert_int_equal(recv(pair.peer, got, sizeof(got), 0), 14);
    assert_memory_equal(got, "\0\0\0\5hX\0y\0\0\0\0\1c", 14);
    /* what has no reply goes before the next wait */
    assert_int_equal(stream_write(&pair.stream, WAIT_MS, 'q', "why", 4), 0);
    expect_end(&pair, 1, STREAM_TIMED_OUT);
    assert_int_equal(recv(pair.peer, got, sizeof(got), 0), 9);
    close_pair(&pair);
}

static void large_actions_keep_their_order(void **state)
{
    (void)state;
    struct pair pair;
    static char body[STREAM_OUT_BYTES * 2], got[sizeof(body) + 64];
    open_pair(&pair);
    memset(body, 'b', sizeof(body));
    assert_int_equal(stream_write(&pair.stream, WAIT_MS, 'h', "X\0y", 4), 0);
    assert_int_equal(stream_write(&pair.stream, WAIT_MS, 'b', body, sizeof(body)), 0);
    assert_int_equal(recv(pair.peer, got, sizeof(got), 0), 9 + 5 + sizeof(body));
    assert_int_equal(got[4], 'h');
    assert_int_equal(got[9 + 4], 'b');
    close(pair.peer);
    assert_int_not_equal(stream_write(&pair.stream, WAIT_MS, 'c', NULL, 0), 0);
    pair.peer = dup(pair.stream.fd);
    close_pair(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_come_at_once),
        cmocka_unit_test(commands_of_any_length),
        cmocka_unit_test(sessions_end),
        cmocka_unit_test(actions_go_with_the_reply),
        cmocka_unit_test(large_actions_keep_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
