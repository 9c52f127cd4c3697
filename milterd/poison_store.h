/*
 * Keeps messages that killed two workers, in the folder of common/poison.h, within bounds. A thread
 * of its own writes, begun with the first such message: the mail server has its answer meanwhile,
 * whatever the disk does. Many connections hand over; several front ends may share a folder.
 */
#ifndef POSTERN_MILTERD_POISON_STORE_H
#define POSTERN_MILTERD_POISON_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/hook.h"
#include "common/verdict.h"
#include "common/wire.h"

struct poison_store;

/* What is told of one. Everything is borrowed and copied; the parcel by a descriptor of its own. */
struct poison_case {
    const char *uid; /* of the message, or of the connection when there is none */
    const char *queue_id;
    enum hook hook;
    int parcel_fd;
    const struct wire_request *request; /* lengths of the parcel's regions, recipient */
    const struct wire_reply *reply;     /* deaths, generation, what was answered */
};

/* Clears what an earlier process left half done; the folder itself is made when there is something
 * to keep. NULL: nothing is to be kept. conf is borrowed. */
struct poison_store *poison_store_new(const struct conf *conf);
/* Nothing for a NULL store; else it will be written, or a warning says why not. */
void poison_store_keep(struct poison_store *store, const struct poison_case *poison_case);
/* Whether everything is written. True for NULL. */
bool poison_store_is_idle(struct poison_store *store);

#endif
