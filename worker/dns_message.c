/*
 * Reading of a DNS message (RFC 1035). Its bytes are a stranger's: nothing is read past the end,
 * compression pointers only go backwards, and the work is linear in the message but for the chain
 * of CNAMEs, which is bounded.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/err.h"
#include "common/xalloc.h"
#include "worker/dns_answer.h"

enum {
    HEADER_BYTES = 12,
    CHAIN_MAX = 16,
    NAME_WIRE_MAX = 255,
    CLASS_IN = 1,
    RCODE_NXDOMAIN = 3,
    TTL_MAX = INT32_MAX, /* RFC 2181, section 8: with the top bit it counts as 0 */
    TEXTS_MAX = 1 << 20, /* bytes of all records: names grow when they are unpacked */
};

struct reader {
    const uint8_t *bytes;
    size_t len, pos;
};

struct resource {
    char owner[DNS_TEXT_MAX];
    uint16_t type, class;
    uint32_t ttl;
    size_t data_pos, data_len;
};

struct message {
    struct reader reader;
    unsigned rcode, n_answers, n_authorities;
    size_t answers_pos;
};

/* ---- numbers and names ---- */

static bool get_u16(struct reader *r, uint16_t *out)
{
    if (r->len - r->pos < 2) {
        return false;
    }
    *out = (uint16_t)(r->bytes[r->pos] << 8 | r->bytes[r->pos + 1]);
    r->pos += 2;
    return true;
}

static bool get_u32(struct reader *r, uint32_t *out)
{
    uint16_t high, low;
    if (!get_u16(r, &high) || !get_u16(r, &low)) {
        return false;
    }
    *out = (uint32_t)high << 16 | low;
    return true;
}

/* RFC 1035, section 5.1. */
static size_t put_byte(char *out, uint8_t byte)
{
    if (byte <= ' ' || byte >= 127) {
        out[0] = '\\';
        out[1] = (char)('0' + byte / 100);
        out[2] = (char)('0' + byte / 10 % 10);
        out[3] = (char)('0' + byte % 10);
        return 4;
    }
    size_t n = 0;
    if (byte == '.' || byte == '\\') {
        out[n++] = '\\';
    }
    out[n++] = (char)byte;
    return n;
}

/* Each pointer leads to before the name that it stands in, or the last pointer: so it ends. */
static bool get_name(struct reader *r, char out[static DNS_TEXT_MAX])
{
    size_t pos = r->pos, lowest = r->pos, wire = 0, n = 0;
    bool has_jumped = false;
    for (;;) {
        if (pos >= r->len) {
            return false;
        }
        uint8_t length = r->bytes[pos];
        if ((length & 0xc0) == 0xc0) {
            if (pos + 1 >= r->len) {
                return false;
            }
            size_t to = (size_t)(length & 0x3f) << 8 | r->bytes[pos + 1];
            if (!has_jumped) {
                r->pos = pos + 2;
                has_jumped = true;
            }
            if (to >= lowest) {
                return false;
            }
            pos = lowest = to;
            continue;
        }
        wire += 1U + length;
        if ((length & 0xc0) != 0 || wire > NAME_WIRE_MAX || r->len - pos - 1 < length) {
            return false;
        }
        pos++;
        if (length == 0) {
            break;
        }
        if (n > 0) {
            out[n++] = '.';
        }
        for (size_t i = 0; i < length; i++) {
            n += put_byte(out + n, r->bytes[pos + i]);
        }
        pos += length;
    }
    if (n == 0) {
        out[n++] = '.';
    }
    out[n] = '\0';
    if (!has_jumped) {
        r->pos = pos;
    }
    return true;
}

/* With or without the dot at the end of what was asked for. */
static bool is_same_name(const char *asked, const char *name)
{
    size_t n = strlen(name);
    return strncasecmp(asked, name, n) == 0 &&
           (asked[n] == '\0' || (asked[n] == '.' && asked[n + 1] == '\0'));
}

/* ---- the message ---- */

