#include "milterd/poison_store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/io.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/poison.h"
#include "common/xalloc.h"
#include "milterd/poison_facts.h"
#include "milterd/thread.h"

enum { WAITING_MAX = 16, NAMES_TRIED = 9 };

/* One to be written. Owns its parcel's descriptor and its texts. */
struct job {
    STAILQ_ENTRY(job) entry;
    struct poison_facts facts;
    size_t envelope_bytes;
    int parcel_fd;
};

struct poison_store {
    const struct conf *conf;
    pthread_mutex_t mutex; /* over all below */
    pthread_cond_t arrived;
    STAILQ_HEAD(, job) jobs;
    unsigned n_jobs; /* waiting, or being written */
    bool has_thread;
};

struct poison_store *poison_store_new(const struct conf *conf)
{
    struct poison_store *store;
    int folder;

    if (conf->milterd.poison_files == 0 || conf->milterd.poison_bytes == 0)
        return NULL;
    folder = poison_open(conf->milterd.spool, false);
    if (folder >= 0) {
        poison_clean(folder);
        close(folder);
    }
    store = xcalloc(1, sizeof *store);
    store->conf = conf;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->arrived, NULL);
    STAILQ_INIT(&store->jobs);
    return store;
}

/* ---- bounds ---- */

/* Removes the oldest until there is room for one more of so many bytes. */
static void make_room(const struct conf *conf, int poison, uint64_t bytes)
{
    int64_t too_old_ns = conf->milterd.poison_age > 0
                             ? (clock_wall_ms() - conf->milterd.poison_age) * 1000000
                             : INT64_MIN;
    uint64_t most_bytes = (uint64_t)conf->milterd.poison_bytes, sum = bytes;
    struct poison_list list;
    size_t left;

    if (poison_scan(poison, &list) != 0)
        log_warn("poison: its folder cannot be read: %s", err_text(-ERR_SYSTEM));
    for (size_t i = 0; i < list.n; i++)
        sum += list.items[i].bytes;
    left = list.n;
    for (size_t i = 0; i < list.n; i++) {
        const struct poison_entry *oldest = &list.items[i];

        if (left < (size_t)conf->milterd.poison_files && sum <= most_bytes &&
            oldest->time_ns >= too_old_ns)
            break;
        if (poison_remove(poison, oldest->id) == -ERR_SYSTEM)
            log_warn("poison %s cannot be removed: %s", oldest->id, err_text(-ERR_SYSTEM));
        sum -= oldest->bytes;
        left--;
    }
    poison_list_clear(&list);
}

/* ---- writing ---- */

static int write_file(int folder, const char *name, struct slice bytes)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int rc;

    if (fd < 0)
        return -ERR_SYSTEM;
    rc = io_write_at(fd, bytes, 0);
    if (rc == 0 && fsync(fd) != 0)
        rc = -ERR_SYSTEM;
    close(fd);
    return rc;
}

static int write_files(int folder, struct slice facts, const struct parcel_view *view)
{
    int rc = write_file(folder, POISON_FACTS, facts);

    if (rc == 0)
        rc = write_file(folder, POISON_ENVELOPE, view->envelope);
    if (rc == 0)
        rc = write_file(folder, POISON_MESSAGE, view->message);
    return rc == 0 && fsync(folder) != 0 ? -ERR_SYSTEM : rc;
}

/* Gives the finished folder its name: the uid, or with a number when a message has killed twice. */
static int give_name(int folder, const char *temporary, const char *uid, char *id, size_t id_bytes)
{
    for (int i = 1; i <= NAMES_TRIED; i++) {
        if (i == 1)
            snprintf(id, id_bytes, "%s", uid);
        else
            snprintf(id, id_bytes, "%s-%d", uid, i);
        if (renameat(folder, temporary, folder, id) == 0)
            return fsync(folder) == 0 ? 0 : -ERR_SYSTEM;
        if (errno != ENOTEMPTY && errno != EEXIST)
            return -ERR_SYSTEM;
    }
    return -ERR_IN_USE;
}

static int write_folder(const struct conf *conf, int poison, const struct job *job,
    struct slice facts, const struct parcel_view *view, char *id, size_t id_bytes)
{
    uint64_t bytes = facts.len + view->envelope.len + view->message.len;
    char temporary[POISON_ID_MAX + 32];
    int folder, rc;

