#include "milterd/parcels.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/xalloc.h"

/* More idle ones than this only hold memory: a burst makes new ones at 0.1 ms each. */
enum { PARCELS_KEPT = 64 };

struct parcels {
    struct parcel_limits limits;
    bool may_reuse;
    pthread_mutex_t mutex; /* over the list */
    struct parcel *kept[PARCELS_KEPT];
    unsigned n_kept;
};

struct parcels *parcels_new(const struct conf *conf)
{
    struct parcels *parcels = xcalloc(1, sizeof *parcels);

    parcels->limits = (struct parcel_limits){
        .memory_bytes = (size_t)conf->milterd.parcel_memory,
        .message_bytes = (size_t)conf->milterd.max_message,
        .keep_bytes = (size_t)conf->milterd.parcel_keep,
        .spool = conf->milterd.spool,
    };
    parcels->may_reuse = conf->milterd.parcel_reuse;
    pthread_mutex_init(&parcels->mutex, NULL);
    return parcels;
}

int parcels_take(struct parcels *parcels, struct parcel **out)
{
    struct parcel *parcel = NULL;

    pthread_mutex_lock(&parcels->mutex);
    if (parcels->n_kept > 0)
        parcel = parcels->kept[--parcels->n_kept];
    pthread_mutex_unlock(&parcels->mutex);
    if (parcel == NULL)
        return parcel_new(&parcels->limits, out);
    *out = parcel;
    return 0;
}

void parcels_put(struct parcels *parcels, struct parcel *parcel, bool is_free)
{
    if (parcel == NULL)
        return;
    if (parcels->may_reuse && is_free && parcel_is_reusable(parcel) &&
        parcel_rewind(parcel, 0) == 0) {
        pthread_mutex_lock(&parcels->mutex);
        if (parcels->n_kept < PARCELS_KEPT) {
            parcels->kept[parcels->n_kept++] = parcel;
            parcel = NULL;
        }
        pthread_mutex_unlock(&parcels->mutex);
    }
    parcel_free(parcel);
}
