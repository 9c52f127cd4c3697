/* One connection of a front end: what it watches, and one request at a time. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/sock.h"
#include "common/xalloc.h"
#include "multiplexor/client_internal.h"
#include "multiplexor/limits.h"
#include "multiplexor/mux.h"
#include "multiplexor/request.h"
#include "multiplexor/request_route.h"

void client_free(struct client *client)
{
    struct clients *clients = &client->mux->clients;
    TAILQ_REMOVE(&clients->list, client, entry);
    clients->n--;
    if (client->is_watching)
        clients->n_watchers--;
    link_close(&client->link);
    if (client->request != NULL)
        request_cancel(client->request);
    mux_wake(client->mux);
    free(client->sandbox);
    free(client);
}

static void drop(struct client *client, const char *why)
{
    log_warn("%s: %s: dropped", client->link.name, why);
    client->mux->stats.clients_dropped++;
    client_free(client);
}

static void hold(struct client *client, uint32_t number)
{
    for (unsigned i = 0; i < client->n_held; i++)
        if (client->held[i] == number)
            return;
    if (number != 0 && client->n_held < HELD_MAX)
        client->held[client->n_held++] = number;
}

void client_release(struct client *client, uint32_t number)
{
    for (unsigned i = 0; i < client->n_held; i++) {
        if (client->held[i] == number) {
            client->held[i] = client->held[--client->n_held];
            return;
        }
    }
}

/* The client may be gone afterwards. */
void client_send_needs(struct client *client)
{
    struct mux *mux = client->mux;
    struct wire_needs needs;
    mux_needs(mux, &needs);
    int err = wire_put_needs(&mux->encoded, NULL, 0, 0, &needs);
    LOG_INVARIANT(err == 0);
    if (client->is_watching) {
        hold(client, needs.generation);
        hold(client, needs.candidate);
    }
    err = link_send(&client->link, buf_slice(&mux->encoded), NULL, 0);
    if (err != 0)
        drop(client, err_text(err));
}

static void on_watch(struct client *client, const struct link_record *record)
{
    struct wire_watch in;
    int err = wire_get_watch(slice_of(record->bytes, record->len), slice_of(NULL, 0), &in);
    if (err != 0) {
        drop(client, err_text(err));
        return;
    }
    if (!client->is_watching)
        client->mux->clients.n_watchers++;
    client->is_watching = true;
    free(client->sandbox);
    client->sandbox = xmemdup0(in.sandbox.data, in.sandbox.len);
    client_send_needs(client);
}

static void on_release(struct client *client, const struct link_record *record)
{
    struct wire_release in;
    int err = wire_get_release(slice_of(record->bytes, record->len), slice_of(NULL, 0), &in);
    if (err != 0) {
        drop(client, err_text(err));
        return;
    }
    /* What takes new messages is handed out at any time: only another one can be let go. */
    if (in.generation != client->mux->told.generation &&
        in.generation != client->mux->told.candidate)
        client_release(client, in.generation);
    mux_wake(client->mux);
}

static void on_counters(struct client *client, const struct link_record *record)
{
    struct wire_counters in;
    int err = wire_get_counters(slice_of(record->bytes, record->len), slice_of(NULL, 0), &in);
    if (err != 0)
        drop(client, err_text(err));
    else
        fronts_add(&client->mux->fronts, client->pid, &in);
}

static void on_hello(const struct wire_hello *hello, void *context)
{
    struct client *client = context;
    client->pid = hello->pid;
}

static void on_request(struct client *client, const struct link_record *record)
{
    struct request *request;
    if (client->request != NULL) {
        drop(client, "a second request before the answer to the first");
        return;
    }
    int err = request_new(client->mux, client, record, &request);
    if (err != 0) {
        char why[96];
        snprintf(why, sizeof(why), "bad request: %s", err_text(err));
        drop(client, why);
        return;
    }
    client->request = request;
    request_route(request);
}

