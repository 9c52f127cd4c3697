/*
 * The file in which milter-greylist keeps its tuples, as entries of postern.greylist:
 *
 *   ADDRESS SENDER RECIPIENT SECONDS            waits: is taken from that time on
 *   ADDRESS SENDER RECIPIENT SECONDS AUTO       is let through: until that time
 *
 * separated by blanks, the addresses in brackets or bare; "#" begins a comment. The keys and values
 * are those that scripts/lib/postern/greylist.lua makes.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/network.h"
#include "common/text.h"
#include "ctl/store.h"

enum { FIELDS_MAX = 6 };

/* "192.0.2.0/24", of an address as text. */
static bool block_of(const struct conf *conf, const char *address, char *out, size_t out_bytes)
{
    uint8_t bytes[16] = {0};
    char ip[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN];
    if (network_ip_canonical(address, ip) != 0)
        return false;
    bool is_six = strchr(ip, ':') != NULL;
    int family = is_six ? AF_INET6 : AF_INET;
    int64_t bits = is_six ? conf->greylist.prefix6 : conf->greylist.prefix4;
    if (inet_pton(family, ip, bytes) != 1)
        return false;
    for (int64_t i = bits; i < (is_six ? 128 : 32); i++)
        bytes[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
    inet_ntop(family, bytes, text, sizeof text);
    snprintf(out, out_bytes, "%s/%d", text, (int)bits);
    return true;
}

/* Without brackets, in lower case, in place. */
static char *bare(char *address)
{
    size_t len = strlen(address);
    if (len >= 2 && address[0] == '<' && address[len - 1] == '>') {
        address[len - 1] = '\0';
        address++;
    }
    text_lower(address);
    return address;
}

/* Number of fields before a comment; FIELDS_MAX when there are more than a tuple has. */
static int split(char *line, char *fields[FIELDS_MAX])
{
    char *rest = NULL;
    int n = 0;
    line[strcspn(line, "#")] = '\0';
    for (char *field = strtok_r(line, " \t", &rest); field != NULL && n < FIELDS_MAX;
         field = strtok_r(NULL, " \t", &rest))
        fields[n++] = field;
    return n;
}

static void set_value(
    const struct conf *conf, struct store_entry *out, int64_t at_secs, bool is_auto, int64_t now_ms)
{
    int64_t now_secs = now_ms / 1000;
    out->value.kind = STORE_INTEGER;
    if (is_auto) {
        out->value.integer = -now_secs;
        out->expires_ms = at_secs * 1000;
        return;
    }
    int64_t first_secs = at_secs - (conf->greylist.delay + 999) / 1000;
    out->value.integer = first_secs > 0 ? first_secs : 1;
    out->expires_ms = out->value.integer * 1000 + conf->greylist.window;
}

enum store_line store_greylist_read(const struct conf *conf, char *line, int64_t now_ms,
    char key[STORE_KEY_MAX + 1], struct store_entry *out)
{
    char *fields[FIELDS_MAX];
    char block[INET6_ADDRSTRLEN + 8];
    int64_t at_secs;
    int n = split(line, fields);
    if (n == 0)
        return STORE_LINE_NOTHING;
    bool is_auto = n == 5 && strcmp(fields[4], "AUTO") == 0;
    if ((n != 4 && !is_auto) || text_to_i64(fields[3], 1, INT64_MAX / 1000000, &at_secs) != 0 ||
        !block_of(conf, fields[0], block, sizeof block))
        return STORE_LINE_WRONG;
    struct slice domain = address_domain(slice_text(bare(fields[1])));
    int len = snprintf(key, STORE_KEY_MAX + 1, "greylist:%s|%.*s|%s", block, (int)domain.len,
        domain.data != NULL ? domain.data : "", bare(fields[2]));
    if (len > STORE_KEY_MAX)
        return STORE_LINE_WRONG;
    *out = (struct store_entry){.key = slice_of(key, (size_t)len)};
    set_value(conf, out, at_secs, is_auto, now_ms);
    return STORE_LINE_ENTRY;
}
