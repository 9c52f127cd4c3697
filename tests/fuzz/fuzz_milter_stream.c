/*
 * A milter client's byte stream through libmilter and all callbacks, with the multiplexor replaced
 * by a function that answers from the input's first bytes: never a crash, a hang or a leak, and
 * every request that comes of it is well-formed.
 *
 * Input: SCRIPT_BYTES that choose the stages and the answers, then the stream.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/conf.h"
#include "common/envelope.h"
#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "milterd/callbacks.h"
#include "milterd/front.h"
#include "milterd/generation.h"
#include "milterd/session.h"
#include "milterd/thread.h"

enum { SCRIPT_BYTES = 16, SCRIPT_ANSWERS = 12, STREAM_MAX = 96 << 10, SESSION_MS = 20000 };

static struct front front;
static struct sockaddr_un address;
static socklen_t address_len;
static atomic_bool is_ready;
static uint8_t script[SCRIPT_BYTES];
static atomic_uint n_asked;

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* The request names what the parcel holds, and its envelope can be read. */
static void check_request(const struct ask *ask)
{
    const struct wire_request *request = &ask->request;
    struct arena *arena = arena_new();
    struct parcel_view view;
    struct envelope envelope;

    check(request->hook < HOOK_COUNT && request->header_bytes <= request->message_bytes);
    check(request->chunk_offset + request->chunk_bytes <= request->message_bytes ||
          request->hook != HOOK_BODY);
    check(parcel_view_open(
              ask->parcel_fd, request->envelope_bytes, request->message_bytes, &view) == 0);
    check(envelope_read_all(view.envelope, arena, &envelope) == 0);
    if (request->hook == HOOK_RECIPIENT) {
        check(envelope_read_front(view.envelope, request->recipient_offset, arena, &envelope) == 0);
        check(envelope.n_recipients == 1);
    }
    parcel_view_close(&view);
    arena_free(arena);
}

/* Changes, good and bad ones. */
static struct slice changes_of(uint8_t choice)
{
    static const char add[] = "\1\0\0\0\1X\0\0\0\1v";
    static const char injected[] = "\1\0\0\0\1X\0\0\0\6v\r\nY:z";
    static const char delete_all[] = "\4\0\0\0\0\0\0\0\7Subject";
    static const char cut[] = "\5\0\0\0";
    const struct slice rows[] = {
        {0},
        slice_of(add, sizeof add - 1),
        slice_of(injected, sizeof injected - 1),
        slice_of(delete_all, sizeof delete_all - 1),
        slice_of(cut, sizeof cut - 1),
    };

    return rows[choice % (sizeof rows / sizeof rows[0])];
}

static enum ask_result answer(void *context, const struct ask *ask, struct ask_reply *out)
{
    uint8_t choice = script[atomic_fetch_add(&n_asked, 1) % SCRIPT_ANSWERS];

    (void)context;
    check_request(ask);
    *out = (struct ask_reply){.is_parcel_free = (choice & 1) != 0, .attempts = 1};
    if (choice >= 240)
        return choice >= 250 ? ASK_LATE : ASK_NOBODY;
    out->reply = (struct wire_reply){
        .generation = choice & 3,
        .attempt = 1,
        .outcome = choice >= 230 ? choice % OUTCOME_COUNT : OUTCOME_OK,
        .verdict = choice % 7 < VERDICT_COUNT ? choice % 7 : VERDICT_CONTINUE,
        .flags = choice >> 4,
        .code = choice & 8                     ? 0
                : choice % 7 == VERDICT_REJECT ? 550
                                               : 451,
        .text = slice_text(choice & 16 ? "100%\nno" : ""),
        .conn_state = slice_text("c"),
        .msg_state = slice_text("m"),
        .changes = changes_of(choice >> 3),
    };
    return ASK_ANSWERED;
}

static void release(void *context, struct ask_reply *reply)
{
    (void)context;
    (void)reply;
}

static int ask_needs(void *context, int timeout_ms, struct wire_needs *out)
{
    (void)context;
    (void)timeout_ms;
    (void)out;
    return -ERR_PEER;
}

static void on_ready(void *context)
{
    (void)context;
    atomic_store(&is_ready, true);
}

static void *run_library(void *context)
{
    (void)context;
    (void)smfi_main();
    return NULL;
}

static int make_listener(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sun_family = AF_UNIX;
    check(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0 &&
          listen(fd, 8) == 0);
    address_len = sizeof address;
    check(getsockname(fd, (struct sockaddr *)&address, &address_len) == 0);
    return fd;
}

static void set_up(void)
{
    static const char *const overrides[] = {"milterd.max_message=32K", "milterd.parcel_memory=64K",
        "milterd.max_recipients=20", "milterd.max_header_bytes=8K", "milterd.spool=/tmp",
        "milterd.scanned_by=fuzz"};
    const struct ask_ops asker = {.ask = answer, .release = release, .ask_needs = ask_needs};
    struct session_options session = {.front = &front, .on_ready = on_ready};
    struct conf *conf;
    char *error;

    log_open("fuzz", LOG_TARGET_NONE, "mail", LOG_LEVEL_PANIC);
    check(conf_load(
              NULL, overrides, (int)(sizeof overrides / sizeof overrides[0]), &conf, &error) == 0);
    front_init(&front, conf, asker, generations_new());
    front.max_connections = 100;
    session.listen_fd = make_listener();
    session.allow = &conf->milterd.allow;
    check(callbacks_register(&front) == 0 && session_prepare(&session) == 0);
    check(thread_spawn(run_library, NULL, 1 << 20) == 0);
    while (!atomic_load(&is_ready))
        poll(NULL, 0, 1);
}

static void choose(const uint8_t *data)
{
    struct wire_needs needs = {.generation = 1};

    memcpy(script, data, SCRIPT_BYTES);
    atomic_store(&n_asked, 0);
    needs.current_sees = STAGES_ALL & ~(uint32_t)(data[13] & 0xF0);
    needs.current_answers =
        needs.current_sees & ~((uint32_t)data[14] | (uint32_t)(data[15] & 1) << 11);
    needs.union_sees = needs.current_sees;
    needs.union_answers = needs.current_answers;
    generations_learn(front.generations, &needs);
}

/* libFuzzer's timer interrupts it. */
static void await_answer(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    int n;

    do
        n = poll(&pfd, 1, SESSION_MS);
    while (n < 0 && errno == EINTR);
    check(n == 1);
}

/* Sends it all, says that no more comes, and reads what is answered until the other side closes. */
static void play(const uint8_t *data, size_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answers[4096];

    check(fd >= 0 && connect(fd, (struct sockaddr *)&address, address_len) == 0);
    if (len > 0)
        (void)send(fd, data, len, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    do
        await_answer(fd);
    while (recv(fd, answers, sizeof answers, 0) > 0);
    close(fd);
    while (session_busy_count() != 0)
        poll(NULL, 0, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_set_up;

    if (!is_set_up)
        set_up();
    is_set_up = true;
    if (size < SCRIPT_BYTES)
        return 0;
    choose(data);
    size -= SCRIPT_BYTES;
    play(data + SCRIPT_BYTES, size < STREAM_MAX ? size : STREAM_MAX);
    return 0;
}
