/*
 * One client (client.c) as the list of them (clients.c) sees it. Nobody else includes it.
 */
#ifndef POSTERN_MULTIPLEXOR_CLIENT_INTERNAL_H
#define POSTERN_MULTIPLEXOR_CLIENT_INTERNAL_H

#include "multiplexor/client.h"
#include "multiplexor/generation.h"
#include "multiplexor/link.h"

enum { HELD_MAX = GENERATION_LIVING_MAX + 4 };

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

/* What its connection tells: the context is the client. */
extern const struct link_events client_events;

void client_free(struct client *client);
/* The client may be gone afterwards. */
void client_send_needs(struct client *client);
/* It holds the generation no longer. */
void client_release(struct client *client, uint32_t number);

#endif