static bool get_resource(struct reader *r, struct resource *out)
{
    uint16_t len;
    if (!get_name(r, out->owner) || !get_u16(r, &out->type) || !get_u16(r, &out->class) ||
        !get_u32(r, &out->ttl) || !get_u16(r, &len) || r->len - r->pos < len) {
        return false;
    }
    out->ttl = out->ttl > TTL_MAX ? 0 : out->ttl;
    out->data_pos = r->pos;
    out->data_len = len;
    r->pos += len;
    return true;
}

static bool open_message(
    struct slice bytes, const char *name, enum dns_type type, struct message *out)
{
    struct reader *r = &out->reader;
    char asked[DNS_TEXT_MAX];
    uint16_t id, flags, questions, answers, authorities, additional, qtype, qclass;
    *r = (struct reader){(const uint8_t *)bytes.data, bytes.len, 0};
    if (!get_u16(r, &id) || !get_u16(r, &flags) || !get_u16(r, &questions) ||
        !get_u16(r, &answers) || !get_u16(r, &authorities) || !get_u16(r, &additional) ||
        (flags & 0x8000) == 0 || questions != 1 || !get_name(r, asked) || !get_u16(r, &qtype) ||
        !get_u16(r, &qclass)) {
        return false;
    }
    out->rcode = flags & 15;
    out->n_answers = answers;
    out->n_authorities = authorities;
    out->answers_pos = r->pos;
    return (out->rcode == 0 || out->rcode == RCODE_NXDOMAIN) && qtype == type &&
           qclass == CLASS_IN && is_same_name(name, asked);
}

/* Where the chain of CNAMEs from name leads; least_ttl falls with each. False: no end, or bad. */
static bool follow_chain(struct message *m, char name[static DNS_TEXT_MAX], uint32_t *least_ttl)
{
    struct resource resource;
    for (int links = 0; links <= CHAIN_MAX; links++) {
        bool is_found = false;
        m->reader.pos = m->answers_pos;
        for (unsigned i = 0; i < m->n_answers && !is_found; i++) {
            if (!get_resource(&m->reader, &resource)) {
                return false;
            }
            is_found = resource.type == DNS_CNAME && resource.class == CLASS_IN &&
                       is_same_name(name, resource.owner);
        }
        if (!is_found) {
            return true;
        }
        struct reader data = {
            m->reader.bytes, resource.data_pos + resource.data_len, resource.data_pos};
        if (!get_name(&data, name) || data.pos != data.len) {
            return false;
        }
        *least_ttl = resource.ttl < *least_ttl ? resource.ttl : *least_ttl;
    }
    return false;
}

/* ---- records ---- */

struct collection {
    struct dns_record *records;
    size_t n, cap;
    struct buf texts; /* records[i].text.data is an offset until all are there */
};

static bool get_address(struct reader *r, int family, size_t bytes, char *out)
{
    if (r->len - r->pos != bytes ||
        inet_ntop(family, r->bytes + r->pos, out, DNS_TEXT_MAX) == NULL) {
        return false;
    }
    r->pos = r->len;
    return true;
}

/* The character-strings of one record, joined. */
static bool get_texts(struct reader *r, struct buf *out)
{
    while (r->pos < r->len) {
        size_t n = r->bytes[r->pos++];
        if (r->len - r->pos < n || buf_put(out, r->bytes + r->pos, n) != 0) {
            return false;
        }
        r->pos += n;
    }
    return true;
}

static unsigned count_numbers(enum dns_type type)
{
    return type == DNS_MX ? 1 : type == DNS_SRV ? 3 : 0;
}

static bool get_data(
    struct reader *r, enum dns_type type, struct dns_record *record, struct buf *texts)
{
    char text[DNS_TEXT_MAX];
    bool is_good = true;
    for (unsigned i = 0; i < count_numbers(type) && is_good; i++) {
        is_good = get_u16(r, &record->numbers[i]);
    }
    if (type == DNS_TXT) {
        return get_texts(r, texts);
    }
    is_good = is_good && (type == DNS_A         ? get_address(r, AF_INET, 4, text)
                             : type == DNS_AAAA ? get_address(r, AF_INET6, 16, text)
                                                : get_name(r, text));
    return is_good && r->pos == r->len && buf_put(texts, text, strlen(text)) == 0;
}

