/*
 * Record connections of milterd: taken from the listening socket when their user is ours or root.
 * One request in flight on each; a watching one is told what the filter needs, and tells which
 * generations it no longer uses. Breaking the rules ends the connection, never more.
 */
#ifndef POSTERN_MULTIPLEXOR_CLIENT_H
#define POSTERN_MULTIPLEXOR_CLIENT_H

#include <event2/event_struct.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "common/wire.h"

struct client;
struct mux;
TAILQ_HEAD(client_list, client);

struct clients {
    struct client_list list;
    unsigned n;
    unsigned max;
    unsigned n_watchers;
    uint64_t last_number;
    int fd; /* listening; -1: closed */
    struct event acceptable;
    struct event resume; /* after the process ran out of descriptors */
    int64_t refusal_logged_ms;
};

/* fd: listening, the clients' from now on. max: connections at most. */
void clients_open(struct mux *mux, int fd, unsigned max);
void clients_stop_listening(struct mux *mux);
void clients_close(struct mux *mux); /* all of them */

/* Tells every watcher the present needs. */
void clients_push_needs(struct mux *mux);
unsigned clients_n_watchers(const struct mux *mux);
/* Whether a watcher that was told of this generation has not released it. */
bool clients_hold_generation(const struct mux *mux, uint32_t number);
void clients_forget_generation(struct mux *mux, uint32_t number);
/* What the watchers say that they gave up, each text once. */
json_t *clients_sandboxes_json(const struct mux *mux);

/* Gives the client the answer to its request. False when it is gone, or goes because it does not
 * read. annex_fd: -1 or borrowed. */
bool client_answer(struct client *client, struct slice record, int annex_fd);

/*
 * A client within this process, which asks without a connection (filter_map's server).
 *
 * on_answer  called once for each request that client_ask_local took; the reply is borrowed.
 */
struct client *client_open_local(struct mux *mux,
    void (*on_answer)(const struct wire_reply *reply, void *context), void *context);
/* Its request is cancelled; nothing calls back any more. */
void client_close_local(struct client *client);
/* One at a time. on_answer may have been called already when this returns. parcel_fd: -1, or
 * borrowed. is_shadow: the shadow is asked. 0 or the error of encoding. */
int client_ask_local(
    struct client *client, const struct wire_request *request, int parcel_fd, bool is_shadow);

#endif
