/*
 * A postern-worker that does as it is told, for tests of the multiplexor: nursery and workers with
 * the real process tree (siblings by CLONE_PARENT), no Lua. `-o worker.filter=FILE` names a text
 * whose lines say how to load and start; the uid of a request says how to serve it: the first row
 * of `deeds` whose name begins it, up to a dot or the end ("sleep=200.17").
 *
 * A line "always DEED" says it for every request.
 *
 * Lines: hooks NAME… · load ok|fail|die|hang|version · init ok|fail|die|hang|slow · quit ok|hang
 * The nursery reads the file when it starts, each worker once more when it is forked.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/err.h"
#include "common/hook.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/proc.h"
#include "common/sock.h"
#include "common/verdict.h"
#include "common/wire.h"
#include "common/xalloc.h"

enum { NURSERY_FD = 3, TEXT_MAX = 4096, SLOW_START_US = 1000000 };

struct fake {
    int fd;
    uint32_t generation;
    const char *filter;
    char load[16], init[16], quit[16], always[32];
    uint32_t hooks;
    struct buf out, annex;
    uint8_t *record;
    size_t len;
    struct sock_received received;
    struct wire_header header;
    struct wire_request request;
    struct wire_reply reply;
    uint32_t heap_kb;
    unsigned n_told;   /* requests of the deed "nth" */
    uint32_t profile;  /* as PROFILE told */
    const char *value; /* behind "=" in the uid */
};

static void wait_for_ever(void)
{
    for (;;)
        pause();
}

static void read_hooks(struct fake *fake, char *names)
{
    char *state = NULL;
    for (char *name = strtok_r(names, " ", &state); name != NULL;
         name = strtok_r(NULL, " ", &state)) {
        const struct hook_info *info = hook_find(name);
        if (info != NULL)
            fake->hooks |= HOOK_BIT(info->hook);
    }
}

static void read_filter(struct fake *fake)
{
    char line[1024];
    FILE *file = fopen(fake->filter, "re");
    if (file == NULL)
        log_fatal(EXIT_CODE_USAGE, "%s: %s", fake->filter, strerror(errno));
    snprintf(fake->load, sizeof(fake->load), "ok");
    snprintf(fake->init, sizeof(fake->init), "ok");
    snprintf(fake->quit, sizeof(fake->quit), "ok");
    fake->hooks = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        (void)sscanf(line, "load %15s", fake->load);
        (void)sscanf(line, "init %15s", fake->init);
        (void)sscanf(line, "quit %15s", fake->quit);
        (void)sscanf(line, "always %31s", fake->always);
        if (strncmp(line, "hooks ", 6) == 0)
            read_hooks(fake, line + 6);
    }
    fclose(file);
}

static void send_bytes(struct fake *fake, struct slice bytes, const int *fds, int n_fds)
{
    if (sock_send_record(fake->fd, bytes, fds, n_fds, 0) != 0)
        _exit(EXIT_CODE_OK);
}

static void send_out(struct fake *fake)
{
    send_bytes(fake, buf_slice(&fake->out), NULL, 0);
}

static bool receive(struct fake *fake)
{
    sock_close_fds(&fake->received);
    fake->received = (struct sock_received){0};
    if (sock_recv_record(fake->fd, fake->record, WIRE_RECORD_MAX, &fake->received, 0) != 0)
        return false;
    fake->len = fake->received.len;
    return wire_get_header(slice_of(fake->record, fake->len), ROLE_MULTIPLEXOR,
               fake->received.n_fds, &fake->header) == 0;
}

static void greet(struct fake *fake, enum wire_role role)
{
    struct wire_hello hello = {.role = (uint8_t)role,
        .pid = (uint32_t)getpid(),
        .generation = fake->generation,
        .build = slice_text("fake")};
    wire_put_hello(&fake->out, NULL, 0, 0, &hello);
    if (strcmp(fake->load, "version") == 0)
        fake->out.data[1] = 9;
    send_out(fake);
    if (!receive(fake))
        exit(EXIT_CODE_OK);
}

static void put_reply(struct fake *fake)
{
    wire_put_reply(&fake->out, &fake->annex, fake->header.id, 0, &fake->reply);
}

static void send_reply(struct fake *fake)
{
    int fd = -1;
    buf_reset(&fake->annex);
    put_reply(fake);
    if (fake->annex.len > 0 && annex_new(buf_slice(&fake->annex), &fd) != 0)
        _exit(EXIT_CODE_SYSTEM);
    send_bytes(fake, buf_slice(&fake->out), &fd, fd >= 0 ? 1 : 0);
    if (fd >= 0)
        close(fd);
}

