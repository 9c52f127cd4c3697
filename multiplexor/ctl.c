/* Connections of the control socket, and what a line asks for. The data of the answers is made in
 * report.c. */
#include "multiplexor/ctl.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/sock.h"
#include "common/xalloc.h"
#include "multiplexor/kin.h"
#include "multiplexor/loop.h"
#include "multiplexor/mux.h"
#include "multiplexor/report.h"

enum {
    OUTPUT_MAX = 8 << 20, /* of answers that the peer does not read */
    GROUPS_MAX = 256,
    WORKERS_MAX = 1000, /* as in options.def */
    IDLE_SECS = 600,
    WRITE_SECS = 30,
};

struct ctl_connection {
    TAILQ_ENTRY(ctl_connection) entry;
    struct mux *mux;
    struct bufferevent *stream;
    enum ctl_access access;
    struct reload_waiter waiter; /* in a list while the answer of a reload is awaited */
    struct profile_waiter profile;
    bool is_closing; /* when everything is written */
};

/* One command being run. */
struct ctl_call {
    struct mux *mux;
    json_t *args;                      /* checked: only names of the row, of its types */
    struct ctl_connection *connection; /* may be NULL */
    const char *error; /* borrowed; set when the function returns NULL and is_deferred is false */
    bool is_deferred;
};

struct ctl_command {
    const char *word, *arguments;
    enum ctl_access access;
    const char *help;
    json_t *(*run)(struct ctl_call *call); /* the answer's data */
};

static const struct ctl_command *command_at(size_t i); /* NULL past the last */

/* An answer comes later: what else it asks waits. */
static bool is_waiting(const struct ctl_connection *connection)
{
    return connection->waiter.list != NULL ||
           profile_is_awaited(connection->mux, &connection->profile);
}

static json_t *ctl_run_ping(struct ctl_call *call)
{
    (void)call;
    return json_pack("{s:i}", "pid", (int)getpid());
}

static json_t *ctl_run_status(struct ctl_call *call)
{
    return report_status(call->mux);
}

static json_t *ctl_run_workers(struct ctl_call *call)
{
    return report_workers(call->mux);
}

static json_t *ctl_run_histogram(struct ctl_call *call)
{
    return report_histogram(call->mux);
}

static json_t *ctl_run_metrics(struct ctl_call *call)
{
    json_t *data = report_metrics(call->mux);
    if (data == NULL)
        call->error = "there is too much to tell";
    return data;
}

static json_t *ctl_run_config(struct ctl_call *call)
{
    return report_config(call->mux->conf);
}

static json_t *ctl_run_reload(struct ctl_call *call)
{
    if (call->connection == NULL) {
        call->error = "nobody is there to wait for the answer";
        return NULL;
    }
    const json_t *canary = json_object_get(call->args, "canary");
    json_int_t share = canary != NULL ? json_integer_value(canary) : RELOAD_CANARY_OPTION;
    if (canary != NULL && (share < 0 || share > 100)) {
        call->error = "canary is a percentage from 0 to 100";
        return NULL;
    }
    call->is_deferred = true;
    reload_ask(call->mux, &call->connection->waiter, (int)share);
    return NULL;
}

static json_t *say_generation(
    struct ctl_call *call, const char *(*change)(struct mux *mux, uint32_t *generation_out))
{
    uint32_t generation = 0;
    call->error = change(call->mux, &generation);
    return call->error == NULL ? json_pack("{s:I}", "generation", (json_int_t)generation) : NULL;
}

static json_t *ctl_run_promote(struct ctl_call *call)
{
    return say_generation(call, canary_promote);
}

static json_t *ctl_run_rollback(struct ctl_call *call)
{
    return say_generation(call, canary_roll_back);
}

static json_t *ctl_run_shadow(struct ctl_call *call)
{
    json_t *data = shadow_json(call->mux);
    if (!json_is_null(data))
        return data;
    json_decref(data);
    call->error = "no shadow was started";
    return NULL;
}

