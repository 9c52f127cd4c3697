/* One text for each error code; glibc's own table for system errors, which needs no buffer and so
 * suits threads. */
#include "common/err.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

static const char *const texts[] = {
    [ERR_NONE] = "no error",
    [ERR_SYSTEM] = "system error",
    [ERR_PEER] = "peer gone",
    [ERR_AGAIN] = "not ready yet",
    [ERR_TIMEOUT] = "timed out",
    [ERR_SHORT] = "message too short",
    [ERR_TRAILING] = "bytes left over",
    [ERR_BAD] = "message malformed",
    [ERR_TOOBIG] = "over a limit",
    [ERR_VERSION] = "version does not match (old and new binaries mixed?)",
    [ERR_DENIED] = "not allowed",
    [ERR_NOTFOUND] = "not found",
    [ERR_IN_USE] = "in use",
    [ERR_RANGE] = "number out of range",
};
static_assert(sizeof(texts) / sizeof(texts[0]) == ERR_COUNT, "one text for each error");

const char *err_text(int err)
{
    int code = err < 0 ? -err : err;
    if (code == ERR_SYSTEM) {
        const char *text = strerrordesc_np(errno);
        return text != NULL ? text : "unknown system error";
    }
    return code >= 0 && code < ERR_COUNT ? texts[code] : "unknown error";
}
