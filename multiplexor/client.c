/* Accepting, watching, one request at a time. */
#include "multiplexor/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/sock.h"
#include "common/xalloc.h"
#include "multiplexor/generation.h"
#include "multiplexor/kin.h"
#include "multiplexor/limits.h"
#include "multiplexor/link.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"
#include "multiplexor/report.h"
#include "multiplexor/request.h"
#include "multiplexor/request_route.h"

enum {
    ACCEPT_BATCH = 64,
    HELD_MAX = GENERATION_LIVING_MAX + 4,
    REFUSAL_LOG_MS = 1000,
    NO_DESCRIPTORS_PAUSE_US = 100000,
};

struct client {
    TAILQ_ENTRY(client) entry;
    struct mux *mux;
    struct link link;
    struct request *request; /* NULL: none in flight */
    void (*on_answer)(
        const struct wire_reply *reply, void *context); /* of one within this process; else NULL */
    void *context;
    bool is_watching;
    char *sandbox;           /* a watching one's, as it says; else NULL */
    uint32_t pid;            /* as its HELLO says */
    uint32_t held[HELD_MAX]; /* generations it was told of and has not released */
    unsigned n_held;
};

static void client_free(struct client *client)
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

static void release(struct client *client, uint32_t number)
{
    for (unsigned i = 0; i < client->n_held; i++) {
        if (client->held[i] == number) {
            client->held[i] = client->held[--client->n_held];
            return;
        }
    }
}

/* The client may be gone afterwards. */
static void send_needs(struct client *client)
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
    send_needs(client);
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
        release(client, in.generation);
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
        send_needs(client);
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

static const struct link_events events = {
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

/* One line a second is enough to tell that clients are turned away. */
static void refuse(struct mux *mux, int fd, const char *why)
{
    uid_t uid = (uid_t)-1;
    gid_t gid;
    pid_t pid = 0;
    int64_t now_ms = clock_now_ms();
    mux->stats.clients_refused++;
    if (now_ms - mux->clients.refusal_logged_ms >= REFUSAL_LOG_MS) {
        mux->clients.refusal_logged_ms = now_ms;
        (void)sock_peer(fd, &uid, &gid, &pid);
        log_warn("connection from uid %d, pid %d refused: %s", (int)uid, (int)pid, why);
    }
    close(fd);
}

static void take(struct mux *mux, int fd)
{
    struct clients *clients = &mux->clients;
    if (!sock_peer_is_trusted(fd)) {
        refuse(mux, fd, "it is neither ours nor root");
        return;
    }
    if (kin_is_peer(fd)) {
        refuse(mux, fd, "it is a worker, or a program of its");
        return;
    }
    if (clients->n >= clients->max) {
        refuse(mux, fd, "max_clients reached");
        return;
    }
    struct client *client = xcalloc(1, sizeof(*client));
    char name[48];
    client->mux = mux;
    snprintf(name, sizeof(name), "client %llu", (unsigned long long)++clients->last_number);
    if (link_open(&client->link, mux->base, fd, ROLE_MILTERD, 0, mux->scratch, name, &events,
            client) != 0) {
        log_warn("%s: cannot be served: %s", name, strerror(errno));
        free(client);
        return;
    }
    TAILQ_INSERT_TAIL(&clients->list, client, entry);
    clients->n++;
    mux->stats.clients_accepted++;
}

static void on_acceptable(evutil_socket_t listener, short what, void *context)
{
    (void)what;
    struct mux *mux = context;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            take(mux, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* The connection stays in the backlog and would wake us for ever: look again a little
             * later. */
            struct timeval pause = {.tv_usec = NO_DESCRIPTORS_PAUSE_US};
            log_warn("cannot accept: %s", strerror(errno));
            event_del(&mux->clients.acceptable);
            loop_add(&mux->clients.resume, &pause);
        }
        return;
    }
}

static void on_resume(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct mux *mux = context;
    if (mux->clients.fd >= 0)
        loop_add(&mux->clients.acceptable, NULL);
}

void clients_open(struct mux *mux, int fd, unsigned max)
{
    struct clients *clients = &mux->clients;
    *clients = (struct clients){.fd = fd, .max = max, .refusal_logged_ms = -REFUSAL_LOG_MS};
    TAILQ_INIT(&clients->list);
    evtimer_assign(&clients->resume, mux->base, on_resume, mux);
    event_assign(&clients->acceptable, mux->base, fd, EV_READ | EV_PERSIST, on_acceptable, mux);
    if (fd < 0)
        return;
    loop_listen(&clients->acceptable, fd);
}

void clients_stop_listening(struct mux *mux)
{
    struct clients *clients = &mux->clients;
    event_del(&clients->resume);
    if (clients->fd < 0)
        return;
    event_del(&clients->acceptable);
    close(clients->fd);
    clients->fd = -1;
}

void clients_close(struct mux *mux)
{
    struct client *client;
    while ((client = TAILQ_FIRST(&mux->clients.list)) != NULL)
        client_free(client);
}

void clients_push_needs(struct mux *mux)
{
    struct client *client, *next;
    for (client = TAILQ_FIRST(&mux->clients.list); client != NULL; client = next) {
        next = TAILQ_NEXT(client, entry);
        if (client->is_watching)
            send_needs(client);
    }
}

unsigned clients_n_watchers(const struct mux *mux)
{
    return mux->clients.n_watchers;
}

bool clients_hold_generation(const struct mux *mux, uint32_t number)
{
    const struct client *client;
    TAILQ_FOREACH(client, &mux->clients.list, entry)
    {
        for (unsigned i = 0; i < client->n_held; i++)
            if (client->held[i] == number)
                return true;
    }
    return false;
}

void clients_forget_generation(struct mux *mux, uint32_t number)
{
    struct client *client;
    TAILQ_FOREACH(client, &mux->clients.list, entry)
    {
        release(client, number);
    }
}

/* Adds a text unless it is there. Its reference is taken over. */
static void add_once(json_t *list, json_t *text)
{
    size_t i;
    json_t *other;
    json_array_foreach(list, i, other)
    {
        if (json_equal(other, text)) {
            json_decref(text);
            return;
        }
    }
    json_array_append_new(list, text);
}

json_t *clients_sandboxes_json(const struct mux *mux)
{
    json_t *list = json_array();
    const struct client *client;
    TAILQ_FOREACH(client, &mux->clients.list, entry)
    {
        if (client->sandbox != NULL && client->sandbox[0] != '\0')
            add_once(list, report_text(client->sandbox));
    }
    return list;
}
