/*
 * A stream as Lua has it (lapi_net.c), and what is tried on it until it is done: an attempt that
 * cannot go on says what it waits for, and is made again from the start when that has come.
 */
#ifndef POSTERN_WORKER_LAPI_NET_H
#define POSTERN_WORKER_LAPI_NET_H

#include "worker/net_stream.h"
#include "worker/script_internal.h"

enum { WHAT_MAX = 120 };

struct net {
    struct net_stream stream;
    int64_t until_ms;          /* INT64_MAX: the hook's deadline */
    struct script_waker waker; /* of the task that waits in it */
    size_t at;     /* bytes written of what is written now, or looked through for a line end */
    size_t to;     /* where what is written now ends */
    int memory_fd; /* to be sent; -1: none */
    char what[WHAT_MAX];
};

enum net_attempt {
    NET_TRY_CONNECT = 0,
    NET_TRY_WRITE,
    NET_TRY_END_WRITE,
    NET_TRY_SEND_MEMORY,
    NET_TRY_TLS,
    NET_TRY_READ,
    NET_TRY_READ_LINE,
    NET_TRY_READ_END,
    NET_TRY_READ_SOME
};

/*
 * Stack: the stream, and the method's argument if it has one. NET_DONE: the one result is on top.
 * NET_FAILED: stream.error says why. Else what to wait for.
 */
enum net_status net_try(lua_State *L, struct net *net, enum net_attempt attempt);

#endif
