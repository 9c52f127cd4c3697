#include "worker/serve_parcel.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/err.h"
#include "common/io.h"
#include "common/xalloc.h"

/* Mapped at least, so that a message that grows from stage to stage is mapped once. */
enum { ENVELOPE_MAP_MIN = 256 << 10, MESSAGE_MAP_MIN = 1 << 20 };

/* Read up to this, in all: where copying begins to cost more than an fstat. */
enum { SMALL_MAX = 64 << 10 };

void serve_parcels_init(struct serve_parcels *parcels, size_t keep_bytes)
{
    memset(parcels, 0, sizeof *parcels);
    parcels->keep_bytes = keep_bytes;
}

static void drop(struct serve_mapping *mapping)
{
    if (mapping->is_used) {
        parcel_view_close(&mapping->view);
        mapping->is_used = false;
    }
}

void serve_parcels_clear(struct serve_parcels *parcels)
{
    serve_parcels_done(parcels);
    for (int i = 0; i < SERVE_PARCELS_KEPT; i++) {
        drop(&parcels->kept[i]);
    }
    free(parcels->small);
    parcels->small = NULL;
}

void serve_parcels_done(struct serve_parcels *parcels)
{
    if (parcels->has_once) {
        parcel_view_close(&parcels->once);
        parcels->has_once = false;
    }
}

static struct serve_mapping *find(struct serve_parcels *parcels, const struct stat *st)
{
    for (int i = 0; i < SERVE_PARCELS_KEPT; i++) {
        struct serve_mapping *m = &parcels->kept[i];
        if (m->is_used && m->dev == st->st_dev && m->ino == st->st_ino) {
            return m;
        }
    }
    return NULL;
}

/* A free one, or the one that was not used for the longest time. */
static struct serve_mapping *make_room(struct serve_parcels *parcels)
{
    struct serve_mapping *oldest = &parcels->kept[0];
    for (int i = 0; i < SERVE_PARCELS_KEPT; i++) {
        struct serve_mapping *m = &parcels->kept[i];
        if (!m->is_used) {
            return m;
        }
        if (m->last_use < oldest->last_use) {
            oldest = m;
        }
    }
    drop(oldest);
    return oldest;
}

static size_t at_least(size_t bytes, size_t min, size_t max)
{
    size_t wanted = bytes > min ? bytes : min;
    return wanted < max ? wanted : max;
}

/* What the file has room for, since its size is fixed by its seals. */
static int open_kept(struct serve_mapping *m, int fd, const struct stat *st, size_t envelope_bytes,
    size_t message_bytes)
{
    size_t file_bytes = (size_t)st->st_size;
    size_t message_max =
        file_bytes > PARCEL_MESSAGE_OFFSET ? file_bytes - PARCEL_MESSAGE_OFFSET : 0;
    size_t envelope_max = file_bytes < PARCEL_ENVELOPE_MAX ? file_bytes : PARCEL_ENVELOPE_MAX;
    if (envelope_bytes > envelope_max || message_bytes > message_max) {
        return -ERR_BAD;
    }
    m->envelope_bytes = at_least(envelope_bytes, ENVELOPE_MAP_MIN, envelope_max);
    m->message_bytes = at_least(message_bytes, MESSAGE_MAP_MIN, message_max);
    int err = parcel_view_open(fd, m->envelope_bytes, m->message_bytes, &m->view);
    if (err == 0) {
        m->is_used = true;
        m->dev = st->st_dev;
        m->ino = st->st_ino;
    }
    return err;
}

static int open_once(struct serve_parcels *parcels, int fd, size_t envelope_bytes,
    size_t message_bytes, struct slice *envelope_out, struct slice *message_out)
{
    int err = parcel_view_open(fd, envelope_bytes, message_bytes, &parcels->once);
    if (err == 0) {
        parcels->has_once = true;
        *envelope_out = parcels->once.envelope;
        *message_out = parcels->once.message;
    }
    return err;
}

static bool has_seals(int fd)
{
    return fcntl(fd, F_GET_SEALS) >= 0; /* files on disk have none */
}

static bool is_small(size_t envelope_bytes, size_t message_bytes)
{
    return envelope_bytes <= SMALL_MAX && message_bytes <= SMALL_MAX - envelope_bytes;
}

/* No look at what kind of file it is: one that shrinks meanwhile ends a read, nothing else. */
static int read_small(struct serve_parcels *parcels, int fd, size_t envelope_bytes,
    size_t message_bytes, struct slice *envelope_out, struct slice *message_out)
{
    if (parcels->small == NULL) {
        parcels->small = xmalloc(SMALL_MAX);
    }
    char *message = parcels->small + envelope_bytes;
    int err = io_read_at(fd, parcels->small, envelope_bytes, 0);
    if (err == 0) {
        err = io_read_at(fd, message, message_bytes, PARCEL_MESSAGE_OFFSET);
    }
    if (err == 0) {
        *envelope_out = slice_of(parcels->small, envelope_bytes);
        *message_out = slice_of(message, message_bytes);
    }
    return err;
}

int serve_parcels_open(struct serve_parcels *parcels, int fd, size_t envelope_bytes,
    size_t message_bytes, struct slice *envelope_out, struct slice *message_out)
{
    struct stat st;
    serve_parcels_done(parcels);
    if (is_small(envelope_bytes, message_bytes)) {
        return read_small(parcels, fd, envelope_bytes, message_bytes, envelope_out, message_out);
    }
    if (fstat(fd, &st) != 0) {
        return -ERR_SYSTEM;
    }
    struct serve_mapping *m = find(parcels, &st);
    if (message_bytes > parcels->keep_bytes || (m == NULL && !has_seals(fd))) {
        if (m != NULL) {
            drop(m); /* it grew, and milterd will not use it again */
        }
        return open_once(parcels, fd, envelope_bytes, message_bytes, envelope_out, message_out);
    }
    if (m != NULL && (m->envelope_bytes < envelope_bytes || m->message_bytes < message_bytes)) {
        drop(m);
        m = NULL;
    }
    if (m == NULL) {
        m = make_room(parcels);
        int err = open_kept(m, fd, &st, envelope_bytes, message_bytes);
        if (err != 0) {
            return err;
        }
    }
    m->last_use = ++parcels->n_uses;
    *envelope_out = slice_of(m->view.envelope.data, envelope_bytes);
    *message_out = slice_of(m->view.message.data, message_bytes);
    return 0;
}
