#include "worker/serve.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/sock.h"
#include "common/version.h"
#include "common/xalloc.h"
#include "worker/job.h"
#include "worker/profile.h"
#include "worker/serve_parcel.h"
#include "worker/tally.h"

enum { KEEP_ANNEX_BYTES = 1 << 20 };

struct serve {
    const struct conf *conf;
    struct script *script;
    int fd;
    uint32_t generation;
    uint32_t pid;
    struct serve_parcels parcels;
    uint8_t *record; /* WIRE_RECORD_MAX bytes: what came */
    size_t record_bytes;
    struct wire_header header;
    struct sock_received received;
    struct buf out, annex;
};

/* ---- records ---- */

/* 0, or an error that the caller names; -ERR_PEER when the multiplexor is gone. */
static int receive(struct serve *serve)
{
    int err = sock_recv_record(serve->fd, serve->record, WIRE_RECORD_MAX, &serve->received, 0);
    if (err != 0) {
        return err;
    }
    serve->record_bytes = serve->received.len;
    err = wire_get_header(slice_of(serve->record, serve->record_bytes), ROLE_MULTIPLEXOR,
        serve->received.n_fds, &serve->header);
    if (err != 0) {
        sock_close_fds(&serve->received);
    }
    return err;
}

static int send_out(struct serve *serve)
{
    int annex_fd = -1;
    int err = 0;
    if (serve->annex.len > 0) {
        err = annex_new(buf_slice(&serve->annex), &annex_fd);
    }
    if (err == 0) {
        err = sock_send_record(
            serve->fd, buf_slice(&serve->out), &annex_fd, annex_fd >= 0 ? 1 : 0, 0);
    }
    if (annex_fd >= 0) {
        close(annex_fd);
    }
    if (serve->annex.cap > KEEP_ANNEX_BYTES) {
        buf_clear(&serve->annex);
    }
    buf_reset(&serve->annex);
    return err;
}

int serve_greet(int fd, enum wire_role role, uint32_t generation)
{
    struct wire_hello hello = {.role = (uint8_t)role,
        .pid = (uint32_t)getpid(),
        .generation = generation,
        .build = slice_text(POSTERN_VERSION)};
    struct serve greeter = {.fd = fd, .record = xmalloc(WIRE_RECORD_MAX)};
    buf_init(&greeter.out, WIRE_RECORD_MAX);
    int err = wire_put_hello(&greeter.out, NULL, 0, 0, &hello);
    err = err != 0 ? err : send_out(&greeter);
    err = err != 0 ? err : receive(&greeter);
    if (err == 0) {
        sock_close_fds(&greeter.received);
        err = greeter.header.type != WIRE_HELLO
                  ? -ERR_BAD
                  : wire_get_hello(
                        slice_of(greeter.record, greeter.record_bytes), slice_of(NULL, 0), &hello);
    }
    if (err == -ERR_VERSION) {
        log_error(
            "the multiplexor speaks protocol %u, this is %u (%s): old and new binaries mixed?",
            greeter.header.major, WIRE_MAJOR, POSTERN_VERSION);
    } else if (err != 0 && err != -ERR_PEER) {
        log_error("greeting the multiplexor: %s", err_text(err));
    }
    buf_clear(&greeter.out);
    free(greeter.record);
    return err;
}

/* What the filter has counted, if anything: without news this costs nothing. */
static int send_counts(struct serve *serve)
{
    struct tally *tally = script_tally(serve->script);
    int err = 0;
    while (err == 0 && tally_has_news(tally)) {
        struct wire_counts counts;
        tally_take(tally, &counts);
        err = wire_put_counts(&serve->out, NULL, 0, 0, &counts);
        err = err != 0 ? err : send_out(serve);
    }
    return err;
}

