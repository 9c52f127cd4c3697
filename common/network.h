/* IP networks: "192.0.2.0/24", "2001:db8::/32", single addresses; lists of them. IPv4-mapped IPv6 counts as IPv4. */
#ifndef POSTERN_NETWORK_H
#define POSTERN_NETWORK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct network {
    int family;         /* AF_INET or AF_INET6 */
    uint8_t address[16]; /* network order; bits past the prefix are zero */
    uint8_t prefix;     /* bits */
};

struct network_list {
    struct network *items; /* owned */
    int n;
};

/* Returns 0 or -ERR_BAD (also for set bits past the prefix, so that a typing error is seen). */
int network_from_text(const char *text, struct network *out);
/* text: separated by spaces or commas; "loopback" stands for 127.0.0.0/8 and ::1. On error *bad_out (may be NULL) gets a malloc'd copy of the bad word. */
int network_list_from_text(const char *text, struct network_list *out, char **bad_out);
void network_list_clear(struct network_list *list);

/* ip: text. False for text that is no address. */
bool network_has(const struct network *network, const char *ip);
bool network_list_has(const struct network_list *list, const char *ip);
/*
 * Writes the canonical text of an address: IPv4-mapped becomes IPv4; "IPv6:" prefixes are taken off.
 * out has at least INET6_ADDRSTRLEN bytes. Returns 0 or -ERR_BAD.
 */
int network_ip_canonical(const char *text, char *out);

#endif
