/* The connections: one thread, epoll, each connection walking through its script. */
#include "tests/bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/sock.h"
#include "common/xalloc.h"

enum conn_state { CONN_DOWN = 0, CONN_NEGOTIATING, CONN_SETUP, CONN_MESSAGE };

struct conn {
    struct load *load;
    int fd;
    enum conn_state state;
    const struct scripts *scripts;
    const struct script *script;
    size_t pos; /* bytes of the script sent */
    int stop;   /* the next stop */
    bool is_waiting, wants_write, was_aborted;
    struct buf prefix; /* goes out before the script: abort, macros */
    struct buf in;
    uint32_t actions;
    int left, recipients_left;
    int64_t connect_us, message_us, end_us, deadline_us;
};

struct load {
    const struct load_options *options;
    const struct mail *mails;
    int n_mails;
    struct load_totals *totals;
    struct conn *conns;
    int epoll_fd;
    struct sock_spec spec;
};

const struct load_action load_actions[9] = {{'h', "addheader", 0x01}, {'i', "insheader", 0x01},
    {'m', "chgheader", 0x10}, {'b', "replbody", 0x02}, {'+', "addrcpt", 0x04},
    {'2', "addrcpt_par", 0x80}, {'-', "delrcpt", 0x08}, {'q', "quarantine", 0x20},
    {'e', "chgfrom", 0x40}};

static void conn_finish(struct conn *conn, enum load_result result);

static bool load_has_more(const struct load *load)
{
    const struct load_options *options = load->options;

    return load->totals->begun < options->messages &&
           (options->duration <= 0 ||
               (double)(clock_now_us() - load->totals->start_us) < options->duration * 1e6);
}

static void conn_watch(struct conn *conn, bool for_write)
{
    struct epoll_event event = {.events = EPOLLIN | (for_write ? EPOLLOUT : 0), .data.ptr = conn};

    if (conn->wants_write != for_write &&
        epoll_ctl(conn->load->epoll_fd, EPOLL_CTL_MOD, conn->fd, &event) < 0)
        log_fatal(EXIT_CODE_SYSTEM, "epoll_ctl: %s", strerror(errno));
    conn->wants_write = for_write;
}

static void conn_drop(struct conn *conn)
{
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    conn->state = CONN_DOWN;
    buf_reset(&conn->in);
    conn->deadline_us = conn->connect_us = 0;
}

static void conn_start_script(struct conn *conn, enum conn_state state, const struct script *script)
{
    conn->state = state;
    conn->script = script;
    conn->pos = 0;
    conn->stop = 0;
    conn->is_waiting = false;
}

/* Begins the next message on a connection, or ends it. */
static void conn_next_message(struct conn *conn)
{
    struct load *load = conn->load;

    if (conn->left-- <= 0 || !load_has_more(load)) {
        if (send(conn->fd, "\0\0\0\1Q", 5, MSG_NOSIGNAL) == 5)
            load->totals->sent += 5;
        conn_drop(conn);
        return;
    }
    conn_start_script(
        conn, CONN_MESSAGE, &conn->scripts->mails[load->totals->begun % load->n_mails]);
    buf_reset(&conn->prefix);
    if (conn->was_aborted)
        packet_put(&conn->prefix, 'A', NULL, 0);
    char macro[40] = {(char)conn->script->first, 'i', 0};
    int len = snprintf(macro + 3, sizeof macro - 3, "LOAD%010ld", load->totals->begun) + 4;
    packet_put(&conn->prefix, 'D', macro, (size_t)len);
    conn->was_aborted = false;
    conn->recipients_left = conn->script->recipients;
    conn->end_us = 0;
    conn->message_us = clock_now_us();
    load->totals->begun++;
}

