/* An answer of the DNS as anybody may send it: never a crash; what comes out is within bounds and
 * in order. The first byte says which type was asked for; the name is the question's, so that most
 * inputs get past it. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "worker/dns_answer.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* As many plain labels as the question has. */
static void name_of_question(const uint8_t *data, size_t len, char out[256])
{
    size_t at = 12, n = 0;
    while (at < len && data[at] > 0 && data[at] < 64 && at + data[at] < len &&
           n + data[at] + 1U < 255) {
        memcpy(out + n, data + at + 1, data[at]);
        n += data[at];
        out[n++] = '.';
        at += 1U + data[at];
    }
    out[n] = '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const enum dns_type types[] = {
        DNS_A, DNS_AAAA, DNS_CNAME, DNS_MX, DNS_NS, DNS_PTR, DNS_SRV, DNS_TXT};
    struct dns_answer *answer;
    char name[256];
    if (len == 0)
        return 0;
    const enum dns_type type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    name_of_question(data + 1, len - 1, name);
    if (dns_answer_read(slice_of(data + 1, len - 1), name, type, &answer) != 0)
        return 0;
    check(!answer->is_nxdomain || answer->n == 0);
    check(answer->ttl_secs <= INT32_MAX);
    for (size_t i = 0; i < answer->n; i++) {
        const struct slice text = answer->records[i].text;
        check(text.data >= (const char *)answer &&
              text.data + text.len <= (const char *)answer + answer->bytes);
        check(type == DNS_TXT || (text.len > 0 && text.len < DNS_TEXT_MAX));
        check(type != DNS_MX || i == 0 ||
              answer->records[i - 1].numbers[0] <= answer->records[i].numbers[0]);
    }
    dns_answer_unref(answer);
    return 0;
}