/* Deeds. Each does its part; those marked true in the table are followed by a normal reply. */
static void do_nothing(struct fake *fake)
{
    (void)fake;
}

static void do_sleep(struct fake *fake)
{
    usleep((useconds_t)atoi(fake->value) * 1000);
}

static void do_hang(struct fake *fake)
{
    (void)fake;
    wait_for_ever();
}

static void do_exit(struct fake *fake)
{
    (void)fake;
    _exit(9);
}

static void do_segv(struct fake *fake)
{
    (void)fake;
    signal(SIGSEGV, SIG_DFL);
    kill(getpid(), SIGSEGV);
    wait_for_ever();
}

static void do_stop(struct fake *fake)
{
    (void)fake;
    kill(getpid(), SIGSTOP);
}

static void do_exit_once(struct fake *fake)
{
    if (fake->request.attempt == 1)
        _exit(9);
}

static void do_reply_exit(struct fake *fake)
{
    send_reply(fake);
    _exit(9);
}

static void do_garbage(struct fake *fake)
{
    send_bytes(fake, slice_text("this is no record at all, is it?"), NULL, 0);
}

static void do_short(struct fake *fake)
{
    put_reply(fake);
    send_bytes(fake, slice_of(fake->out.data, fake->out.len - 3), NULL, 0);
}

static void do_cut(struct fake *fake)
{
    put_reply(fake);
    fake->out.len -= 3;
    fake->out.data[19] = (uint8_t)(fake->out.data[19] - 3); /* its payload length says so */
    send_out(fake);
}

static void do_other_id(struct fake *fake)
{
    fake->header.id += 1000;
    send_reply(fake);
}

static void do_version(struct fake *fake)
{
    put_reply(fake);
    fake->out.data[1] = 9;
    send_out(fake);
}

static void do_request_record(struct fake *fake)
{
    send_bytes(fake, slice_of(fake->record, fake->len), NULL, 0); /* workers may not send these */
}

static void do_descriptors(struct fake *fake)
{
    int fds[] = {0, 1};
    put_reply(fake);
    send_bytes(fake, buf_slice(&fake->out), fds, 2);
}

static void do_many_descriptors(struct fake *fake)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(20 * sizeof(int))];
    } control = {0};
    put_reply(fake);
    struct iovec iov = {fake->out.data, fake->out.len};
    struct msghdr message = {.msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
    *cmsg = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(20 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memset(CMSG_DATA(cmsg), 0, 20 * sizeof(int));
    sendmsg(fake->fd, &message, 0);
}

static void do_twice(struct fake *fake)
{
    send_reply(fake);
    send_reply(fake);
}

/* An annex that could change after it was checked. */
static void do_unsealed(struct fake *fake)
{
    static char changes[WIRE_RECORD_MAX];
    fake->reply.changes = slice_of(changes, sizeof(changes));
    buf_reset(&fake->annex);
    put_reply(fake);
    int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (write(fd, fake->annex.data, fake->annex.len) < 0)
        _exit(EXIT_CODE_SYSTEM);
    send_bytes(fake, buf_slice(&fake->out), &fd, 1);
    close(fd);
}

static void do_annex(struct fake *fake)
{
    static char changes[100000];
    memset(changes, 'c', sizeof(changes));
    fake->reply.changes = slice_of(changes, sizeof(changes));
}

static void do_outcome(struct fake *fake)
{
    fake->reply.outcome = (uint8_t)atoi(fake->value);
}

static void do_verdict(struct fake *fake)
{
    fake->reply.verdict = (uint8_t)atoi(fake->value);
}

/* Keeps so many MiB, resident. */
static void do_grow(struct fake *fake)
{
    static char *volatile kept; /* seen by the optimiser as used */
    size_t bytes = (size_t)atoi(fake->value) << 20;
    kept = xmalloc(bytes);
    memset(kept, 1, bytes);
    fake->heap_kb += (uint32_t)(bytes / 1024);
}

/* Says that its Lua heap is so many MiB. */
static void do_heap(struct fake *fake)
{
    fake->heap_kb = (uint32_t)atoi(fake->value) << 10;
}

/* What the parcel holds comes back as the error text. */
static void do_parcel(struct fake *fake)
{
    static char text[512];
    struct parcel_view view;
    int index = wire_fd_index(&fake->header, WIRE_PARCEL);
    if (index < 0 || parcel_view_open(fake->received.fds[index], 0,
                         (size_t)fake->request.message_bytes, &view) != 0)
        _exit(7);
    snprintf(text, sizeof(text), "%.*s", (int)view.message.len, view.message.data);
    fake->reply.error = slice_text(text);
    parcel_view_close(&view);
}

static void do_budget(struct fake *fake)
{
    static char text[64];
    snprintf(text, sizeof(text), "%u", fake->request.budget_ms);
    fake->reply.error = slice_text(text);
}

/* Tells how many it was asked before and this one. */
static void do_nth(struct fake *fake)
{
    static char text[16];
    snprintf(text, sizeof(text), "%u", ++fake->n_told);
    fake->reply.error = slice_text(text);
}

/* What the file of this name beside the filter holds; lives until the next call. */
static struct slice read_beside(const struct fake *fake, const char *name)
{
    static char bytes[60000];
    char path[TEXT_MAX];
    const char *slash = strrchr(fake->filter, '/');
    snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - fake->filter), fake->filter, name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        _exit(7);
    size_t n = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    return slice_of(bytes, n);
}

