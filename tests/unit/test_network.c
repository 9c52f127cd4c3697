/* Networks and addresses: prefixes, lists, mapped addresses, canonical texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/network.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void test_from_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc, family, prefix;
    } rows[] = {
        {"192.0.2.0/24", 0, AF_INET, 24},
        {"192.0.2.1", 0, AF_INET, 32},
        {"0.0.0.0/0", 0, AF_INET, 0},
        {"2001:db8::/32", 0, AF_INET6, 32},
        {"::/0", 0, AF_INET6, 0},
        {"::1", 0, AF_INET6, 128},
        {"::ffff:192.0.2.0/120", 0, AF_INET, 24},
        {"::ffff:192.0.2.1", 0, AF_INET, 32},
        {"::ffff:0:0/96", 0, AF_INET, 0},
        {"::ffff:0:0/90", -ERR_BAD, 0, 0},
        {"192.0.2.1/24", -ERR_BAD, 0, 0},
        {"2001:db8::1/64", -ERR_BAD, 0, 0},
        {"192.0.2.0/33", -ERR_BAD, 0, 0},
        {"192.0.2.0/", -ERR_BAD, 0, 0},
        {"192.0.2.0/-1", -ERR_BAD, 0, 0},
        {"192.0.2/24", -ERR_BAD, 0, 0},
        {"", -ERR_BAD, 0, 0},
        {"/8", -ERR_BAD, 0, 0},
        {"example.org", -ERR_BAD, 0, 0},
        {"0000000000000000000000000000000000000000000000000000000000000000000000001.2.3.4",
            -ERR_BAD, 0, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct network network = {0};
        assert_int_equal(network_from_text(rows[i].text, &network), rows[i].rc);
        assert_int_equal(network.family, rows[i].family);
        assert_int_equal(network.prefix, rows[i].prefix);
    }
}

static void test_has(void **state)
{
    (void)state;
    static const struct {
        const char *network, *ip;
        bool has;
    } rows[] = {
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"192.0.2.0/24", "::ffff:192.0.2.7", true},
        {"192.0.2.0/24", "IPv6:::ffff:192.0.2.7", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"10.0.0.0/9", "10.127.0.0", true},
        {"10.0.0.0/9", "10.128.0.0", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"0.0.0.0/0", "1.2.3.4", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "1.2.3.4", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"2001:db8::/32", "IPv6:2001:DB8::1", true},
        {"0.0.0.0/0", "unknown", false},
        {"0.0.0.0/0", "", false},
        {"0.0.0.0/0", "1.2.3.4 ", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct network network;
        assert_int_equal(network_from_text(rows[i].network, &network), 0);
        if (network_has(&network, rows[i].ip) != rows[i].has)
            fail_msg("%s and %s", rows[i].network, rows[i].ip);
    }
}

static void test_lists(void **state)
{
    (void)state;
    struct network_list list;
    assert_int_equal(network_list_from_text(" 10.0.0.0/8, 192.0.2.1\tloopback,,", &list, NULL), 0);
    assert_int_equal(list.n, 4);
    assert_true(network_list_has(&list, "10.1.2.3"));
    assert_true(network_list_has(&list, "127.8.8.8"));
    assert_true(network_list_has(&list, "::1"));
    assert_false(network_list_has(&list, "192.0.2.2"));
    assert_false(network_list_has(&list, "garbage"));
    network_list_clear(&list);
    assert_false(network_list_has(&list, "::1"));

    char *bad = NULL;
    assert_int_equal(network_list_from_text("10.0.0.0/8 nonsense 1.2.3.4", &list, &bad), -ERR_BAD);
    assert_string_equal(bad, "nonsense");
    free(bad);
    assert_int_equal(network_list_from_text("10.0.0.0/8 nonsense", &list, NULL), -ERR_BAD);
    assert_int_equal(network_list_from_text("", &list, NULL), 0);
    assert_int_equal(list.n, 0);
    network_list_clear(&list);
}

static void test_canonical(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out; /* NULL: no address */
    } rows[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"::FFFF:192.0.2.1", "192.0.2.1"},
        {"IPv6:2001:DB8:0:0::1", "2001:db8::1"},
        {"ipv6:::1", "::1"},
        {"", NULL},
        {"IPv6:", NULL},
        {"256.1.1.1", NULL},
        {"localhost", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[INET6_ADDRSTRLEN] = "";
        assert_int_equal(network_ip_canonical(rows[i].in, out), rows[i].out != NULL ? 0 : -ERR_BAD);
        if (rows[i].out != NULL)
            assert_string_equal(out, rows[i].out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_text),
        cmocka_unit_test(test_has),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
