#include "worker/dns_answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/xalloc.h"

static const struct {
    const char *text;
    enum dns_type type;
} types[] = {{"A", DNS_A}, {"AAAA", DNS_AAAA}, {"CNAME", DNS_CNAME}, {"MX", DNS_MX}, {"NS", DNS_NS},
    {"PTR", DNS_PTR}, {"SRV", DNS_SRV}, {"TXT", DNS_TXT}};

enum { N_TYPES = sizeof types / sizeof types[0] };

enum dns_type dns_type_from_text(const char *text)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        if (strcasecmp(types[i].text, text) == 0) {
            return types[i].type;
        }
    }
    return 0;
}

const char *dns_type_text(enum dns_type type)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        if (types[i].type == type) {
            return types[i].text;
        }
    }
    return "?";
}

bool dns_name_is_good(struct slice name)
{
    size_t label = 0;
    if (name.len > 0 && name.data[name.len - 1] == '.') {
        name.len--;
    }
    if (name.len == 0 || name.len > DNS_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c <= ' ' || c >= 127 || c == '\\' || (c == '.' && label == 0)) {
            return false;
        }
        label = c == '.' ? 0 : label + 1;
        if (label > 63) {
            return false;
        }
    }
    return label > 0;
}

struct dns_answer *dns_answer_new(
    const struct dns_record *records, size_t n, uint32_t ttl_secs, bool is_nxdomain)
{
    size_t bytes = sizeof(struct dns_answer) + n * sizeof *records, used = bytes;
    for (size_t i = 0; i < n; i++) {
        bytes += records[i].text.len;
    }
    struct dns_answer *answer = xcalloc(1, bytes);
    *answer = (struct dns_answer){
        .n_refs = 1, .is_nxdomain = is_nxdomain, .ttl_secs = ttl_secs, .bytes = bytes, .n = n};
    for (size_t i = 0; i < n; i++) {
        char *text = (char *)answer + used;
        answer->records[i] = records[i];
        answer->records[i].text = slice_of(text, records[i].text.len);
        if (records[i].text.len > 0) {
            memcpy(text, records[i].text.data, records[i].text.len);
        }
        used += records[i].text.len;
    }
    return answer;
}

void dns_answer_ref(struct dns_answer *answer)
{
    answer->n_refs++;
}

void dns_answer_unref(struct dns_answer *answer)
{
    if (answer != NULL && --answer->n_refs == 0) {
        free(answer);
    }
}