static void conn_finish(struct conn *conn, enum load_result result)
{
    struct load_totals *totals = conn->load->totals;
    int64_t now = clock_now_us();
    bool in_message = conn->state == CONN_MESSAGE;

    if (!in_message) /* refused before MAIL: counts as a message */
        totals->begun++;
    totals->done++;
    totals->results[result]++;
    totals->last_us = now;
    if (result < LOAD_PROTOCOL_ERROR && in_message) {
        sample_add(SAMPLE_MESSAGE, now - conn->message_us);
        if (conn->end_us != 0)
            sample_add(SAMPLE_END, now - conn->end_us);
        totals->payload += conn->load->mails[conn->script - conn->scripts->mails].raw.len;
    }
    if (result >= LOAD_OTHER || !in_message) {
        conn_drop(conn);
        return;
    }
    conn->was_aborted = conn->end_us == 0;
    conn_next_message(conn);
}

/* Sends up to the next stop. Returns false when nothing more can be sent now. */
static bool conn_send_some(struct conn *conn)
{
    const struct script *script = conn->script;
    bool is_last = conn->stop >= script->n_stops;
    size_t end = is_last ? script->bytes.len : script->stops[conn->stop].end;
    struct iovec parts[2] = {{conn->prefix.data + conn->prefix.pos, buf_left(&conn->prefix)},
        {script->bytes.data + conn->pos, end - conn->pos}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    size_t wanted = parts[0].iov_len + parts[1].iov_len;

    if (wanted == 0 && is_last && conn->state == CONN_SETUP) {
        sample_add(SAMPLE_SETUP, clock_now_us() - conn->connect_us);
        conn_next_message(conn);
        return true;
    }
    ssize_t n = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        conn_watch(conn, true);
        return false;
    }
    if (n < 0) {
        conn_finish(conn, LOAD_CLOSED);
        return true;
    }
    conn->load->totals->sent += (uint64_t)n;
    conn->deadline_us = clock_now_us() + conn->load->options->reply_secs * INT64_C(1000000);
    size_t of_prefix = (size_t)n < parts[0].iov_len ? (size_t)n : parts[0].iov_len;
    conn->prefix.pos += of_prefix;
    conn->pos += (size_t)n - of_prefix;
    if ((size_t)n == wanted && !is_last) {
        conn->is_waiting = true;
        if (script->stops[conn->stop].command == 'E')
            conn->end_us = clock_now_us();
    }
    return true;
}

static void conn_pump(struct conn *conn)
{
    while (conn->state >= CONN_SETUP && !conn->is_waiting) {
        if (!conn_send_some(conn))
            return;
    }
    if (conn->state != CONN_DOWN)
        conn_watch(conn, false);
}

static enum load_result result_of(uint8_t command, const uint8_t *data, size_t len)
{
    switch (command) {
    case 'c':
        return LOAD_CONTINUE;
    case 'a':
        return LOAD_ACCEPT;
    case 'r':
        return LOAD_REJECT;
    case 't':
        return LOAD_TEMPFAIL;
    case 'd':
        return LOAD_DISCARD;
    case 'y':
        if (len >= 4 && data[len - 1] == 0 && (data[0] == '4' || data[0] == '5'))
            return data[0] == '4' ? LOAD_TEMPFAIL : LOAD_REJECT;
        return LOAD_PROTOCOL_ERROR;
    case 'f':
    case '4':
        return LOAD_OTHER;
    default:
        return LOAD_PROTOCOL_ERROR;
    }
}

static bool conn_take_negotiation(
    struct conn *conn, uint8_t command, const uint8_t *data, size_t len)
{
    uint32_t words[3];

    if (command != 'O' || len < sizeof words)
        return false;
    memcpy(words, data, sizeof words);
    uint32_t version = ntohl(words[0]), flags = ntohl(words[2]);
    conn->actions = ntohl(words[1]);
    if (version < 2 || version > 6 || (conn->actions & ~(uint32_t)ALL_ACTIONS) != 0 ||
        (flags & ~conn->load->options->offer) != 0)
        return false; /* macro lists that follow are not needed */
    conn->load->totals->flags = flags;
    conn->scripts = scripts_for(flags, conn->load->mails, conn->load->n_mails, conn->load->options);
    conn_start_script(conn, CONN_SETUP, &conn->scripts->setup);
    return true;
}

