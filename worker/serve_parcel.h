/*
 * Parcels as a worker sees them. A small one is read into a buffer of ours: two calls, which cost
 * a young worker no mapping and no page fault. Mappings of larger ones are kept, since milterd uses
 * the same parcel for every stage of a message and for later messages, so that one that comes again
 * costs an fstat and no mapping. A memory file is known by device and inode, which cannot be
 * another's while we map it; its seals cannot be taken back.
 */
#ifndef POSTERN_WORKER_SERVE_PARCEL_H
#define POSTERN_WORKER_SERVE_PARCEL_H

#include <stdint.h>
#include <sys/types.h>

#include "common/parcel.h"

enum { SERVE_PARCELS_KEPT = 16 };

struct serve_mapping {
    bool is_used;
    dev_t dev;
    ino_t ino;
    uint64_t last_use;
    size_t envelope_bytes; /* mapped */
    size_t message_bytes;
    struct parcel_view view;
};

struct serve_parcels {
    struct serve_mapping kept[SERVE_PARCELS_KEPT];
    struct parcel_view once; /* of one that is not kept: on disk, or large */
    bool has_once;
    uint64_t n_uses;
    size_t keep_bytes; /* larger ones are not kept */
    char *small;       /* of a small one; NULL until there was one */
};

void serve_parcels_init(struct serve_parcels *parcels, size_t keep_bytes);
void serve_parcels_clear(struct serve_parcels *parcels);
/*
 * The bytes of a parcel that came with a request. fd stays the caller's and may be closed. The
 * slices are good until the next call. 0, or the error of parcel_view_open.
 */
int serve_parcels_open(struct serve_parcels *parcels, int fd, size_t envelope_bytes,
    size_t message_bytes, struct slice *envelope_out, struct slice *message_out);
/* After the request: drops what is not kept. */
void serve_parcels_done(struct serve_parcels *parcels);

#endif