static json_t *ctl_run_shadow_start(struct ctl_call *call)
{
    const char *filter = json_string_value(json_object_get(call->args, "filter"));
    if (call->connection == NULL || filter[0] != '/' || strchr(filter, '\n') != NULL) {
        call->error = "filter is an absolute path";
        return NULL;
    }
    call->is_deferred = true;
    shadow_start(call->mux, filter, &call->connection->waiter);
    return NULL;
}

static json_t *ctl_run_shadow_stop(struct ctl_call *call)
{
    if (!shadow_stop(call->mux)) {
        call->error = "no shadow runs";
        return NULL;
    }
    return json_object();
}

/* Marks the workers with this pid, or all when pid is NULL; the number of them. */
static int mark_workers(struct mux *mux, const json_t *pid)
{
    struct generation *generation;
    struct child *child;
    int n = 0;
    TAILQ_FOREACH(generation, &mux->generations, entry)
    {
        TAILQ_FOREACH(child, &generation->pool.children, entry)
        {
            bool is_ready = child->state == CHILD_IDLE || child->state == CHILD_BUSY;
            if (!is_ready || (pid != NULL && child->pid != json_integer_value(pid)))
                continue;
            pool_mark(child, RECYCLE_ASKED);
            n++;
        }
    }
    return n;
}

static json_t *ctl_run_recycle(struct ctl_call *call)
{
    const json_t *pid = json_object_get(call->args, "pid");
    int n = mark_workers(call->mux, pid);
    if (pid != NULL && n == 0) {
        call->error = "no worker in service has this pid";
        return NULL;
    }
    return json_pack("{s:i}", "recycled", n);
}

static json_t *ctl_run_scale(struct ctl_call *call)
{
    json_int_t min = json_integer_value(json_object_get(call->args, "min"));
    json_int_t max = json_integer_value(json_object_get(call->args, "max"));
    if (min < 1 || max > WORKERS_MAX || min > max) {
        call->error = "min and max must be from 1 to 1000, min not above max";
        return NULL;
    }
    call->mux->conf->multiplexor.min_workers = min;
    call->mux->conf->multiplexor.max_workers = max;
    log_info("scaled: at least %lld workers, at most %lld", (long long)min, (long long)max);
    mux_wake(call->mux);
    return json_pack("{s:I, s:I}", "min", min, "max", max);
}

static json_t *set_draining(struct mux *mux, bool is_draining)
{
    if (mux->is_draining != is_draining)
        log_info(is_draining ? "draining: new messages are turned away until resume"
                             : "resumed: new messages are taken again");
    mux->is_draining = is_draining;
    return json_pack("{s:b, s:i, s:i}", "is_draining", (int)is_draining, "running",
        (int)mux_n_busy(mux), "queued", (int)mux->n_queued);
}

static json_t *ctl_run_drain(struct ctl_call *call)
{
    return set_draining(call->mux, true);
}

static json_t *ctl_run_resume(struct ctl_call *call)
{
    return set_draining(call->mux, false);
}

static json_t *ctl_run_profile(struct ctl_call *call)
{
    json_int_t seconds = json_integer_value(json_object_get(call->args, "seconds"));
    if (seconds < 1 || seconds > PROFILE_SECONDS_MAX)
        call->error = "seconds must be from 1 to 600";
    else if (call->connection == NULL)
        call->error = "nobody is there to wait for the answer";
    else if (call->mux->is_stopping)
        call->error = "stopping";
    else if (!profile_start(call->mux, (unsigned)seconds, &call->connection->profile))
        call->error = "another profile is being made";
    else
        call->is_deferred = true;
    return NULL;
}

