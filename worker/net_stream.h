/*
 * A connection to a server, without waiting: each function does what it can now, and says what has
 * to be waited for before it is called again. TCP by address, and UNIX sockets; TLS on top
 * (net_tls.c). Knows nothing of Lua.
 */
#ifndef POSTERN_WORKER_NET_STREAM_H
#define POSTERN_WORKER_NET_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/buf.h"

struct ssl_st;

enum net_status { NET_DONE = 0, NET_READ, NET_WRITE, NET_FAILED };
enum net_rest { NET_REST_IDLE = 0, NET_REST_MORE, NET_REST_CLOSED };

enum {
    NET_PIECE = 16384,          /* bytes read at once */
    NET_BUFFER_MAX = 512 << 20, /* whatever a caller's bound is */
};

struct net_stream {
    int fd;             /* -1: closed */
    bool is_connecting; /* the first readiness to write tells how it ended */
    bool is_at_end;     /* the peer has sent all it will */
    struct buf in;      /* what was read, from in.pos on not yet taken */
    struct ssl_st *tls; /* NULL: none */
    char error[160];    /* why it failed; "": it has not */
};

void net_stream_init(struct net_stream *stream);
void net_stream_close(struct net_stream *stream); /* may be called again; error stays */
/* Notes why, and closes. NET_FAILED. */
enum net_status net_stream_fail(struct net_stream *stream, const char *why);

/* NET_DONE, or NET_WRITE until net_stream_finish_connect. A refused socket names the option. */
enum net_status net_stream_connect(
    struct net_stream *stream, const struct sockaddr *address, socklen_t len);
enum net_status net_stream_finish_connect(struct net_stream *stream);
/* Writes from *at on, which moves. */
enum net_status net_stream_write(struct net_stream *stream, struct slice data, size_t *at);
/* Tells the peer that nothing more will come (without TLS); what it answers can still be read. */
enum net_status net_stream_end(struct net_stream *stream);
/* Reads a piece more into `in`, or notes the end: NET_DONE. */
enum net_status net_stream_fill(struct net_stream *stream);
/* What lies between two questions: nothing; bytes that have come and were not asked for; its end.
 * Without TLS. */
enum net_rest net_stream_rest(struct net_stream *stream);
/* Makes another, initialised one a second stream to the same peer, with a descriptor of its own:
 * NET_DONE, or NET_FAILED with the twin's error. What either reads the other does not. No TLS. */
enum net_status net_stream_twin(const struct net_stream *stream, struct net_stream *twin);
/* Sends one byte and with it a descriptor (SCM_RIGHTS), which stays the caller's. UNIX sockets. */
enum net_status net_stream_send_fd(struct net_stream *stream, int fd);

/*
 * net_tls.c: begins TLS as a client. name: of the certificate, and sent to the server (RFC 6066);
 * an address as text is compared as such. ca_file NULL: the system's authorities. verifies false:
 * any certificate will do (RFC 7435), and name is only sent.
 */
int net_tls_start(struct net_stream *stream, const char *name, const char *ca_file, bool verifies);
/* Until NET_DONE. */
enum net_status net_tls_handshake(struct net_stream *stream);
void net_tls_free(struct net_stream *stream);
/* As read(2) and write(2) with TLS on; *n_out: bytes, 0 at the end when reading. */
enum net_status net_tls_read(struct net_stream *stream, void *to, size_t max, size_t *n_out);
enum net_status net_tls_write(
    struct net_stream *stream, const void *from, size_t len, size_t *n_out);

#endif