/* Samples of a profile, if one is made; a hook that runs long tells of itself by this, too. */
static void send_samples(void *context)
{
    struct serve *serve = context;
    struct profile *profile = script_samples(serve->script);
    struct wire_samples samples;
    if (profile == NULL || !profile_has_news(profile)) {
        return;
    }
    profile_take(profile, &samples);
    int err = wire_put_samples(&serve->out, NULL, 0, 0, &samples);
    err = err != 0 ? err : send_out(serve);
    if (err != 0 && err != -ERR_PEER) { /* a profile is worth no more; the reply will tell */
        log_warn("samples of the profile: %s", err_text(err));
    }
}

static int take_profile(struct serve *serve)
{
    struct wire_profile profile;
    int err =
        wire_get_profile(slice_of(serve->record, serve->record_bytes), slice_of(NULL, 0), &profile);
    if (err == 0) {
        script_profile(serve->script, profile.profile);
    }
    return err;
}

/* ---- one request ---- */

static int take_fd(struct serve *serve, enum wire_flag which)
{
    int index = wire_fd_index(&serve->header, which);
    return index >= 0 ? serve->received.fds[index] : -1;
}

/* The hook is to give up kill_grace before the multiplexor kills the worker. */
static int64_t deadline_of(
    const struct serve *serve, const struct wire_request *request, int64_t now_ms)
{
    int64_t budget = request->budget_ms;
    int64_t grace = serve->conf->multiplexor.kill_grace;
    return now_ms + (budget > 2 * grace ? budget - grace : budget / 2);
}

static int put_reply(
    struct serve *serve, const struct wire_request *request, struct wire_reply *reply)
{
    reply->generation = serve->generation;
    reply->worker_pid = serve->pid;
    reply->attempt = request->attempt;
    buf_reset(&serve->annex);
    return wire_put_reply(&serve->out, &serve->annex, serve->header.id, 0, reply);
}

static int send_reply(
    struct serve *serve, const struct wire_request *request, struct wire_reply *reply)
{
    struct script_failure_texts texts;
    int err = put_reply(serve, request, reply);
    if (err == -ERR_TOOBIG) {
        const char *why = "the changes, state or text asked for are too large for a record";
        log_error("reply of %s: %s", hook_info((enum hook)request->hook)->name, why);
        script_fill_failure(serve->conf, request, OUTCOME_ERROR, why, &texts, reply);
        err = put_reply(serve, request, reply);
    }
    return err != 0 ? err : send_out(serve);
}

static int open_bytes(struct serve *serve, const struct wire_request *request,
    struct slice *envelope, struct slice *message)
{
    int fd = take_fd(serve, WIRE_PARCEL);
    *envelope = slice_of(NULL, 0);
    *message = slice_of(NULL, 0);
    if (fd < 0) {
        return request->envelope_bytes == 0 && request->message_bytes == 0 ? 0 : -ERR_BAD;
    }
    return serve_parcels_open(&serve->parcels, fd, request->envelope_bytes,
        (size_t)request->message_bytes, envelope, message);
}

/*
 * Runs the hook. -ERR_SYSTEM: memory or descriptors are short here, and no reply was made; this
 * worker would fail the next request as well, so it ends, and the multiplexor asks another.
 */
static int run_request(struct serve *serve, const struct wire_request *request, struct job *job,
    bool *is_open, struct script_failure_texts *texts, struct wire_reply *reply)
{
    struct slice envelope, message;
    int64_t now_ms = clock_now_ms();
    int err = open_bytes(serve, request, &envelope, &message);
    if (err == 0) {
        err = job_open(job, serve->conf, request, envelope, message);
    }
    if (err != 0) {
        log_error("request of %.*s cannot be served: %s", (int)request->uid.len,
            request->uid.len > 0 ? request->uid.data : "", err_text(err));
        if (err == -ERR_SYSTEM) {
            return err;
        }
        script_fill_failure(
            serve->conf, request, OUTCOME_ERROR, "the request cannot be read", texts, reply);
        return 0;
    }
    *is_open = true;
    script_run(serve->script, job, deadline_of(serve, request, now_ms), reply);
    return 0;
}

