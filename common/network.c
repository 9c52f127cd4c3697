/* Networks as address and prefix; an IPv4-mapped IPv6 address is turned into IPv4 before anything
 * compares it. */
#include "common/network.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"

enum { MAPPED_PREFIX_BITS = 96, NETWORK_TEXT_MAX = 64 };

struct ip {
    int family;
    uint8_t bytes[16];
};

static int ip_from_text(const char *text, struct ip *out)
{
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, out->bytes) == 1) {
        out->family = AF_INET;
        return 0;
    }
    if (inet_pton(AF_INET6, text, out->bytes) != 1)
        return -ERR_BAD;
    out->family = AF_INET6;
    return 0;
}

static bool ip_unmap(struct ip *ip)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    if (ip->family != AF_INET6 || memcmp(ip->bytes, mapped, sizeof(mapped)) != 0)
        return false;
    memmove(ip->bytes, ip->bytes + 12, 4);
    memset(ip->bytes + 4, 0, 12);
    ip->family = AF_INET;
    return true;
}

static bool has_bits_past(const uint8_t *bytes, unsigned prefix)
{
    for (unsigned bit = prefix; bit < 128; bit++)
        if ((bytes[bit / 8] & (0x80u >> (bit % 8))) != 0)
            return true;
    return false;
}

int network_from_text(const char *text, struct network *out)
{
    char address[NETWORK_TEXT_MAX];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof(address))
        return -ERR_BAD;
    memcpy(address, text, len);
    address[len] = '\0';
    struct ip ip;
    if (ip_from_text(address, &ip) != 0)
        return -ERR_BAD;
    int64_t bits = ip.family == AF_INET ? 32 : 128;
    if (slash != NULL && text_to_i64(slash + 1, 0, bits, &bits) != 0)
        return -ERR_BAD;
    if (has_bits_past(ip.bytes, (unsigned)bits))
        return -ERR_BAD;
    if (ip_unmap(&ip)) /* the ffff of a mapped address lies before bit 96, so the prefix reaches
                          that far */
        bits -= MAPPED_PREFIX_BITS;
    *out = (struct network){.family = ip.family, .prefix = (uint8_t)bits};
    memcpy(out->address, ip.bytes, sizeof(out->address));
    return 0;
}

static void list_add(struct network_list *list, const struct network *network)
{
    list->items = xreallocarray(list->items, (size_t)list->n + 1, sizeof(*list->items));
    list->items[list->n++] = *network;
}

static int list_add_word(struct network_list *list, const char *word)
{
    struct network network;
    if (strcmp(word, "loopback") == 0) {
        network_from_text("127.0.0.0/8", &network);
        list_add(list, &network);
        word = "::1";
    }
    int rc = network_from_text(word, &network);
    if (rc == 0)
        list_add(list, &network);
    return rc;
}

int network_list_from_text(const char *text, struct network_list *out, char **bad_out)
{
    static const char separators[] = " \t,";
    struct network_list list = {0};
    for (const char *p = text + strspn(text, separators); *p != '\0'; p += strspn(p, separators)) {
        size_t len = strcspn(p, separators);
        char *word = xmemdup0(p, len);
        int rc = list_add_word(&list, word);
        if (rc != 0) {
            network_list_clear(&list);
            if (bad_out != NULL)
                *bad_out = word;
            else
                free(word);
            return rc;
        }
        free(word);
        p += len;
    }
    *out = list;
    return 0;
}

void network_list_clear(struct network_list *list)
{
    free(list->items);
    *list = (struct network_list){0};
}

static bool has_ip(const struct network *network, const struct ip *ip)
{
    if (network->family != ip->family)
        return false;
    unsigned whole = network->prefix / 8, rest = network->prefix % 8;
    if (memcmp(network->address, ip->bytes, whole) != 0)
        return false;
    if (rest == 0)
        return true;
    uint8_t mask = (uint8_t)(0xFF00u >> rest);
    return (ip->bytes[whole] & mask) == network->address[whole];
}

/* As an MTA may write it: with the "IPv6:" of an address literal, or mapped. */
static int ip_from_mta_text(const char *text, struct ip *out)
{
    if (strncasecmp(text, "IPv6:", 5) == 0)
        text += 5;
    int rc = ip_from_text(text, out);
    if (rc == 0)
        ip_unmap(out);
    return rc;
}

bool network_has(const struct network *network, const char *ip_text)
{
    struct ip ip;
    return ip_from_mta_text(ip_text, &ip) == 0 && has_ip(network, &ip);
}

bool network_list_has(const struct network_list *list, const char *ip_text)
{
    struct ip ip;
    if (ip_from_mta_text(ip_text, &ip) != 0)
        return false;
    for (int i = 0; i < list->n; i++)
        if (has_ip(&list->items[i], &ip))
            return true;
    return false;
}

int network_ip_canonical(const char *text, char *out)
{
    struct ip ip;
    if (ip_from_mta_text(text, &ip) != 0)
        return -ERR_BAD;
    return inet_ntop(ip.family, ip.bytes, out, INET6_ADDRSTRLEN) != NULL ? 0 : -ERR_BAD;
}
