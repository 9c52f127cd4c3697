/* Where a server of Redis is: what is understood, how it is told, and what is refused. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "worker/redis_place.h"

static void test_texts(void **state)
{
    static const struct {
        const char *text;
        int family;
        uint16_t port;
        const char *host;
    } rows[] = {{"127.0.0.1:6379", AF_INET, 6379, "127.0.0.1"}, {"[::1]:1", AF_INET6, 1, "::1"},
        {"[2001:db8::7]:65535", AF_INET6, 65535, "2001:db8::7"},
        {"/run/redis/redis.sock", AF_UNIX, 0, ""}, {"", 0, 0, ""}, {"redis", 0, 0, ""},
        {"redis.example:6379", 0, 0, ""}, {"127.0.0.1", 0, 0, ""}, {"127.0.0.1:", 0, 0, ""},
        {"127.0.0.1:0", 0, 0, ""}, {"127.0.0.1:65536", 0, 0, ""}, {"127.0.0.1:6379x", 0, 0, ""},
        {"::1:6379", 0, 0, ""}, {"[::1]", 0, 0, ""}, {"[]:1", 0, 0, ""}, {":6379", 0, 0, ""},
        {"/a/path/that/is/longer/than/a/socket/address/has/room/for/which/is/one/hundred/and/seven/"
         "bytes/on/this/system",
            0, 0, ""}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_place place;
        int err = redis_place_from_text(slice_text(rows[i].text), &place);
        if (err != (rows[i].family != 0 ? 0 : -ERR_BAD))
            fail_msg("row %zu: %s", i, rows[i].text);
        if (err != 0)
            continue;
        assert_int_equal(place.address.any.sa_family, rows[i].family);
        assert_string_equal(place.text, rows[i].text);
        assert_string_equal(place.host, rows[i].host);
        if (rows[i].family == AF_INET)
            assert_int_equal(ntohs(place.address.in.sin_port), rows[i].port);
        if (rows[i].family == AF_INET6)
            assert_int_equal(ntohs(place.address.in6.sin6_port), rows[i].port);
    }
}

/* What a Sentinel says may be anything. */
static void test_parts(void **state)
{
    struct redis_place a, b;
    (void)state;
    assert_int_equal(redis_place_from_text(slice_text("localhost:6379"), &a), 0);
    assert_string_equal(a.text, "127.0.0.1:6379");
    assert_int_equal(redis_place_from_parts(slice_text("::1"), slice_text("7"), &a), 0);
    assert_int_equal(redis_place_from_text(slice_text("[::1]:7"), &b), 0);
    assert_true(redis_place_equal(&a, &b));
    assert_int_equal(
        redis_place_from_parts(slice_of("127.0.0.1\0x", 11), slice_text("7"), &a), -ERR_BAD);
    assert_int_equal(
        redis_place_from_parts(slice_text("127.0.0.1"), slice_of("7\0", 2), &a), -ERR_BAD);
    assert_int_equal(
        redis_place_from_parts(slice_text("127.0.0.1"), slice_text("77777777777777777777777"), &a),
        -ERR_BAD);
    assert_int_equal(redis_place_from_parts(slice_text(""), slice_text("7"), &a), -ERR_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
