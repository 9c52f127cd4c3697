/* The process that plays, and the report of what came of it. */
#include "ctl/play.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/xalloc.h"
#include "ctl/isolate.h"
#include "ctl/render.h"
#include "ctl/report.h"
#include "ctl/session.h"
#include "worker/job.h"

enum { REPORT_TEXT_MAX = 512 };

static json_t *report_new(const char *file, const char *verdict)
{
    json_t *report = json_object();
    json_object_set_new(report, "file", render_json_text(slice_text(file)));
    json_object_set_new(report, "verdict", json_string(verdict));
    json_object_set_new(report, "reply", json_null());
    json_object_set_new(report, "actions", json_array());
    json_object_set_new(report, "parts", json_array());
    json_object_set_new(report, "defects", json_array());
    json_object_set_new(report, "log", json_array());
    json_object_set_new(report, "error", json_null());
    return report;
}

/*
 * Makes a report one about a failure: what a server would have answered, and under which option.
 */
static void report_failure(
    json_t *report, const struct conf *conf, enum failure_cause cause, const char *what)
{
    bool is_poison = cause == FAILURE_CAUSE_POISON;
    enum failure_answer answer = is_poison ? conf->multiplexor.on_poison : conf->worker.on_error;
    const char *option = is_poison ? "multiplexor.on_poison" : "worker.on_error";
    struct smtp_reply reply = {0};
    char text[REPORT_TEXT_MAX];
    enum verdict verdict = failure_verdict(cause, answer, "run.1", &reply, text, sizeof(text));
    char *error = reply.code != 0
                      ? xasprintf("%s\nthe answer is %s %u %s (%s)", what, verdict_name(verdict),
                            (unsigned)reply.code, reply.dsn, option)
                      : xasprintf("%s\nthe answer is %s (%s)", what, verdict_name(verdict), option);
    json_object_set_new(report, "verdict", json_string("error"));
    json_object_set_new(report, "reply", report_reply(&reply));
    json_object_set_new(report, "error", render_json_text(slice_text(error)));
    free(error);
}

static bool goes_on(const struct session *session)
{
    return session->error == NULL &&
           (session->verdict == VERDICT_CONTINUE || session->verdict == VERDICT_ACCEPT);
}

static void add_actions(json_t *report, const struct session *session)
{
    struct action_list actions;
    if (!goes_on(session) ||
        action_list_get(buf_slice(&session->changes), session->arena, &actions) < 0) {
        return;
    }
    json_t *list = json_object_get(report, "actions");
    for (uint32_t i = 0; i < actions.n; i++) {
        json_array_append_new(list, report_action(&actions.items[i]));
    }
}

/* msg:log pairs, as they would stand in the message's log line. */
static void add_log_fields(json_t *report, const struct session *session)
{
    struct buf in;
    buf_view(&in, session->log_fields.data, session->log_fields.len);
    struct slice name, value;
    while (buf_get_bytes(&in, session->log_fields.len, &name) == 0 &&
           buf_get_bytes(&in, session->log_fields.len, &value) == 0) {
        struct buf text;
        buf_init(&text, name.len + value.len + 2);
        if (buf_put(&text, name.data, name.len) == 0 && buf_put_u8(&text, '=') == 0 &&
            buf_put(&text, value.data, value.len) == 0) {
            json_array_append_new(
                json_object_get(report, "log"), render_json_text(buf_slice(&text)));
        }
        buf_clear(&text);
    }
}

static void add_content(json_t *report, const struct playing *playing, struct arena *arena)
{
    struct header_list headers;
    header_list_scan(
        playing->mail->header, (uint32_t)playing->conf->worker.max_headers, arena, &headers);
    struct mime *mime = mime_new(playing->mail->message, &headers, playing->conf, arena);
    json_object_set_new(report, "parts", report_parts(mime));
    json_object_set_new(report, "defects", report_defects(mime));
    mime_free(mime);
}

static void add_refusals(json_t *report, const struct session *session)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < session->n_refusals; i++) {
        const struct session_refusal *refusal = &session->refusals[i];
        json_array_append_new(
            list, report_refusal(refusal->address, refusal->verdict, &refusal->reply));
    }
    json_object_set_new(report, "recipients", list);
}

