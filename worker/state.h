/*
 * conn.state and msg.state as bytes: they travel from worker to worker through milterd, so the
 * decoder trusts nothing.
 *
 * A value: u8 tag, then its content; numbers big-endian.
 *   1 false   2 true   3 integer (u64, two's complement)   4 float (u64, IEEE 754 bits)   5 string
 * (u32 length, bytes) 6 table (u32 number of pairs, then key and value of each; keys are strings or
 * integers) The bytes are one table. Depth at most STATE_DEPTH_MAX, no cycles, metatables are
 * ignored.
 */
#ifndef POSTERN_WORKER_STATE_H
#define POSTERN_WORKER_STATE_H

#include <lua.h>

#include "common/buf.h"

enum { STATE_DEPTH_MAX = 16, STATE_BYTES_MAX = 32768 };

/*
 * Encodes the table at index. 0; -ERR_BAD (a value, key or depth that cannot travel) or -ERR_TOOBIG
 * (out is full, whose cap bounds it); then why_out tells what and where: "state.list[3].when is a
 * function". [-0, +0, -]; never raises, and runs none of the filter's code.
 */
int state_put(lua_State *L, int index, struct buf *out, const char *root_name, char *why_out,
    size_t why_bytes);
/* Pushes the table that the bytes hold, or nothing: -ERR_BAD. [-0, +(0|1), m] */
int state_get(lua_State *L, struct slice bytes);

#endif
