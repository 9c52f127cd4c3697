#include "tests/unit/worker_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/unit/patience.h"
#include "worker/mime.h"

enum { FIXTURE_MESSAGE_MAX = 256 << 20, FIXTURE_HOOK_MS = 60000 };

static const char eq_helper[] =
    "local function show(v) if type(v) == 'string' then return string.format('%q', v) end return "
    "tostring(v) end\n"
    "local function eq(got, wanted) if got ~= wanted then error('got ' .. show(got) .. ', wanted ' "
    ".. show(wanted), 2) end end\n";

void fixture_open(struct worker_fixture *f, const char *const *overrides)
{
    *f = (struct worker_fixture){0};
    int n = 0;
    while (overrides != NULL && overrides[n] != NULL)
        n++;
    char *error = NULL;
    if (conf_parse(slice_text(""), "test", overrides, n, &f->conf, &error) != 0)
        fail_msg("configuration: %s", error);
    mime_start();
    snprintf(f->dir, sizeof(f->dir), "/tmp/postern-unit.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    buf_init(&f->envelope, PARCEL_ENVELOPE_MAX);
    buf_init(&f->message, FIXTURE_MESSAGE_MAX);
    buf_init(&f->changes, FIXTURE_MESSAGE_MAX * 2u);
    buf_init(&f->conn_state, 65536);
    buf_init(&f->msg_state, 65536);
    f->texts = arena_new();
}

static void close_job(struct worker_fixture *f)
{
    if (f->has_job)
        job_close(&f->job);
    f->has_job = false;
    f->reply = (struct wire_reply){0};
}

static const char *filter_path(struct worker_fixture *f)
{
    return arena_printf(f->texts, "%s/filter.lua", f->dir);
}

void fixture_close(struct worker_fixture *f)
{
    close_job(f);
    script_free(f->script);
    conf_free(f->conf);
    unlink(filter_path(f));
    rmdir(f->dir);
    buf_clear(&f->envelope);
    buf_clear(&f->message);
    buf_clear(&f->changes);
    buf_clear(&f->conn_state);
    buf_clear(&f->msg_state);
    arena_free(f->texts);
}

void fixture_filter(struct worker_fixture *f, const char *lua)
{
    close_job(f);
    script_free(f->script);
    f->script = NULL;
    FILE *file = fopen(filter_path(f), "w");
    assert_non_null(file);
    assert_true(fputs(lua, file) >= 0);
    assert_int_equal(fclose(file), 0);
    char *error = NULL;
    if (script_new(f->conf, filter_path(f), patience_ms(FIXTURE_HOOK_MS), &f->script, &error) != 0)
        fail_msg("filter does not load: %s", error);
    if (script_init(f->script, patience_ms(FIXTURE_HOOK_MS), &error) != 0)
        fail_msg("filter_init: %s", error);
}

void fixture_connect(
    struct worker_fixture *f, char family, const char *ip, uint16_t port, const char *hostname)
{
    assert_int_equal(
        envelope_put_connect(&f->envelope, family, slice_text(ip), port, slice_text(hostname)), 0);
}

void fixture_helo(struct worker_fixture *f, const char *helo)
{
    assert_int_equal(envelope_put_helo(&f->envelope, slice_text(helo)), 0);
}

void fixture_macro(struct worker_fixture *f, enum stage stage, const char *name, const char *value)
{
    const struct envelope_macro macro = {slice_text(name), slice_text(value)};
    assert_int_equal(envelope_put_macros(&f->envelope, stage, &macro, 1), 0);
}

void fixture_sender(struct worker_fixture *f, const char *address, const char *args)
{
    assert_int_equal(envelope_put_sender(&f->envelope, slice_text(address), slice_text(args)), 0);
}

void fixture_recipient(struct worker_fixture *f, const char *address, const char *args)
{
    f->request.recipient_offset = (uint32_t)f->envelope.len;
    f->request.recipient_number = f->n_recipients++;
    assert_int_equal(
        envelope_put_recipient(&f->envelope, slice_text(address), slice_text(args)), 0);
}

void fixture_envelope(struct worker_fixture *f)
{
    fixture_connect(f, '4', "192.0.2.1", 1234, "mx.example.org");
    fixture_helo(f, "mx.example.org");
    fixture_sender(f, "<a@example.org>", "");
    fixture_recipient(f, "<b@example.net>", "");
}

void fixture_message_bytes(struct worker_fixture *f, const void *data, size_t len)
{
    buf_reset(&f->message);
    assert_int_equal(buf_put(&f->message, data, len), 0);
    const char *start = len > 0 ? (const char *)f->message.data : "";
    const char *end = memmem(start, len, "\r\n\r\n", 4);
    f->request.header_bytes = end != NULL ? (uint64_t)(end - start) + 2 : len;
    if (len >= 2 && memcmp(start, "\r\n", 2) == 0)
        f->request.header_bytes = 0;
}

void fixture_message(struct worker_fixture *f, const char *text)
{
    struct buf bytes;
    buf_init(&bytes, FIXTURE_MESSAGE_MAX);
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r'))
            assert_int_equal(buf_put_u8(&bytes, '\r'), 0);
        assert_int_equal(buf_put(&bytes, text + i, 1), 0);
    }
    fixture_message_bytes(f, bytes.data, bytes.len);
    buf_clear(&bytes);
}

