/* Record connections: handshake, header checks, the outgoing list. */
#include "multiplexor/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/version.h"
#include "common/xalloc.h"

struct link_out {
    TAILQ_ENTRY(link_out) entry;
    int fds[SOCK_MAX_FDS];
    int n_fds;
    size_t len;
    uint8_t bytes[];
};

static void out_free(struct link_out *out)
{
    for (int i = 0; i < out->n_fds; i++)
        close(out->fds[i]);
    free(out);
}

/* A copy of the record with its own descriptors; NULL when there are no descriptors left. */
static struct link_out *out_new(struct slice record, const int *fds, int n_fds)
{
    struct link_out *out = xmalloc(sizeof(*out) + record.len);
    *out = (struct link_out){.len = record.len};
    memcpy(out->bytes, record.data, record.len);
    for (; out->n_fds < n_fds; out->n_fds++) {
        int fd = fcntl(fds[out->n_fds], F_DUPFD_CLOEXEC, 3);
        if (fd < 0) {
            out_free(out);
            return NULL;
        }
        out->fds[out->n_fds] = fd;
    }
    return out;
}

bool link_is_open(const struct link *link)
{
    return link->fd >= 0;
}

bool link_has_left_unread(const struct link *link)
{
    return link->has_left_unread;
}

void link_close(struct link *link)
{
    if (link->fd < 0)
        return;
    event_del(&link->readable);
    event_del(&link->writable);
    close(link->fd);
    link->fd = -1;
    struct link_out *out;
    while ((out = TAILQ_FIRST(&link->out)) != NULL) {
        TAILQ_REMOVE(&link->out, out, entry);
        out_free(out);
    }
    link->n_out = 0;
    if (link->gone != NULL)
        *link->gone = true;
}

static void fail(struct link *link, int err)
{
    const struct link_events *events = link->events;
    void *context = link->context;
    link_close(link);
    events->on_down(err, context);
}

static int send_hello(struct link *link)
{
    struct buf record;
    struct wire_hello hello = {
        .role = ROLE_MULTIPLEXOR,
        .pid = (uint32_t)getpid(),
        .generation = link->generation,
        .build = slice_text(POSTERN_VERSION),
    };
    buf_init(&record, WIRE_RECORD_MAX);
    int err = wire_put_hello(&record, NULL, 0, 0, &hello);
    if (err == 0)
        err = link_send(link, buf_slice(&record), NULL, 0);
    buf_clear(&record);
    return err;
}

/* The first record: who is it, and does it speak our language? */
static int take_hello(struct link *link, const struct link_record *record)
{
    struct wire_hello hello;
    if (record->header.type != WIRE_HELLO) {
        log_warn("%s: first record is %s, not HELLO: dropped", link->name,
            wire_type_name(record->header.type));
        return -ERR_BAD;
    }
    int err = wire_get_hello(slice_of(record->bytes, record->len), slice_of(NULL, 0), &hello);
    if (err != 0) {
        log_warn("%s: HELLO: %s: dropped", link->name, err_text(err));
        return err;
    }
    bool is_other_generation = link->generation != 0 && hello.generation != link->generation;
    if (hello.role != (uint8_t)link->role || is_other_generation) {
        log_warn("%s: says it is %s of generation %u, expected %s of generation %u: dropped",
            link->name, wire_role_name(hello.role), hello.generation, wire_role_name(link->role),
            link->generation);
        return -ERR_DENIED;
    }
    err = send_hello(link);
    if (err != 0)
        return err;
    link->is_greeted = true;
    if (link->events->on_hello != NULL)
        link->events->on_hello(&hello, link->context);
    return 0;
}

static void refuse_version(struct link *link, const uint8_t *bytes, size_t len)
{
    unsigned major = len >= 2 ? (unsigned)bytes[0] << 8 | bytes[1] : 0;
    unsigned minor = len >= 4 ? (unsigned)bytes[2] << 8 | bytes[3] : 0;
    log_warn("%s: speaks protocol %u.%u, we speak %d.%d: dropped. Old and new binaries mixed?",
        link->name, major, minor, WIRE_MAJOR, WIRE_MINOR);
    if (!link->is_greeted)
        (void)send_hello(link); /* so that the other side can say the same in its log */
}

