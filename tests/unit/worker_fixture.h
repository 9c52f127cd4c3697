/*
 * For unit tests of the worker: a configuration, a filter from a C string, and one made-up
 * transaction after another, without sockets or processes. Everything fails the cmocka test that
 * uses it. Order:
 *
 *   struct worker_fixture f;
 *   fixture_open(&f, (const char *[]){"worker.trusted_networks=192.0.2.0/24", NULL});   or NULL
 *   fixture_filter(&f, "function filter_message(msg) return reject(msg.subject) end");
 *   fixture_connect(&f, '4', "192.0.2.1", 1234, "mx.example.org");
 *   fixture_sender(&f, "<a@example.org>", "SIZE=10");
 *   fixture_recipient(&f, "<b@example.net>", "");
 *   fixture_message(&f, "Subject: x\n\nbody\n");
 *   fixture_run(&f, HOOK_MESSAGE);           f.reply and f.job are there until the next run, rewind
 * or close fixture_close(&f);
 */
#ifndef POSTERN_TESTS_WORKER_FIXTURE_H
#define POSTERN_TESTS_WORKER_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/conf.h"
#include "common/envelope.h"
#include "common/hook.h"
#include "common/wire.h"
#include "worker/job.h"
#include "worker/script.h"

struct worker_fixture {
    struct conf *conf;
    struct script *script; /* NULL: none, jobs are only opened */
    char dir[64];
    struct buf envelope;
    struct buf message;
    struct buf changes; /* of the hooks so far; fixture_run appends those of a successful hook */
    struct buf conn_state, msg_state;
    struct wire_request request;
    struct job job;
    bool has_job;
    struct wire_reply reply;
    uint32_t n_recipients;
    char error[1200]; /* of the reply, as a C string */
    struct arena *texts;
};

/* overrides: "section.key=value", NULL-terminated, or NULL. */
void fixture_open(struct worker_fixture *f, const char *const *overrides);
void fixture_close(struct worker_fixture *f);
/* Loads a filter and runs its filter_init; replaces the one before. */
void fixture_filter(struct worker_fixture *f, const char *lua);

/* Each appends to the envelope; args NULL is "". */
void fixture_connect(
    struct worker_fixture *f, char family, const char *ip, uint16_t port, const char *hostname);
void fixture_helo(struct worker_fixture *f, const char *helo);
void fixture_macro(struct worker_fixture *f, enum stage stage, const char *name, const char *value);
void fixture_sender(struct worker_fixture *f, const char *address, const char *args);
/* The newest recipient is the one judged by HOOK_RECIPIENT. */
void fixture_recipient(struct worker_fixture *f, const char *address, const char *args);
/* A connection from mx.example.org [192.0.2.1], a sender a@example.org, a recipient b@example.net.
 */
void fixture_envelope(struct worker_fixture *f);

/* A whole message; a bare LF becomes CRLF. fixture_message_bytes takes it as it is, CRLF CRLF
 * between header and body. */
void fixture_message(struct worker_fixture *f, const char *text);
void fixture_message_bytes(struct worker_fixture *f, const void *data, size_t len);

/* Envelope, message, changes and msg.state start anew; the filter stays. */
void fixture_rewind(struct worker_fixture *f);

/* A new connection with fixture_envelope and this message. */
void fixture_start(struct worker_fixture *f, const char *message);

/* Opens f->job for a hook; what the hook may not see yet is left out of the message. Returns
 * job_open's result. */
int fixture_job(struct worker_fixture *f, enum hook hook);
/* Runs a hook of the filter, 10 s at most. State and changes go into the next run as milterd would
 * carry them. */
void fixture_run(struct worker_fixture *f, enum hook hook);
/* The same, and fails the test unless outcome is OK and the verdict this. */
void fixture_run_ok(struct worker_fixture *f, enum hook hook, enum verdict verdict);
/* The same, and fails unless the hook was in error and the error text holds this. */
void fixture_run_error(struct worker_fixture *f, enum hook hook, const char *part);

/* The message as it would leave, of the last run. Lives until fixture_close. */
const char *fixture_rendered(struct worker_fixture *f);

/*
 * Runs `code` as the body of a filter_… of that hook (arguments: msg, or conn, and for
 * HOOK_RECIPIENT rcpt; for HOOK_HEADER name, value; for HOOK_BODY chunk) with the helper eq(got,
 * wanted), which raises on a difference; fails the test unless it ends well.
 */
void fixture_lua(struct worker_fixture *f, enum hook hook, const char *code);
/* The same, and the code must raise an error that holds `part`. */
void fixture_lua_error(
    struct worker_fixture *f, enum hook hook, const char *code, const char *part);

#endif
