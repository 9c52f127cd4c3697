/* Bytes that are handed to a server, where they lie: a large message is not to go through the Lua
 * heap, which is smaller than what it may be. */
#include "worker/lapi_content.h"

#include "worker/lapi_msg.h"
#include "worker/lapi_part.h"

struct slice lapi_check_content(lua_State *L, int index)
{
    struct job *job = lapi_msg_test(L, index);
    if (job != NULL) {
        if (!job_knows(job, HOOK_MESSAGE)) {
            lapi_raise_too_early(L, "the whole message", HOOK_MESSAGE);
        }
        return job->message;
    }
    const struct mime_part *part = lapi_part_test(L, index);
    if (part != NULL) {
        return mime_content(part->mime, part);
    }
    luaL_argexpected(L, lua_isstring(L, index), index, "string, msg or part");
    return lapi_check_slice(L, index);
}