static void do_counts(struct fake *fake)
{
    struct wire_counts counts = {.counts = read_beside(fake, "counts")};
    wire_put_counts(&fake->out, NULL, 0, 0, &counts);
    send_out(fake);
}

static void do_samples(struct fake *fake)
{
    struct wire_samples samples = {.profile = fake->profile + (uint32_t)atoi(fake->value),
        .samples = read_beside(fake, "samples")};
    wire_put_samples(&fake->out, NULL, 0, 0, &samples);
    send_out(fake);
}

static const struct {
    const char *name;
    void (*deed)(struct fake *fake);
    bool replies; /* afterwards, as usual */
} deeds[] = {
    {"sleep", do_sleep, true},
    {"nth", do_nth, true},
    {"hang", do_hang, false},
    {"exit-once", do_exit_once, true},
    {"exit", do_exit, false},
    {"segv", do_segv, false},
    {"stop", do_stop, true},
    {"reply-exit", do_reply_exit, false},
    {"garbage", do_garbage, false},
    {"short", do_short, false},
    {"cut", do_cut, false},
    {"other-id", do_other_id, false},
    {"version", do_version, false},
    {"request-record", do_request_record, false},
    {"descriptors", do_descriptors, false},
    {"many-descriptors", do_many_descriptors, false},
    {"twice", do_twice, false},
    {"unsealed", do_unsealed, false},
    {"annex", do_annex, true},
    {"outcome", do_outcome, true},
    {"verdict", do_verdict, true},
    {"grow", do_grow, true},
    {"heap", do_heap, true},
    {"parcel", do_parcel, true},
    {"budget", do_budget, true},
    {"counts", do_counts, true},
    {"samples", do_samples, true},
    {"", do_nothing, true},
};

static void serve(struct fake *fake)
{
    char uid[64], *dot, *equals;
    snprintf(uid, sizeof(uid), "%.*s", (int)fake->request.uid.len, fake->request.uid.data);
    if (fake->always[0] != '\0')
        snprintf(uid, sizeof(uid), "%s", fake->always);
    if ((dot = strchr(uid, '.')) != NULL)
        *dot = '\0';
    equals = strchr(uid, '=');
    fake->value = equals != NULL ? equals + 1 : "0";
    if (equals != NULL)
        *equals = '\0';
    fake->reply =
        (struct wire_reply){.generation = fake->generation, .attempt = fake->request.attempt};
    size_t i = 0;
    while (strncmp(uid, deeds[i].name, strlen(deeds[i].name)) != 0)
        i++;
    deeds[i].deed(fake);
    fake->reply.heap_kb = fake->heap_kb;
    if (deeds[i].replies)
        send_reply(fake);
}

static void send_ready(struct fake *fake)
{
    bool is_ok = strcmp(fake->init, "fail") != 0;
    struct wire_ready ready = {
        .is_ok = is_ok, .error = slice_text(is_ok ? "" : "filter.lua:7: init failed")};
    if (strcmp(fake->init, "die") == 0)
        _exit(8);
    if (strcmp(fake->init, "hang") == 0)
        wait_for_ever();
    if (strcmp(fake->init, "slow") == 0)
        usleep(SLOW_START_US);
    wire_put_ready(&fake->out, NULL, 0, 0, &ready);
    send_out(fake);
    if (!is_ok)
        exit(EXIT_CODE_FOUND);
}

