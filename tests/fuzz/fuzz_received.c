/* A Received field as anybody may write it: never a crash; an address that comes out is one, and
 * names point into the field. */
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "worker/received.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_within(struct slice part, struct slice whole)
{
    check(part.len == 0 ||
          (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct slice value = slice_of(data, len);
    struct received received;
    uint8_t address[16];
    if (!received_from_text(value, &received))
        return 0;
    check(inet_pton(AF_INET, received.ip, address) == 1 ||
          inet_pton(AF_INET6, received.ip, address) == 1);
    check_within(received.helo, value);
    check_within(received.hostname, value);
    return 0;
}