/* Checks one record and hands it on. Returns 0 or why the connection must end. */
static int take_record(struct link *link, struct sock_received *received)
{
    struct link_record record = {
        .bytes = link->scratch, .len = received->len, .received = received};
    int err = wire_get_header(
        slice_of(record.bytes, record.len), link->role, received->n_fds, &record.header);
    if (err == -ERR_VERSION)
        refuse_version(link, record.bytes, record.len);
    else if (err != 0)
        log_warn("%s: bad record: %s: dropped", link->name, err_text(err));
    if (err != 0)
        return err;
    if (!link->is_greeted)
        return take_hello(link, &record);
    if (record.header.type == WIRE_HELLO) {
        log_warn("%s: a second HELLO: dropped", link->name);
        return -ERR_BAD;
    }
    link->events->on_record(&record, link->context);
    return 0;
}

/* Reads up to limit records. Callbacks may close the link, or free what it lives in: `gone` tells.
 */
static void read_records(struct link *link, int limit)
{
    bool gone = false;
    bool *outer = link->gone;
    link->gone = &gone;
    for (int i = 0; i < limit && !gone; i++) {
        struct sock_received received = {0};
        int err =
            sock_recv_record(link->fd, link->scratch, LINK_SCRATCH_BYTES, &received, MSG_DONTWAIT);
        if (err == -ERR_AGAIN)
            break;
        if (err == -ERR_PEER && errno == ECONNRESET && !link->has_left_unread) {
            link->has_left_unread =
                true; /* told once, before what the peer sent; that is still to be read */
            continue;
        }
        if (err == 0) {
            err = take_record(link, &received);
            sock_close_fds(&received);
        } else if (err != -ERR_PEER) {
            log_warn("%s: %s: dropped", link->name, err_text(err));
        }
        if (err != 0 && !gone)
            fail(link, err);
    }
    if (!gone)
        link->gone = outer;
    else if (outer != NULL)
        *outer = true;
}

/* One record each time: with one request in flight, a look for a second one is a system call for
 * nothing, and every peer gets its turn. */
static void on_readable(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    read_records(context, 1);
}

void link_drain(struct link *link)
{
    /* A dead peer's socket holds what fitted into its buffer: bounded. The limit is against one
     * that is not dead. */
    if (link_is_open(link))
        read_records(link, 4096);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct link *link = context;
    struct link_out *out;
    while ((out = TAILQ_FIRST(&link->out)) != NULL) {
        int err = sock_send_record(
            fd, slice_of(out->bytes, out->len), out->fds, out->n_fds, MSG_DONTWAIT);
        if (err == -ERR_AGAIN)
            return;
        if (err != 0) {
            fail(link, err);
            return;
        }
        TAILQ_REMOVE(&link->out, out, entry);
        link->n_out--;
        out_free(out);
    }
    event_del(&link->writable);
}

int link_send(struct link *link, struct slice record, const int *fds, int n_fds)
{
    if (link->fd < 0)
        return -ERR_PEER;
    if (link->n_out == 0) {
        int err = sock_send_record(link->fd, record, fds, n_fds, MSG_DONTWAIT);
        if (err != -ERR_AGAIN)
            return err;
    }
    if (link->n_out >= LINK_OUT_MAX)
        return -ERR_TOOBIG;
    struct link_out *out = out_new(record, fds, n_fds);
    if (out == NULL)
        return -ERR_SYSTEM;
    TAILQ_INSERT_TAIL(&link->out, out, entry);
    link->n_out++;
    return event_add(&link->writable, NULL) == 0 ? 0 : -ERR_SYSTEM;
}

int link_open(struct link *link, struct event_base *base, int fd, enum wire_role role,
    uint32_t generation, uint8_t *scratch, const char *name, const struct link_events *events,
    void *context)
{
    *link = (struct link){
        .base = base,
        .fd = fd,
        .role = role,
        .generation = generation,
        .scratch = scratch,
        .events = events,
        .context = context,
    };
    TAILQ_INIT(&link->out);
    snprintf(link->name, sizeof(link->name), "%s", name);
    event_assign(&link->readable, base, fd, EV_READ | EV_PERSIST, on_readable, link);
    event_assign(&link->writable, base, fd, EV_WRITE | EV_PERSIST, on_writable, link);
    if (sock_set_nonblocking(fd, true) != 0 || sock_set_record_buffers(fd) != 0 ||
        event_add(&link->readable, NULL) != 0) {
        link_close(link);
        return -ERR_SYSTEM;
    }
    return 0;
}