static void take_profile(struct fake *fake)
{
    struct wire_profile profile;
    if (wire_get_profile(slice_of(fake->record, fake->len), slice_of(NULL, 0), &profile) == 0)
        fake->profile = profile.profile;
}

static int take_request(struct fake *fake)
{
    struct slice annex = {0};
    int index = wire_fd_index(&fake->header, WIRE_ANNEX);
    if (index >= 0 && annex_open(fake->received.fds[index], WIRE_ANNEX_MAX, &annex) != 0)
        return EXIT_CODE_PROTOCOL;
    if (wire_get_request(slice_of(fake->record, fake->len), annex, &fake->request) != 0)
        return EXIT_CODE_PROTOCOL;
    serve(fake);
    annex_close(annex);
    return 0;
}

static int worker(struct fake *fake, int fd)
{
    fake->fd = fd;
    fake->received = (struct sock_received){0};
    proc_close_fds_except(&fd, 1);
    read_filter(fake);
    greet(fake, ROLE_WORKER);
    send_ready(fake);
    while (receive(fake)) {
        if (fake->header.type == WIRE_QUIT && strcmp(fake->quit, "hang") == 0)
            wait_for_ever();
        if (fake->header.type == WIRE_PROFILE) {
            take_profile(fake);
            continue;
        }
        if (fake->header.type != WIRE_REQUEST)
            return fake->header.type == WIRE_QUIT ? EXIT_CODE_OK : EXIT_CODE_PROTOCOL;
        int code = take_request(fake);
        if (code != 0)
            return code;
    }
    return EXIT_CODE_OK;
}

static void take_fork(struct fake *fake)
{
    struct wire_fork in;
    if (wire_get_fork(slice_of(fake->record, fake->len), slice_of(NULL, 0), &in) != 0)
        exit(EXIT_CODE_PROTOCOL);
    int fd = fake->received.fds[wire_fd_index(&fake->header, WIRE_SOCKET)];
    pid_t parent = getppid();
    pid_t pid =
        (pid_t)syscall(SYS_clone, (unsigned long)(CLONE_PARENT | SIGCHLD), 0UL, 0UL, 0UL, 0UL);
    if (pid == 0) {
        proc_die_with_parent(SIGKILL, parent);
        _exit(worker(fake, fd));
    }
    struct wire_forked forked = {.number = in.number, .pid = (uint32_t)pid};
    wire_put_forked(&fake->out, NULL, fake->header.id, 0, &forked);
    send_out(fake);
}

static void send_loaded(struct fake *fake)
{
    bool is_ok = strcmp(fake->load, "fail") != 0;
    struct wire_loaded loaded = {.is_ok = is_ok,
        .hooks = fake->hooks,
        .sandbox = slice_text("fake"),
        .error = slice_text(is_ok ? "" : "filter.lua:3: load failed")};
    if (strcmp(fake->load, "die") == 0)
        _exit(6);
    if (strcmp(fake->load, "hang") == 0)
        wait_for_ever();
    wire_put_loaded(&fake->out, NULL, 0, 0, &loaded);
    send_out(fake);
    if (!is_ok)
        exit(EXIT_CODE_FOUND);
}

static void nursery(struct fake *fake)
{
    fake->fd = NURSERY_FD;
    read_filter(fake);
    greet(fake, ROLE_NURSERY);
    send_loaded(fake);
    while (receive(fake)) {
        if (fake->header.type == WIRE_QUIT)
            return;
        if (fake->header.type != WIRE_FORK)
            exit(EXIT_CODE_PROTOCOL);
        take_fork(fake);
    }
}

int main(int argc, char **argv)
{
    struct fake fake = {.record = xmalloc(WIRE_RECORD_MAX)};
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "-o") == 0 && strncmp(argv[i + 1], "worker.filter=", 14) == 0)
            fake.filter = argv[i + 1] + 14;
        if (strcmp(argv[i], "--nursery") == 0 || strcmp(argv[i], "--shadow") == 0)
            fake.generation = (uint32_t)atoi(argv[i + 1]);
    }
    if (fake.filter == NULL || fake.generation == 0)
        log_fatal(EXIT_CODE_USAGE, "usage: fake_worker -o worker.filter=FILE --nursery GENERATION");
    signal(SIGPIPE, SIG_IGN);
    buf_init(&fake.out, WIRE_RECORD_MAX);
    buf_init(&fake.annex, WIRE_ANNEX_MAX);
    nursery(&fake);
    buf_clear(&fake.out);
    buf_clear(&fake.annex);
    free(fake.record);
    return EXIT_CODE_OK;
}
