/* A header as anybody may write it: no mark of ours comes out of it. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "worker/job.h"
#include "worker/trap.h"

static struct conf *conf;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t secret[KEYED_HASH_BYTES] = {7};
    struct wire_request request = {.hook = HOOK_MESSAGE, .attempt = 1};
    char *error = NULL;
    struct job job;
    if (conf == NULL && conf_parse(slice_text(""), "fuzz", NULL, 0, &conf, &error) != 0)
        abort();
    request.header_bytes = len;
    request.message_bytes = len;
    if (job_open(&job, conf, &request, slice_of(NULL, 0), slice_of(data, len)) != 0)
        return 0;
    if (trap_mark_is_good(&job, TRAP_MARK_NAME, secret))
        abort();
    job_close(&job);
    return 0;
}
