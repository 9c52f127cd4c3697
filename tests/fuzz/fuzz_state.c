/* The state of a connection or message, as bytes from another worker: what is taken can be encoded
 * again, in the same length, and read back. */
#include "tests/fuzz/fuzz.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>

#include "worker/state.h"

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    lua_State *L = luaL_newstate();
    check(L != NULL);
    if (state_get(L, slice_of(data, len)) == 0) {
        struct buf out;
        char why[256];
        check(lua_gettop(L) == 1);
        buf_init(&out, STATE_BYTES_MAX);
        check(state_put(L, 1, &out, "state", why, sizeof why) == 0);
        check(out.len <= len); /* less when a key came twice */
        check(state_get(L, buf_slice(&out)) == 0);
        buf_clear(&out);
    } else {
        check(lua_gettop(L) == 0);
    }
    lua_close(L);
    return 0;
}
