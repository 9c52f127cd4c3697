/*
 * One connection of the client of Redis: opened, with TLS if wanted, and then used for one exchange
 * after the other, a request and so many replies. Never waits: each step says what for.
 */
#ifndef POSTERN_WORKER_REDIS_LINK_H
#define POSTERN_WORKER_REDIS_LINK_H

#include "common/conf.h"
#include "worker/net_stream.h"
#include "worker/redis_place.h"
#include "worker/resp.h"

enum redis_link_state {
    REDIS_LINK_CONNECTING = 0,
    REDIS_LINK_TLS,
    REDIS_LINK_WRITING,
    REDIS_LINK_READING,
    REDIS_LINK_READY, /* all replies are there, or nothing was asked yet */
};

struct redis_link {
    struct net_stream stream; /* its error says why it failed */
    enum redis_link_state state;
    struct redis_place place;
    struct slice request; /* borrowed */
    size_t written;
    struct resp_scan scan;
    int error;               /* after NET_FAILED: -ERR_PEER, -ERR_BAD, -ERR_TOOBIG */
    struct redis_link *next; /* of those that are kept */
};

/* Begins to connect; what fails is told by the first step. Never NULL. */
struct redis_link *redis_link_open(const struct redis_place *place);
void redis_link_free(struct redis_link *link); /* NULL is fine */
/* The next exchange; its request is borrowed until it is over. */
void redis_link_ask(struct redis_link *link, struct slice request, size_t n_replies);
/* As far as it goes now. NET_DONE: the replies are all there. */
enum net_status redis_link_step(const struct conf *conf, struct redis_link *link);
struct slice redis_link_reply(const struct redis_link *link); /* until the next exchange */
/* Ends an exchange. False: the server has said more than it was asked. */
bool redis_link_finish(struct redis_link *link);
/* Whether the server has neither closed it nor said anything since. */
bool redis_link_is_alive(const struct redis_link *link);

#endif
