/* What a line of the control socket asks for. The data of most answers is made in report.c. */
#include "multiplexor/ctl_command.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "multiplexor/mux.h"
#include "multiplexor/report.h"

enum { WORKERS_MAX = 1000 }; /* as in options.def */

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

json_t *ctl_error_answer(const char *text)
{
    return json_pack("{s:i, s:b, s:o}", "v", (int)CTL_VERSION, "ok", 0, "error", report_text(text));
}

json_t *ctl_data_answer(json_t *data)
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
    return data != NULL ? ctl_data_answer(data) : ctl_error_answer(call.error);
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
        return ctl_error_answer("a line is one JSON object");
    }
    json_t *answer = run_command(mux, question, access, connection);
    json_decref(question);
    return answer;
}