/* Counts a modification; true when the packet was one. */
static bool conn_take_action(struct conn *conn, uint8_t command, size_t len)
{
    for (size_t i = 0; i < sizeof load_actions / sizeof *load_actions; i++) {
        if (command != load_actions[i].code)
            continue;
        conn->load->totals->actions[i]++;
        conn->load->totals->action_bytes += (long)len;
        if ((conn->actions & load_actions[i].flag) == 0) {
            conn->load->totals->unexpected++;
            conn_finish(conn, LOAD_PROTOCOL_ERROR);
        }
        return true;
    }
    return false;
}

static void conn_take_reply(struct conn *conn, uint8_t command, const uint8_t *data, size_t len)
{
    uint8_t at = conn->script->stops[conn->stop].command;

    if (command == 's' && at == 'B' && (conn->scripts->flags & CAN_SKIP) != 0) {
        conn->pos = conn->script->end_of_body;
        conn->stop = conn->script->n_stops - 1;
        conn->is_waiting = false;
        return;
    }
    enum load_result result = result_of(command, data, len);
    bool is_refused = at == 'R' && (result == LOAD_REJECT || result == LOAD_TEMPFAIL);
    if (at != 'E' && (result == LOAD_CONTINUE || (is_refused && --conn->recipients_left > 0))) {
        conn->stop++;
        conn->is_waiting = false;
        return;
    }
    conn_finish(conn, result);
}

static void conn_on_packet(struct conn *conn, uint8_t command, const uint8_t *data, size_t len)
{
    if (conn->state == CONN_NEGOTIATING) {
        if (!conn_take_negotiation(conn, command, data, len))
            conn_finish(conn, LOAD_PROTOCOL_ERROR);
    } else if (!conn->is_waiting) { /* a reply that nobody asked for */
        conn->load->totals->unexpected++;
        conn_finish(conn, LOAD_PROTOCOL_ERROR);
    } else if (command == 'p') {
        conn->load->totals->progress++;
        conn->deadline_us = clock_now_us() + conn->load->options->reply_secs * INT64_C(1000000);
    } else if (conn->script->stops[conn->stop].command != 'E' ||
               !conn_take_action(conn, command, len)) {
        conn_take_reply(conn, command, data, len);
    }
}

static void conn_on_readable(struct conn *conn)
{
    uint8_t chunk[65536];
    ssize_t n = recv(conn->fd, chunk, sizeof chunk, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || buf_put(&conn->in, chunk, (size_t)n) != 0) {
        conn_finish(conn, LOAD_CLOSED);
        return;
    }
    conn->load->totals->received += (uint64_t)n;
    while (conn->state != CONN_DOWN && buf_left(&conn->in) >= 5) {
        uint32_t len;
        struct slice packet;
        (void)buf_get_u32(&conn->in, &len);
        if (len < 1 || len > PACKET_MAX) {
            conn->load->totals->unexpected++;
            conn_finish(conn, LOAD_PROTOCOL_ERROR);
            return;
        }
        if (buf_get(&conn->in, len, &packet) != 0) {
            conn->in.pos -= 4;
            break;
        }
        conn_on_packet(conn, (uint8_t)packet.data[0], (const uint8_t *)packet.data + 1, len - 1);
    }
    if (conn->state == CONN_DOWN)
        return;
    size_t left = buf_left(&conn->in);
    memmove(conn->in.data, conn->in.data + conn->in.pos, left);
    conn->in.len = left;
    conn->in.pos = 0;
    conn_pump(conn);
}