static json_t *ctl_run_help(struct ctl_call *call)
{
    (void)call;
    json_t *list = json_array();
    const struct ctl_command *command;
    for (size_t i = 0; (command = command_at(i)) != NULL; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s}", "command", command->word, "args",
                      command->arguments, "access",
                      command->access == CTL_CHANGE ? "change" : "look", "help", command->help));
    return json_pack("{s:o}", "commands", list);
}

static const struct ctl_command commands[] = {
#define COMMAND(word, arguments, access, help) {#word, arguments, access, help, ctl_run_##word},
#include "multiplexor/ctl_cmds.def"
#undef COMMAND
};

static const struct ctl_command *command_at(size_t i)
{
    return i < sizeof(commands) / sizeof(commands[0]) ? &commands[i] : NULL;
}

static const struct ctl_command *find_command(const char *word)
{
    const struct ctl_command *command;
    for (size_t i = 0; word != NULL && (command = command_at(i)) != NULL; i++)
        if (strcmp(command->word, word) == 0)
            return command;
    return NULL;
}

static json_t *error_answer(const char *text)
{
    return json_pack("{s:i, s:b, s:o}", "v", (int)CTL_VERSION, "ok", 0, "error", report_text(text));
}

static json_t *data_answer(json_t *data)
{
    return json_pack("{s:i, s:b, s:o}", "v", (int)CTL_VERSION, "ok", 1, "data", data);
}

/* Walks the words of a row's arguments: the next one's name, whether it is a text, and whether it
 * may be left out. False at the end. */
static bool next_argument(
    const char **at, char *name, size_t name_bytes, bool *is_text, bool *is_optional)
{
    size_t n = strcspn(*at, " ");
    if (n == 0)
        return false;
    *is_optional = (*at)[n - 1] == '?';
    size_t len = n - *is_optional;
    *is_text = (*at)[len - 1] == '$';
    len -= *is_text;
    LOG_INVARIANT(len < name_bytes);
    memcpy(name, *at, len);
    name[len] = '\0';
    *at += n + ((*at)[n] == ' ');
    return true;
}

/* NULL, or what is wrong with the arguments. */
static const char *check_arguments(const struct ctl_command *command, const json_t *args)
{
    const char *at = command->arguments;
    char name[32];
    bool is_text, is_optional;
    size_t n_known = 0;
    while (next_argument(&at, name, sizeof(name), &is_text, &is_optional)) {
        const json_t *value = json_object_get(args, name);
        if (value == NULL && !is_optional)
            return "an argument is missing";
        if (value != NULL && !(is_text ? json_is_string(value) : json_is_integer(value)))
            return is_text ? "the argument is a text" : "arguments are whole numbers";
        n_known += value != NULL;
    }
    return json_object_size(args) == n_known ? NULL : "an argument is not known to this command";
}

static json_t *run_command(
    struct mux *mux, json_t *question, enum ctl_access access, struct ctl_connection *connection)
{
    const struct ctl_command *command =
        find_command(json_string_value(json_object_get(question, "command")));
    json_t *args = json_object_get(question, "args");
    json_t *none = json_object();
    struct ctl_call call = {
        .mux = mux, .connection = connection, .args = args != NULL ? args : none};
    json_t *data = NULL;
    if (json_integer_value(json_object_get(question, "v")) != CTL_VERSION)
        call.error = "this is version 1 of the control protocol: old and new binaries mixed?";
    else if (command == NULL)
        call.error = "unknown command; \"help\" lists them";
    else if (access < command->access)
        call.error = "this command is for root and Postern's own user";
    else if (!json_is_object(call.args))
        call.error = "args is an object";
    else
        call.error = check_arguments(command, call.args);
    if (call.error == NULL)
        data = command->run(&call);
    json_decref(none);
    if (call.is_deferred)
        return NULL;
    return data != NULL ? data_answer(data) : error_answer(call.error);
}