static int write_all(int fd, struct slice bytes)
{
    for (size_t at = 0; at < bytes.len;) {
        ssize_t n = write(fd, bytes.data + at, bytes.len - at);
        if (n < 0 && errno != EINTR) {
            return -ERR_SYSTEM;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Writes the message as it would leave. Returns NULL, or what went wrong. */
static const char *write_output(const struct playing *playing, const struct session *session)
{
    struct wire_request request = session_final_request(session);
    struct job job;
    int rc = job_open(
        &job, playing->conf, &request, buf_slice(&session->region), playing->mail->message);
    if (rc < 0) {
        return err_text(rc);
    }
    struct buf out;
    buf_init(&out, 2 * MAIL_FILE_MAX);
    rc = job_render(&job, &out);
    if (rc == 0) {
        rc = write_all(playing->output_fd, buf_slice(&out));
    }
    const char *wrong = rc < 0 ? err_text(rc) : NULL;
    buf_clear(&out);
    job_close(&job);
    return wrong;
}

static json_t *report_of(const struct playing *playing, const struct session *session)
{
    json_t *report = report_new(playing->file, verdict_name(session->verdict));
    json_object_set_new(report, "reply", report_reply(&session->reply));
    add_actions(report, session);
    add_content(report, playing, session->arena);
    add_log_fields(report, session);
    add_refusals(report, session);
    json_object_set_new(report, "shown",
        json_pack("{s:o, s:I}", "where", render_json_text(slice_text(session->where)), "delay_ms",
            (json_int_t)session->delay_ms));
    if (session->error != NULL) {
        char *what = xasprintf("%s: %s",
            session->hook < HOOK_COUNT ? hook_info(session->hook)->name : "filter", session->error);
        report_failure(report, playing->conf, FAILURE_CAUSE_ERROR, what);
        free(what);
    }
    const char *wrong =
        playing->output_fd >= 0 && goes_on(session) ? write_output(playing, session) : NULL;
    if (wrong != NULL) {
        char *text = xasprintf("cannot write the message: %s", wrong);
        json_object_set_new(report, "error", render_json_text(slice_text(text)));
        free(text);
    }
    return report;
}

static void on_hook(enum hook hook, int64_t limit_ms, void *context)
{
    isolate_say_step(context, hook_info(hook)->name, limit_ms);
}

static json_t *play_session(
    struct isolate *isolate, const struct playing *playing, struct script *script)
{
    struct arena *arena = arena_new();
    struct session session = {.conf = playing->conf,
        .script = script,
        .transaction = playing->transaction,
        .mail = playing->mail,
        .arena = arena,
        .last_hook = playing->last_hook,
        .on_hook = on_hook,
        .on_hook_context = isolate};
    session_play(&session);
    isolate_say_step(isolate, "filter_exit", playing->conf->milterd.stage_time);
    script_exit(script, playing->conf->milterd.stage_time);
    /* It reads the mail again, for which filter_message had this time. */
    isolate_say_step(isolate, "the report", playing->conf->milterd.message_time);
    json_t *report = report_of(playing, &session);
    session_clear(&session);
    arena_free(arena);
    return report;
}

json_t *play_in_child(struct isolate *isolate, const struct playing *playing)
{
    const struct conf *conf = playing->conf;
    struct script *script = NULL;
    char *error = NULL;
    json_t *report;
    isolate_say_step(isolate, "loading the filter", conf->multiplexor.load_time);
    int rc = script_new(conf, playing->filter, conf->multiplexor.load_time, &script, &error);
    if (rc == 0) {
        script_after_fork(script);
        if (playing->store != NULL) {
            script_share_store(script, playing->store);
        }
        if (playing->world != NULL) {
            script_enter_world(script, playing->world);
        }
        if (playing->does_deeds) {
            script_do_deeds(script);
        }
        isolate_say_step(isolate, "filter_init", conf->multiplexor.load_time);
        rc = script_init(script, conf->multiplexor.load_time, &error);
    }
    if (rc == 0) {
        report = play_session(isolate, playing, script);
    } else {
        report = report_new(playing->file, "error");
        report_failure(report, conf, FAILURE_CAUSE_ERROR, error != NULL ? error : err_text(rc));
    }
    free(error);
    script_free(script);
    return report;
}

static void play(struct isolate *isolate, void *context)
{
    mime_start();
    json_t *report = play_in_child(isolate, context);
    isolate_say_result(isolate, report);
    json_decref(report);
}

void play_add_log(json_t *report, json_t *lines)
{
    json_t *log = json_copy(lines);
    json_array_extend(log, json_object_get(report, "log"));
    json_object_set_new(report, "log", log);
}

/* Plays one message in a child and returns its report, whatever happens there. */
json_t *play_message(struct playing *playing)
{
    struct isolate_outcome outcome;
    isolate_run(playing->conf, play, playing, &outcome);
    json_t *report;
    if (outcome.end == ISOLATE_RESULT && json_is_object(outcome.value)) {
        report = json_incref(outcome.value);
    } else {
        report = report_new(playing->file, "error");
        char *what = xasprintf("%s: the process %s", outcome.step, outcome.text);
        report_failure(report, playing->conf,
            outcome.end == ISOLATE_DIED ? FAILURE_CAUSE_POISON : FAILURE_CAUSE_ERROR, what);
        free(what);
    }
    play_add_log(report, outcome.log);
    isolate_outcome_clear(&outcome);
    return report;
}