static int serve_request(struct serve *serve)
{
    struct slice annex = slice_of(NULL, 0);
    struct wire_request request;
    struct wire_reply reply;
    struct script_failure_texts texts;
    struct job job;
    bool is_open = false;
    int annex_fd = take_fd(serve, WIRE_ANNEX);
    int err = annex_fd >= 0 ? annex_open(annex_fd, WIRE_ANNEX_MAX, &annex) : 0;
    if (err == 0) {
        err = wire_get_request(slice_of(serve->record, serve->record_bytes), annex, &request);
    }
    if (err == 0 && request.hook >= HOOK_COUNT) {
        err = -ERR_BAD;
    }
    if (err == 0) {
        err = run_request(serve, &request, &job, &is_open, &texts, &reply);
    }
    if (err == 0) {
        send_samples(serve);
        err = send_counts(serve);
    }
    if (err == 0) {
        err = send_reply(serve, &request, &reply);
    }
    if (is_open) {
        job_close(&job);
    }
    serve_parcels_done(&serve->parcels);
    if (annex_fd >= 0 && annex.data != NULL) {
        annex_close(annex);
    }
    return err;
}

/* ---- the life of a worker ---- */

static int start(struct serve *serve, int64_t init_ms)
{
    char *error = NULL;
    int err = serve_greet(serve->fd, ROLE_WORKER, serve->generation);
    if (err != 0) {
        return err == -ERR_PEER ? EXIT_CODE_OK : EXIT_CODE_PROTOCOL;
    }
    int init_err = script_init(serve->script, init_ms, &error);
    struct wire_ready ready = {.is_ok = init_err == 0, .heap_kb = script_heap_kb(serve->script)};
    ready.error = slice_text(error);
    ready.error.len = ready.error.len < 4096 ? ready.error.len : 4096;
    err = wire_put_ready(&serve->out, NULL, 0, 0, &ready);
    err = err != 0 ? err : send_out(serve);
    err = err != 0 ? err : send_counts(serve);
    free(error);
    if (err != 0) {
        return err == -ERR_PEER ? EXIT_CODE_OK : EXIT_CODE_SYSTEM;
    }
    return init_err == 0 ? -1 : EXIT_CODE_FOUND;
}

/* One record; -1: go on, else the exit code. */
static int serve_record(struct serve *serve)
{
    int err = receive(serve);
    if (err == 0 && serve->header.type == WIRE_QUIT) {
        sock_close_fds(&serve->received);
        script_exit(serve->script, serve->conf->multiplexor.exit_time);
        (void)send_counts(serve); /* or the multiplexor is gone: then nobody sums */
        return EXIT_CODE_OK;
    }
    if (err == 0) {
        err = serve->header.type == WIRE_REQUEST   ? serve_request(serve)
              : serve->header.type == WIRE_PROFILE ? take_profile(serve)
                                                   : -ERR_BAD;
        sock_close_fds(&serve->received);
    }
    if (err == 0) {
        return -1;
    }
    if (err == -ERR_PEER) {
        log_debug("the multiplexor is gone");
        return EXIT_CODE_OK;
    }
    log_error("record of the multiplexor: %s; ending", err_text(err));
    return err == -ERR_SYSTEM ? EXIT_CODE_SYSTEM : EXIT_CODE_PROTOCOL;
}

int serve_run(
    const struct conf *conf, struct script *script, int fd, uint32_t generation, int64_t init_ms)
{
    struct serve serve = {.conf = conf,
        .script = script,
        .fd = fd,
        .generation = generation,
        .pid = (uint32_t)getpid(),
        .record = xmalloc(WIRE_RECORD_MAX)};
    buf_init(&serve.out, WIRE_RECORD_MAX);
    buf_init(&serve.annex, WIRE_ANNEX_MAX);
    serve_parcels_init(&serve.parcels, (size_t)conf->milterd.parcel_keep);
    script_profile_watch(script, send_samples, &serve);
    int code = start(&serve, init_ms);
    while (code < 0) {
        code = serve_record(&serve);
    }
    script_profile_watch(script, NULL, NULL);
    serve_parcels_clear(&serve.parcels);
    buf_clear(&serve.out);
    buf_clear(&serve.annex);
    free(serve.record);
    return code;
}