void fixture_rewind(struct worker_fixture *f)
{
    close_job(f);
    buf_reset(&f->envelope);
    buf_reset(&f->message);
    buf_reset(&f->changes);
    buf_reset(&f->msg_state);
    f->request = (struct wire_request){0};
    f->n_recipients = 0;
}

void fixture_start(struct worker_fixture *f, const char *message)
{
    fixture_rewind(f);
    buf_reset(&f->conn_state);
    fixture_envelope(f);
    fixture_message(f, message);
}

static bool has_message(enum hook hook)
{
    return hook >= HOOK_HEADER && hook <= HOOK_MESSAGE;
}

/* The bytes that have arrived when this hook runs. */
static size_t message_bytes_at(const struct worker_fixture *f, enum hook hook)
{
    if (!has_message(hook))
        return 0;
    return hook <= HOOK_HEADERS ? f->request.header_bytes : f->message.len;
}

/* The job borrows these, and they grow while it lives. */
static struct slice keep(struct worker_fixture *f, const struct buf *buf)
{
    return slice_of(arena_memdup0(f->texts, buf->data, buf->len), buf->len);
}

int fixture_job(struct worker_fixture *f, enum hook hook)
{
    close_job(f);
    struct wire_request *request = &f->request;
    struct wire_request now = *request;
    now.hook = (uint8_t)hook;
    now.attempt = now.attempt == 0 ? 1 : now.attempt;
    now.capabilities = now.capabilities == 0 ? MTA_CAN_ALL : now.capabilities;
    now.envelope_bytes = (uint32_t)f->envelope.len;
    now.message_bytes = message_bytes_at(f, hook);
    if (!has_message(hook))
        now.header_bytes = 0;
    if (hook == HOOK_BODY && now.chunk_bytes == 0 && f->message.len > now.header_bytes + 2) {
        now.chunk_offset = now.header_bytes + 2;
        now.chunk_bytes = (uint32_t)(f->message.len - now.chunk_offset);
    }
    if (now.conn_id.data == NULL)
        now.conn_id = slice_text("CONN1");
    if (now.uid.data == NULL && (hook_info(hook)->flags & HOOK_HAS_MSG) != 0)
        now.uid = slice_text("CONN1.1");
    now.flags = (uint8_t)((f->conn_state.len > 0 ? REQUEST_HAS_CONN_STATE : 0) |
                          (f->msg_state.len > 0 ? REQUEST_HAS_MSG_STATE : 0));
    now.conn_state = keep(f, &f->conn_state);
    now.msg_state = keep(f, &f->msg_state);
    now.changes = keep(f, &f->changes);
    const struct slice message = slice_of(f->message.data, (size_t)now.message_bytes);
    const int rc = job_open(&f->job, f->conf, &now, buf_slice(&f->envelope), message);
    f->has_job = rc == 0;
    return rc;
}