json_t *ctl_run(struct mux *mux, struct slice line, enum ctl_access access,
    struct ctl_connection *connection, bool *close_out)
{
    json_t *question =
        json_loadb(line.len > 0 ? line.data : "", line.len, JSON_REJECT_DUPLICATES, NULL);
    *close_out = false;
    if (!json_is_object(question)) {
        json_decref(question);
        *close_out = true;
        return error_answer("a line is one JSON object");
    }
    json_t *answer = run_command(mux, question, access, connection);
    json_decref(question);
    return answer;
}

static void connection_free(struct ctl_connection *connection)
{
    struct ctl *ctl = &connection->mux->ctl;
    reload_forget(&connection->waiter);
    profile_forget(connection->mux, &connection->profile);
    TAILQ_REMOVE(&ctl->list, connection, entry);
    ctl->n--;
    bufferevent_free(connection->stream);
    free(connection);
}

/* Writes the answer's line; the reference is ours. */
static void write_answer(struct ctl_connection *connection, json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    if (text != NULL) {
        bufferevent_write(connection->stream, text, strlen(text));
        bufferevent_write(connection->stream, "\n", 1);
    }
    free(text);
}

/* Nothing more is read; freed by on_written. */
static void close_after_writing(struct ctl_connection *connection)
{
    connection->is_closing = true;
    bufferevent_disable(connection->stream, EV_READ);
}

/* Answers the lines that have come. The connection may be gone afterwards. */
static void answer_lines(struct ctl_connection *connection)
{
    struct evbuffer *in = bufferevent_get_input(connection->stream);
    struct evbuffer *out = bufferevent_get_output(connection->stream);
    size_t len;
    char *line;
    while (!connection->is_closing && !is_waiting(connection) &&
           (line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) != NULL) {
        bool is_last = false;
        json_t *answer = len <= CTL_LINE_MAX ? ctl_run(connection->mux, slice_of(line, len),
                                                   connection->access, connection, &is_last)
                                             : error_answer("the line is too long");
        free(line);
        if (answer != NULL)
            write_answer(connection, answer);
        if (is_last || len > CTL_LINE_MAX)
            close_after_writing(connection);
        if (evbuffer_get_length(out) > OUTPUT_MAX) {
            connection_free(connection);
            return;
        }
    }
    if (!connection->is_closing && !is_waiting(connection) &&
        evbuffer_get_length(in) > CTL_LINE_MAX) {
        write_answer(connection, error_answer("the line is too long"));
        close_after_writing(connection);
    }
}

/* What else was asked meanwhile is looked at from the loop: this may run inside answer_lines. */
static void look_again(struct ctl_connection *connection)
{
    bufferevent_trigger(
        connection->stream, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

static void on_profiled(struct profile_waiter *waiter, json_t *data)
{
    struct ctl_connection *connection =
        (struct ctl_connection *)(void *)((char *)waiter -
                                          offsetof(struct ctl_connection, profile));
    write_answer(connection, data_answer(data));
    look_again(connection);
}

static void on_reloaded(struct reload_waiter *waiter, uint32_t generation, const char *error)
{
    struct ctl_connection *connection =
        (struct ctl_connection *)(void *)((char *)waiter - offsetof(struct ctl_connection, waiter));
    const struct canary *canary = &connection->mux->canary;
    json_t *data = json_pack("{s:I}", "generation", (json_int_t)generation);
    if (canary->candidate != NULL && canary->candidate->number == generation)
        json_object_set_new(data, "canary", json_integer(canary->share));
    write_answer(connection, error != NULL ? error_answer(error) : data_answer(json_incref(data)));
    json_decref(data);
    look_again(connection);
}

static void on_read(struct bufferevent *stream, void *context)
{
    (void)stream;
    answer_lines(context);
}

static void on_written(struct bufferevent *stream, void *context)
{
    struct ctl_connection *connection = context;
    if (connection->is_closing && !is_waiting(connection) &&
        evbuffer_get_length(bufferevent_get_output(stream)) == 0)
        connection_free(connection);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
    struct ctl_connection *connection = context;
    bool has_profile = profile_is_awaited(connection->mux, &connection->profile);
    bool has_output = evbuffer_get_length(bufferevent_get_output(stream)) > 0;
    bool is_reading = (what & BEV_EVENT_READING) != 0;
    if (is_reading && (what & BEV_EVENT_EOF) != 0 && !has_profile &&
        (is_waiting(connection) || has_output))
        close_after_writing(connection); /* it has said all; the answers are still due */
    else if (is_reading && (what & BEV_EVENT_TIMEOUT) != 0 && is_waiting(connection))
        bufferevent_enable(stream, EV_READ); /* a long reload is no reason to hang up */
    else
        connection_free(connection);
}

/* Whether one of the peer's groups is gid. */
static bool peer_has_group(int fd, gid_t gid)
{
    gid_t groups[GROUPS_MAX];
    socklen_t bytes = sizeof(groups);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) != 0)
        return false;
    for (size_t i = 0; i < bytes / sizeof(gid_t); i++)
        if (groups[i] == gid)
            return true;
    return false;
}