static void conn_begin(struct conn *conn)
{
    struct load *load = conn->load;
    uint32_t words[3] = {htonl(6), htonl(ALL_ACTIONS), htonl(load->options->offer)};

    if (conn->connect_us == 0)
        conn->connect_us = clock_now_us();
    int err = sock_connect(&load->spec, SOCK_STREAM, load->options->reply_secs * 1000, &conn->fd);
    if (err != 0) {
        conn->fd = -1;
        load->totals->retries++;
        if (clock_now_us() - conn->connect_us > load->options->reply_secs * INT64_C(1000000))
            log_fatal(EXIT_CODE_NO_SERVER, "cannot connect to %s", load->options->address);
        return;
    }
    sock_set_nonblocking(conn->fd, true);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0)
        log_fatal(EXIT_CODE_SYSTEM, "epoll_ctl: %s", strerror(errno));
    load->totals->connects++;
    conn->wants_write = false;
    conn->left = load->options->messages_per_connection;
    conn->was_aborted = false;
    buf_reset(&conn->in);
    buf_reset(&conn->prefix);
    conn->deadline_us = clock_now_us() + load->options->reply_secs * INT64_C(1000000);
    conn->state = CONN_NEGOTIATING;
    struct buf negotiation;
    buf_init(&negotiation, 64);
    packet_put(&negotiation, 'O', words, sizeof words);
    if (send(conn->fd, negotiation.data, negotiation.len, MSG_NOSIGNAL) != (ssize_t)negotiation.len)
        conn_finish(conn, LOAD_CLOSED);
    buf_clear(&negotiation);
}

/* Begins connections where there is room and ends those out of time. Returns whether anything is
 * still going on. */
static bool load_tend(struct load *load)
{
    int64_t now = clock_now_us();
    int undecided = 0; /* connections that will begin a message */
    bool is_busy = false;

    for (int i = 0; i < load->options->connections; i++)
        undecided += load->conns[i].state == CONN_NEGOTIATING || load->conns[i].state == CONN_SETUP;
    for (int i = 0; i < load->options->connections; i++) {
        struct conn *conn = &load->conns[i];
        if (conn->state != CONN_DOWN && now > conn->deadline_us)
            conn_finish(conn, LOAD_TIMEOUT);
        if (conn->state == CONN_DOWN && load_has_more(load) &&
            load->totals->begun + undecided < load->options->messages) {
            conn_begin(conn);
            undecided++;
            is_busy = true;
        }
        is_busy = is_busy || conn->state != CONN_DOWN;
    }
    return is_busy && now - load->totals->start_us < load->options->total_secs * INT64_C(1000000);
}

void load_run(const struct load_options *options, const struct mail *mails, int n_mails,
    struct load_totals *totals)
{
    struct load load = {.options = options, .mails = mails, .n_mails = n_mails, .totals = totals};
    struct epoll_event events[64];

    if (sock_spec_from_text(options->address, &load.spec) != 0)
        log_fatal(EXIT_CODE_USAGE, "%s is no socket", options->address);
    if (load.spec.kind != SOCK_KIND_UNIX && strncmp(load.spec.host, "127.", 4) != 0 &&
        strcmp(load.spec.host, "::1") != 0)
        log_fatal(EXIT_CODE_USAGE, "only UNIX sockets and loopback addresses may be loaded, not %s",
            options->address);
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load.conns = xcalloc((size_t)options->connections, sizeof *load.conns);
    for (int i = 0; i < options->connections; i++) {
        load.conns[i].load = &load;
        load.conns[i].fd = -1;
        buf_init(&load.conns[i].in, 4 * PACKET_MAX);
        buf_init(&load.conns[i].prefix, 256);
    }
    totals->start_us = totals->last_us = clock_now_us();
    while (load_tend(&load)) {
        int n = epoll_wait(load.epoll_fd, events, 64, 100);
        for (int i = 0; i < n; i++) {
            struct conn *conn = events[i].data.ptr;
            if (conn->state != CONN_DOWN &&
                (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
                conn_on_readable(conn);
            if (conn->state >= CONN_SETUP && (events[i].events & EPOLLOUT) != 0)
                conn_pump(conn);
        }
    }
    for (int i = 0; i < options->connections; i++) {
        conn_drop(&load.conns[i]);
        buf_clear(&load.conns[i].in);
        buf_clear(&load.conns[i].prefix);
    }
    free(load.conns);
    close(load.epoll_fd);
}
