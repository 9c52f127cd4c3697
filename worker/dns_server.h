/*
 * One name server: a channel of c-ares on the event loop, so that each can be asked by itself and
 * its silence told from that of the others. It is where it was opened: the loop points to it.
 */
#ifndef POSTERN_WORKER_DNS_SERVER_H
#define POSTERN_WORKER_DNS_SERVER_H

#include <ares.h>
#include <event2/event.h>
#include <sys/queue.h>

#include "worker/dns_answer.h"

enum { DNS_SERVER_TEXT = 80 };

struct dns_watch;

struct dns_server {
    ares_channel channel;
    struct event_base *base; /* borrowed */
    struct event *timer;
    LIST_HEAD(, dns_watch) sockets;
    char text[DNS_SERVER_TEXT]; /* "192.0.2.1:53", "[2001:db8::1]:53" */
};

/* To be closed whatever it returns: 0, -ERR_BAD when text names no server, -ERR_SYSTEM. timeout_ms
 * is of one question. The library has been initialised. */
int dns_server_open(
    struct dns_server *server, struct event_base *base, const char *text, int timeout_ms);
/* on_answer may be called before this returns. */
void dns_server_ask(struct dns_server *server, const char *name, enum dns_type type,
    ares_callback on_answer, void *context);
/* Ends the questions whose time is over, though the loop may not have turned since. */
void dns_server_expire(struct dns_server *server);
/* Ends all questions with ARES_EDESTRUCTION. */
void dns_server_close(struct dns_server *server);

/* The first ones that the system uses, in order; 0 or -ERR_SYSTEM. */
int dns_server_list_system(char (*texts)[DNS_SERVER_TEXT], unsigned max, unsigned *n_out);

#endif