static bool add_record(
    struct message *m, const struct resource *resource, struct collection *collection)
{
    struct reader data = {
        m->reader.bytes, resource->data_pos + resource->data_len, resource->data_pos};
    if (collection->n == collection->cap) {
        collection->cap = collection->cap > 0 ? 2 * collection->cap : 16;
        collection->records =
            xreallocarray(collection->records, collection->cap, sizeof *collection->records);
    }
    struct dns_record *record = &collection->records[collection->n];
    size_t before = collection->texts.len;
    *record = (struct dns_record){.numbers = {0}};
    if (!get_data(&data, resource->type, record, &collection->texts)) {
        return false;
    }
    record->text.len = collection->texts.len - before;
    collection->n++;
    return true;
}

static bool collect(struct message *m, const char *name, enum dns_type type, uint32_t *least_ttl,
    struct collection *collection)
{
    struct resource resource;
    m->reader.pos = m->answers_pos;
    for (unsigned i = 0; i < m->n_answers; i++) {
        if (!get_resource(&m->reader, &resource)) {
            return false;
        }
        if (resource.type != type || resource.class != CLASS_IN ||
            !is_same_name(name, resource.owner)) {
            continue;
        }
        if (!add_record(m, &resource, collection)) {
            return false;
        }
        *least_ttl = resource.ttl < *least_ttl ? resource.ttl : *least_ttl;
    }
    return true;
}

/* The reader stands behind the answers. */
static uint32_t negative_ttl(struct message *m)
{
    struct resource resource;
    for (unsigned i = 0; i < m->n_authorities && get_resource(&m->reader, &resource); i++) {
        if (resource.type == DNS_SOA && resource.class == CLASS_IN && resource.data_len >= 20) {
            struct reader data = {m->reader.bytes, resource.data_pos + resource.data_len,
                resource.data_pos + resource.data_len - 4};
            uint32_t minimum = 0;
            (void)get_u32(&data, &minimum);
            minimum = minimum > TTL_MAX ? 0 : minimum;
            return resource.ttl < minimum ? resource.ttl : minimum;
        }
    }
    return 0;
}

static int compare_records(const void *a, const void *b)
{
    const struct dns_record *left = a, *right = b;
    return left->numbers[0] - right->numbers[0];
}

static struct dns_answer *finish(
    struct collection *collection, enum dns_type type, uint32_t ttl, bool is_nxdomain)
{
    /* Where all texts are empty nothing was gathered. */
    const char *texts = collection->texts.len > 0 ? (const char *)collection->texts.data : "";
    size_t at = 0;
    for (size_t i = 0; i < collection->n; i++) {
        struct slice *text = &collection->records[i].text;
        *text = slice_of(texts + at, text->len);
        at += text->len;
    }
    if (count_numbers(type) > 0 && collection->n > 1) {
        qsort(collection->records, collection->n, sizeof *collection->records, compare_records);
    }
    return dns_answer_new(collection->records, collection->n, ttl, is_nxdomain);
}

int dns_answer_read(
    struct slice bytes, const char *name, enum dns_type type, struct dns_answer **out)
{
    struct message message;
    struct collection collection = {.records = NULL};
    char target[DNS_TEXT_MAX];
    uint32_t ttl = TTL_MAX;
    snprintf(target, sizeof target, "%s", name);
    buf_init(&collection.texts, TEXTS_MAX);
    bool is_good = open_message(bytes, name, type, &message) &&
                   (type == DNS_CNAME || follow_chain(&message, target, &ttl)) &&
                   collect(&message, target, type, &ttl, &collection);
    if (is_good) {
        bool is_nxdomain = message.rcode == RCODE_NXDOMAIN && collection.n == 0;
        if (collection.n == 0) {
            uint32_t negative = negative_ttl(&message);
            ttl = negative < ttl ? negative : ttl;
        }
        *out = finish(&collection, type, ttl, is_nxdomain);
    }
    buf_clear(&collection.texts);
    free(collection.records);
    return is_good ? 0 : -ERR_BAD;
}