static void on_record(const struct link_record *record, void *context)
{
    struct client *client = context;
    switch (record->header.type) {
    case WIRE_WATCH:
        on_watch(client, record);
        break;
    case WIRE_ASK_NEEDS:
        client_send_needs(client);
        break;
    case WIRE_RELEASE:
        on_release(client, record);
        break;
    case WIRE_COUNTERS:
        on_counters(client, record);
        break;
    case WIRE_REQUEST:
        on_request(client, record);
        break;
    default:
        drop(client, "a record that makes no sense here");
        break;
    }
}

static void on_down(int err, void *context)
{
    struct client *client = context;
    if (err != -ERR_PEER)
        client->mux->stats.clients_dropped++;
    client_free(client);
}

const struct link_events client_events = {
    .on_hello = on_hello, .on_record = on_record, .on_down = on_down};

/* A reply that cannot be read is a worker's death to who asked. */
static void answer_local(struct client *client, struct slice record, int annex_fd)
{
    struct wire_reply reply;
    struct slice annex = {0};
    int err = annex_fd >= 0 ? annex_open(annex_fd, WIRE_ANNEX_MAX, &annex) : 0;
    if (err == 0)
        err = wire_get_reply(record, annex, &reply);
    if (err != 0)
        reply = (struct wire_reply){.outcome = OUTCOME_DIED};
    client->on_answer(&reply, client->context);
    annex_close(annex);
}

struct client *client_open_local(struct mux *mux,
    void (*on_answer)(const struct wire_reply *reply, void *context), void *context)
{
    struct client *client = xcalloc(1, sizeof(*client));
    *client =
        (struct client){.mux = mux, .link = {.fd = -1}, .on_answer = on_answer, .context = context};
    return client;
}

void client_close_local(struct client *client)
{
    if (client->request != NULL)
        request_cancel(client->request);
    mux_wake(client->mux);
    free(client);
}

/* The descriptors that go along, in their order; request_new takes them over. */
static int gather(int parcel_fd, const struct buf *annex, struct sock_received *out)
{
    *out = (struct sock_received){0};
    if (parcel_fd >= 0) {
        int fd = fcntl(parcel_fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return -ERR_SYSTEM;
        out->fds[out->n_fds++] = fd;
    }
    int err = annex->len > 0 ? annex_new(buf_slice(annex), &out->fds[out->n_fds]) : 0;
    if (err != 0)
        sock_close_fds(out);
    else if (annex->len > 0)
        out->n_fds++;
    return err;
}

int client_ask_local(
    struct client *client, const struct wire_request *request, int parcel_fd, bool is_shadow)
{
    struct buf encoded, annex;
    struct sock_received received = {0};
    struct link_record record = {.received = &received};
    LOG_INVARIANT(client->request == NULL);
    buf_init(&encoded, WIRE_RECORD_MAX);
    buf_init(&annex, WIRE_ANNEX_MAX);
    int err = wire_put_request(&encoded, &annex, 0, parcel_fd >= 0 ? WIRE_PARCEL : 0, request);
    if (err == 0)
        err = gather(parcel_fd, &annex, &received);
    record.bytes = encoded.data;
    record.len = encoded.len;
    if (err == 0)
        err = wire_get_header(buf_slice(&encoded), ROLE_MILTERD, received.n_fds, &record.header);
    if (err == 0)
        err = request_new(client->mux, client, &record, &client->request);
    sock_close_fds(&received);
    buf_clear(&encoded);
    buf_clear(&annex);
    if (err == 0) {
        client->request->is_shadow = is_shadow;
        if (is_shadow)
            limits_leave(client->request); /* it takes nothing away from mail */
        request_route(client->request);
    }
    return err;
}

bool client_answer(struct client *client, struct slice record, int annex_fd)
{
    client->request = NULL;
    if (client->on_answer != NULL) {
        answer_local(client, record, annex_fd);
        return true;
    }
    int err = link_send(&client->link, record, &annex_fd, annex_fd >= 0 ? 1 : 0);
    if (err == 0)
        return true;
    if (err == -ERR_PEER)
        client_free(client);
    else
        drop(client, err_text(err));
    return false;
}