static enum ctl_access access_of(const struct ctl *ctl, int fd)
{
    uid_t uid;
    gid_t gid;
    pid_t pid;
    if (kin_is_peer(fd))
        return CTL_NONE;
    if (sock_peer_is_trusted(fd))
        return CTL_CHANGE;
    if (ctl->group == (gid_t)-1 || sock_peer(fd, &uid, &gid, &pid) != 0)
        return CTL_NONE;
    return gid == ctl->group || peer_has_group(fd, ctl->group) ? CTL_LOOK : CTL_NONE;
}

static void take(struct mux *mux, int fd)
{
    static const struct timeval idle = {.tv_sec = IDLE_SECS}, slow = {.tv_sec = WRITE_SECS};
    enum ctl_access access = access_of(&mux->ctl, fd);
    struct bufferevent *stream = NULL;
    if (access == CTL_NONE)
        log_warn("control socket: a connection of another user is refused, or of a worker");
    else if (mux->ctl.n >= CTL_CONNECTIONS_MAX)
        log_warn("control socket: too many connections: one more is refused");
    else
        stream = bufferevent_socket_new(mux->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (stream == NULL) {
        close(fd);
        return;
    }
    struct ctl_connection *connection = xcalloc(1, sizeof(*connection));
    *connection = (struct ctl_connection){.mux = mux, .stream = stream, .access = access};
    connection->waiter.done = on_reloaded;
    connection->profile.done = on_profiled;
    TAILQ_INSERT_TAIL(&mux->ctl.list, connection, entry);
    mux->ctl.n++;
    bufferevent_setcb(stream, on_read, on_written, on_event, connection);
    bufferevent_setwatermark(stream, EV_READ, 0, CTL_LINE_MAX + 1);
    bufferevent_set_timeouts(stream, &idle, &slow);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static void on_acceptable(evutil_socket_t listener, short what, void *context)
{
    (void)what;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        take(context, fd);
}

void ctl_open(struct mux *mux, int fd, gid_t group)
{
    struct ctl *ctl = &mux->ctl;
    *ctl = (struct ctl){.fd = fd, .group = group};
    TAILQ_INIT(&ctl->list);
    if (fd < 0)
        return;
    event_assign(&ctl->acceptable, mux->base, fd, EV_READ | EV_PERSIST, on_acceptable, mux);
    loop_listen(&ctl->acceptable, fd);
}

void ctl_stop_listening(struct mux *mux)
{
    struct ctl *ctl = &mux->ctl;
    if (ctl->fd < 0)
        return;
    event_del(&ctl->acceptable);
    close(ctl->fd);
    ctl->fd = -1;
}

void ctl_close(struct mux *mux)
{
    struct ctl_connection *connection;
    ctl_stop_listening(mux);
    while ((connection = TAILQ_FIRST(&mux->ctl.list)) != NULL)
        connection_free(connection);
}
