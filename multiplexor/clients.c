/* All connections of front ends: accepting, and what concerns each of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/sock.h"
#include "common/xalloc.h"
#include "multiplexor/client_internal.h"
#include "multiplexor/kin.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"
#include "multiplexor/report.h"

enum {
    ACCEPT_BATCH = 64,
    REFUSAL_LOG_MS = 1000,
    NO_DESCRIPTORS_PAUSE_US = 100000,
};

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
    if (link_open(&client->link, mux->base, fd, ROLE_MILTERD, 0, mux->scratch, name, &client_events,
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
            client_send_needs(client);
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
        client_release(client, number);
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