    if (bytes > (uint64_t)conf->milterd.poison_bytes)
        return -ERR_TOOBIG;
    snprintf(temporary, sizeof temporary, ".new-%s-%d", job->facts.uid, (int)getpid());
    if (mkdirat(poison, temporary, 0700) != 0)
        return -ERR_SYSTEM;
    folder = openat(poison, temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* Another front end that starts now sees by the lock that somebody is at work here. */
    rc = folder >= 0 && flock(folder, LOCK_EX | LOCK_NB) == 0 ? write_files(folder, facts, view)
                                                              : -ERR_SYSTEM;
    if (rc == 0) {
        make_room(conf, poison, bytes);
        rc = give_name(poison, temporary, job->facts.uid, id, id_bytes);
    }
    if (rc != 0) {
        int saved = errno;

        (void)poison_discard(poison, temporary);
        errno = saved;
    }
    if (folder >= 0)
        close(folder);
    return rc;
}

static int write_case(const struct conf *conf, const struct job *job,
    const struct parcel_view *view, char *id, size_t id_bytes)
{
    int poison = poison_open(conf->milterd.spool, true);
    json_t *facts = poison_facts_json(&job->facts, view->envelope);
    char *text = json_dumps(facts, JSON_INDENT(2));
    int rc = poison < 0 ? poison : -ERR_BAD;

    if (poison >= 0 && text != NULL)
        rc = write_folder(conf, poison, job, slice_text(text), view, id, id_bytes);
    free(text);
    json_decref(facts);
    if (poison >= 0)
        close(poison);
    return rc;
}

static const char *why_not(int rc)
{
    if (rc == -ERR_TOOBIG)
        return "it is over milterd.poison_bytes";
    if (rc == -ERR_DENIED)
        return "the folder poison in milterd.spool is not a folder of ours alone";
    return err_text(rc);
}

static void write_job(const struct conf *conf, const struct job *job)
{
    struct parcel_view view;
    char id[POISON_ID_MAX + 1];
    int rc = parcel_view_open(
        job->parcel_fd, job->envelope_bytes, (size_t)job->facts.message_bytes, &view);

    if (rc == 0) {
        rc = write_case(conf, job, &view, id, sizeof id);
        parcel_view_close(&view);
    }
    if (rc == 0)
        log_info("message %s: it killed two workers; kept as %s/%s/%s", job->facts.uid,
            conf->milterd.spool, POISON_FOLDER, id);
    else
        log_warn("message %s: it killed two workers, and cannot be kept: %s", job->facts.uid,
            why_not(rc));
}

/* ---- the thread ---- */

static void job_free(struct job *job)
{
    close(job->parcel_fd);
    free(job->facts.deaths);
    free(job);
}

static void *store_run(void *context)
{
    struct poison_store *store = context;

    pthread_mutex_lock(&store->mutex);
    for (;;) {
        struct job *job;

        while ((job = STAILQ_FIRST(&store->jobs)) == NULL)
            pthread_cond_wait(&store->arrived, &store->mutex);
        STAILQ_REMOVE_HEAD(&store->jobs, entry);
        pthread_mutex_unlock(&store->mutex);
        write_job(store->conf, job);
        job_free(job);
        pthread_mutex_lock(&store->mutex);
        store->n_jobs--;
    }
    return NULL;
}

static struct job *job_new(const struct poison_case *poison_case)
{
    const struct wire_request *request = poison_case->request;
    const struct wire_reply *reply = poison_case->reply;
    int fd = fcntl(poison_case->parcel_fd, F_DUPFD_CLOEXEC, 0);
    struct job *job;

    if (fd < 0)
        return NULL;
    job = xcalloc(1, sizeof *job);
    job->parcel_fd = fd;
    job->envelope_bytes = request->envelope_bytes;
    job->facts = (struct poison_facts){
        .when_ms = clock_wall_ms(),
        .hook = poison_case->hook,
        .generation = reply->generation,
        .recipient_number = request->recipient_number,
        .header_bytes = request->header_bytes,
        .message_bytes = request->message_bytes,
        .verdict = reply->verdict,
        .code = reply->code,
        .deaths = xmemdup0(reply->deaths.data != NULL ? reply->deaths.data : "", reply->deaths.len),
    };
    snprintf(job->facts.uid, sizeof job->facts.uid, "%s", poison_case->uid);
    snprintf(job->facts.queue_id, sizeof job->facts.queue_id, "%s", poison_case->queue_id);
    return job;
}

/* With the mutex held. NULL, or why not. */
static const char *enqueue(struct poison_store *store, struct job *job)
{
    if (store->n_jobs >= WAITING_MAX)
        return "too many wait to be written";
    if (!store->has_thread &&
        thread_spawn(store_run, store, (size_t)store->conf->milterd.thread_stack) != 0)
        return err_text(-ERR_SYSTEM);
    store->has_thread = true;
    STAILQ_INSERT_TAIL(&store->jobs, job, entry);
    store->n_jobs++;
    pthread_cond_signal(&store->arrived);
    return NULL;
}

void poison_store_keep(struct poison_store *store, const struct poison_case *poison_case)
{
    const char *wrong;
    struct job *job;

    if (store == NULL)
        return;
    job = job_new(poison_case);
    wrong = job == NULL ? err_text(-ERR_SYSTEM) : NULL;
    if (job != NULL) {
        pthread_mutex_lock(&store->mutex);
        wrong = enqueue(store, job);
        pthread_mutex_unlock(&store->mutex);
        if (wrong != NULL)
            job_free(job);
    }
    if (wrong != NULL)
        log_warn("message %s: it killed two workers, and is not kept: %s", poison_case->uid, wrong);
}

bool poison_store_is_idle(struct poison_store *store)
{
    bool is_idle;

    if (store == NULL)
        return true;
    pthread_mutex_lock(&store->mutex);
    is_idle = store->n_jobs == 0;
    pthread_mutex_unlock(&store->mutex);
    return is_idle;
}