/* As milterd does: state replaced, changes appended. */
static void carry_over(struct worker_fixture *f)
{
    const struct wire_reply *reply = &f->reply;
    if ((reply->flags & REPLY_HAS_CONN_STATE) != 0) {
        buf_reset(&f->conn_state);
        assert_int_equal(buf_put(&f->conn_state, reply->conn_state.data, reply->conn_state.len), 0);
    }
    if ((reply->flags & REPLY_HAS_MSG_STATE) != 0) {
        buf_reset(&f->msg_state);
        assert_int_equal(buf_put(&f->msg_state, reply->msg_state.data, reply->msg_state.len), 0);
    }
    assert_int_equal(buf_put(&f->changes, reply->changes.data, reply->changes.len), 0);
}

void fixture_run(struct worker_fixture *f, enum hook hook)
{
    assert_non_null(f->script);
    assert_int_equal(fixture_job(f, hook), 0);
    f->reply = (struct wire_reply){0};
    script_run(f->script, &f->job, clock_now_ms() + patience_ms(FIXTURE_HOOK_MS), &f->reply);
    snprintf(f->error, sizeof(f->error), "%.*s", (int)f->reply.error.len,
        f->reply.error.data != NULL ? f->reply.error.data : "");
    carry_over(f);
}

void fixture_run_ok(struct worker_fixture *f, enum hook hook, enum verdict verdict)
{
    fixture_run(f, hook);
    if (f->reply.outcome != OUTCOME_OK)
        fail_msg("%s: outcome %s: %s", hook_info(hook)->name, wire_outcome_name(f->reply.outcome),
            f->error);
    assert_string_equal(verdict_name(f->reply.verdict), verdict_name(verdict));
}

void fixture_run_error(struct worker_fixture *f, enum hook hook, const char *part)
{
    fixture_run(f, hook);
    if (f->reply.outcome != OUTCOME_ERROR)
        fail_msg("%s: expected an error with \"%s\", outcome %s", hook_info(hook)->name, part,
            wire_outcome_name(f->reply.outcome));
    if (strstr(f->error, part) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", part, f->error);
}

const char *fixture_rendered(struct worker_fixture *f)
{
    struct buf out;
    buf_init(&out, FIXTURE_MESSAGE_MAX);
    assert_true(f->has_job);
    assert_int_equal(job_render(&f->job, &out), 0);
    const char *text = arena_memdup0(f->texts, out.data, out.len);
    buf_clear(&out);
    return text;
}

static const char *parameters_of(enum hook hook)
{
    if ((hook_info(hook)->flags & HOOK_HAS_MSG) == 0)
        return hook == HOOK_UNKNOWN ? "conn, command" : "conn";
    if (hook == HOOK_RECIPIENT)
        return "msg, rcpt";
    if (hook == HOOK_HEADER)
        return "msg, name, value";
    return hook == HOOK_BODY ? "msg, chunk" : "msg";
}

static void load_code(struct worker_fixture *f, enum hook hook, const char *code)
{
    fixture_filter(f, arena_printf(f->texts, "%sfunction %s(%s)\n%s\nend\n", eq_helper,
                          hook_info(hook)->name, parameters_of(hook), code));
}

void fixture_lua(struct worker_fixture *f, enum hook hook, const char *code)
{
    load_code(f, hook, code);
    fixture_run(f, hook);
    if (f->reply.outcome != OUTCOME_OK)
        fail_msg("%s\n-- in: %s", f->error, code);
}

void fixture_lua_error(struct worker_fixture *f, enum hook hook, const char *code, const char *part)
{
    load_code(f, hook, code);
    fixture_run(f, hook);
    if (f->reply.outcome != OUTCOME_ERROR || strstr(f->error, part) == NULL)
        fail_msg("expected an error with \"%s\", got \"%s\"\n-- in: %s", part, f->error, code);
}
