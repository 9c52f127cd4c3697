/* Notices: who must not be told, what the mail looks like, how often there is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/err.h"
#include "common/landlock.h"
#include "common/sanitizer.h"
#include "tests/unit/worker_fixture.h"
#include "worker/keyed_hash.h"
#include "worker/notify.h"
#include "worker/notify_ledger.h"
#include "worker/notify_queue.h"
#include "worker/sandbox.h"

#define ON "notify.from=postern@example.net", "notify.admin=admin@example.net"

/* ---- who is told ---- */

static void some_senders_are_told_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *sender, *header, *why;
    } rows[] = {
        {"<a@example.org>", "Subject: x\n", "nil"},
        {"<a@example.org>", "Auto-Submitted: no\n", "nil"},
        {"<a@example.org>", "Precedence: first-class\n", "nil"},
        {"<owner@example.org>", "Subject: x\n", "nil"},
        {"<>", "Subject: x\n", "null sender"},
        {"<MAILER-DAEMON@example.org>", "Subject: x\n", "automatic"},
        {"<postmaster@example.org>", "Subject: x\n", "automatic"},
        {"<owner-x@example.org>", "Subject: x\n", "automatic"},
        {"<x-owner@example.org>", "Subject: x\n", "automatic"},
        {"<x-request@example.org>", "Subject: x\n", "automatic"},
        {"<x-bounces@example.org>", "Subject: x\n", "automatic"},
        {"<x-Bounces+bob=example.net@example.org>", "Subject: x\n", "automatic"},
        {"<a@example.org>", "Auto-Submitted: auto-replied\n", "automatic"},
        {"<a@example.org>", "AUTO-SUBMITTED:\n auto-generated\n", "automatic"},
        {"<a@example.org>", "List-Id: <x.example.org>\n", "list"},
        {"<a@example.org>", "Subject: x\nlist-unsubscribe: <mailto:x@y>\n", "list"},
        {"<a@example.org>", "Precedence: Bulk\n", "list"},
        {"<a@example.org>", "Precedence: list\n", "list"},
        {"<a@example.org>", "Precedence: junk\n", "list"},
    };
    struct worker_fixture f;
    fixture_open(&f, (const char *[]){ON, NULL});
    fixture_filter(&f, "function filter_message(msg) local ok, why = msg:notify_sender{ subject = "
                       "'s', text = 't' } assert(ok == (why == nil)) return "
                       "reject(tostring(why)) end");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char message[200];
        snprintf(message, sizeof(message), "%s\nbody\n", rows[i].header);
        fixture_rewind(&f);
        fixture_connect(&f, '4', "192.0.2.1", 1, "mx.example.org");
        fixture_helo(&f, "mx.example.org");
        fixture_sender(&f, rows[i].sender, "");
        fixture_recipient(&f, "<b@example.net>", "");
        fixture_message(&f, message);
        fixture_run_ok(&f, HOOK_MESSAGE, VERDICT_REJECT);
        assert_int_equal(f.reply.text.len, strlen(rows[i].why));
        assert_memory_equal(f.reply.text.data, rows[i].why, f.reply.text.len);
    }
    fixture_close(&f);
}

static void a_virus_is_answered_with_silence(void **state)
{
    (void)state;
    struct worker_fixture f;
    fixture_open(&f, (const char *[]){ON, NULL});
    fixture_start(&f, "Subject: x\n\nbody\n");
    fixture_lua(&f, HOOK_MESSAGE,
        "local ok, why = msg:notify_sender{ subject = 's', text = 't', virus = true } eq(ok, "
        "false) "
        "eq(why, 'virus') eq(msg:notify_sender{ subject = 's', text = 't', virus = false }, true) "
        "eq(msg:notify_admin{ subject = 's', text = 't', virus = true }, true)");
    assert_int_equal(fixture_job(&f, HOOK_MESSAGE), 0);
    assert_null(notify_why_not_sender(&f.job));
    f.job.has_virus = true;
    assert_string_equal(notify_why_not_sender(&f.job), "virus");
    fixture_close(&f);
}

static void without_configuration_there_are_none(void **state)
{
    (void)state;
    static const char *const options[][2] = {{"notify.admin=a@example.net", NULL},
        {"notify.from=not an address", "notify.admin=a@example.net"},
        {"notify.from=a@example.net", NULL}};
    for (size_t i = 0; i < 3; i++) {
        struct worker_fixture f;
        fixture_open(&f, (const char *[]){options[i][0], options[i][1], NULL});
        fixture_start(&f, "Subject: x\n\nbody\n");
        fixture_lua(&f, HOOK_MESSAGE,
            "local ok, why = msg:notify_admin{ subject = 's', text = 't' } eq(ok, false) eq(why, "
            "'off')");
        fixture_close(&f);
    }
}

static void misuse_raises(void **state)
{
    (void)state;
    static const struct {
        const char *code, *error;
    } rows[] = {
        {"msg:notify_admin()", "table expected"},
        {"msg:notify_admin{ text = 'x' }", "subject is a text"},
        {"msg:notify_sender{ subject = 'x' }", "text is a text"},
        {"msg:notify_sender{ subject = 'x', text = 'x', virus = 1 }", "virus is true or false"},
        {"msg:notify_sender{ subject = 'x', text = 'x', to = 'y' }", "unknown key 'to'"},
        {"msg.notify_admin{}", "call it as msg:notify_admin"},
        {"for _ = 1, 9 do msg:notify_admin{ subject = 'x', text = 'x' } end", "at most 8 notices"},
    };
    struct worker_fixture f;
    fixture_open(&f, (const char *[]){ON, NULL});
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_start(&f, "Subject: x\n\nbody\n");
        fixture_lua_error(&f, HOOK_MESSAGE, rows[i].code, rows[i].error);
    }
    fixture_start(&f, "Subject: x\n\nbody\n");
    fixture_lua_error(&f, HOOK_HEADERS, "msg:notify_admin{ subject = 'x', text = 'x' }",
        "known from filter_message");
    fixture_close(&f);
}

/* ---- the mail ---- */

static void the_mail_is_well_formed(void **state)
{
    (void)state;
    static const struct {
        const char *subject, *text, *answers;
        const char *parts[4];
    } rows[] = {
        {"plain", "one\ntwo", " <a@b> ",
            {"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n", "\r\nSubject: plain\r\n",
                "\r\nIn-Reply-To: <a@b>\r\nReferences: <a@b>\r\n", "\r\n\r\none\r\ntwo\r\n"}},
        {"caf\xc3\xa9", "caf\xc3\xa9\n", "",
            {"Content-Transfer-Encoding: base64\r\n", "\r\nSubject: =?UTF-8?",
                "\r\n\r\nY2Fmw6kNCg==\r\n", "Auto-Submitted: auto-generated\r\n"}},
        {"x", "x", "<a@b>\r\n X: y",
            {"From: <from@example.org>\r\n", "To: <to@example.net>\r\n",
                "Message-ID: <abcdefghijklmnopqrstuvwx@example.org>\r\n",
                "Content-Transfer-Encoding: 7bit\r\n"}},
    };
    const uint8_t secret[KEYED_HASH_BYTES] = {1, 2, 3};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct notify_mail mail = {.from = "from@example.org",
            .to = "to@example.net",
            .name = "abcdefghijklmnopqrstuvwx",
            .secret = secret,
            .subject = slice_text(rows[i].subject),
            .text = slice_text(rows[i].text),
            .answers = slice_text(rows[i].answers)};
        struct buf out;
        buf_init(&out, 65536);
        assert_int_equal(notify_mail_put(&out, &mail, 1795341600), 0);
        assert_int_equal(buf_put_u8(&out, 0), 0);
        for (size_t k = 0; k < 4; k++) {
            if (strstr((const char *)out.data, rows[i].parts[k]) == NULL)
                fail_msg("no \"%s\" in:\n%s", rows[i].parts[k], (const char *)out.data);
        }
        assert_null(strstr((const char *)out.data, "X: y"));
        for (size_t at = 0; at + 1 < out.len; at++)
            assert_true(out.data[at] != '\n' || out.data[at - 1] == '\r');
        buf_clear(&out);
    }
}

/* ---- how often ---- */

struct ledger {
    char path[64];
    int folder;
};

static void ledger_open(struct ledger *ledger)
{
    snprintf(ledger->path, sizeof(ledger->path), "/tmp/postern-ledger.XXXXXX");
    assert_non_null(mkdtemp(ledger->path));
    ledger->folder = open(ledger->path, O_RDONLY | O_DIRECTORY);
    assert_true(ledger->folder >= 0);
}

static void ledger_close(struct ledger *ledger)
{
    (void)unlinkat(ledger->folder, "ledger", 0);
    close(ledger->folder);
    assert_int_equal(rmdir(ledger->path), 0);
}

static enum notify_claim claim(
    struct ledger *ledger, uint64_t notice, uint64_t sender, int64_t limit, int64_t sender_limit)
{
    const struct notify_bounds bounds = {limit, sender_limit, 3600};
    enum notify_claim result;
    assert_int_equal(notify_ledger_claim(ledger->folder, notice, sender, &bounds, &result), 0);
    return result;
}

static void one_notice_for_a_mail(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger);
    assert_int_equal(claim(&ledger, 7, 1, 100, 100), NOTIFY_CLAIMED);
    assert_int_equal(claim(&ledger, 7, 1, 100, 100), NOTIFY_MADE);
    assert_int_equal(claim(&ledger, 7 + 8192, 1, 100, 100), NOTIFY_CLAIMED);
    notify_ledger_unclaim(ledger.folder, 7);
    notify_ledger_unclaim(ledger.folder, 99);
    assert_int_equal(claim(&ledger, 7, 1, 100, 100), NOTIFY_CLAIMED);
    ledger_close(&ledger);
}

static void limits_hold(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(claim(&ledger, 1000 + i, 5, 10, 3), NOTIFY_CLAIMED);
    assert_int_equal(claim(&ledger, 1003, 5, 10, 3), NOTIFY_SENDER_LIMIT);
    assert_int_equal(claim(&ledger, 1000, 5, 10, 3), NOTIFY_MADE);
    for (uint64_t i = 0; i < 7; i++)
        assert_int_equal(claim(&ledger, 2000 + i, 100 + i, 10, 3), NOTIFY_CLAIMED);
    assert_int_equal(claim(&ledger, 3000, 200, 10, 3), NOTIFY_OVER_LIMIT);
    assert_int_equal(claim(&ledger, 3000, 200, 0, 3), NOTIFY_OVER_LIMIT);
    ledger_close(&ledger);
}

/* Neither kind of notice uses up what there is for the other. */
static void each_kind_has_its_own_limit(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(claim(&ledger, 1000 + i, 100 + i, 4, 3), NOTIFY_CLAIMED);
    assert_int_equal(claim(&ledger, 1004, 104, 4, 3), NOTIFY_OVER_LIMIT);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(claim(&ledger, 2000 + i, 0, 4, 3), NOTIFY_CLAIMED);
    assert_int_equal(claim(&ledger, 2004, 0, 4, 3), NOTIFY_OVER_LIMIT);
    assert_int_equal(claim(&ledger, 1005, 105, 5, 3), NOTIFY_CLAIMED);
    assert_int_equal(claim(&ledger, 2005, 0, 5, 3), NOTIFY_CLAIMED);
    ledger_close(&ledger);
}

/* More than there is room for: the newest are remembered. */
static void the_ledger_stays_small(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger);
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(claim(&ledger, 1 + i * 8192, 0, 1000, 10), NOTIFY_CLAIMED);
    assert_int_equal(claim(&ledger, 1 + 19 * 8192, 0, 1000, 10), NOTIFY_MADE);
    int fd = openat(ledger.folder, "ledger", O_RDONLY);
    assert_true(fd >= 0);
    assert_true(lseek(fd, 0, SEEK_END) < 2 << 20);
    close(fd);
    ledger_close(&ledger);
}

/* ---- the queue ---- */

static void the_queue_is_bounded(void **state)
{
    (void)state;
    struct ledger folder;
    ledger_open(&folder);
    struct notify_queue queue = {.folder = -1, .queue = folder.folder};
    static const char *const names[] = {
        "aaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccccccc"};
    static const struct {
        size_t most;
        int rc;
    } rows[] = {{2, 0}, {2, 0}, {2, -ERR_TOOBIG}, {3, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int rc = notify_queue_put(&queue, names[i < 2 ? i : 2], "a@example.org",
            slice_text("Subject: x\r\n\r\n"), rows[i].most);
        assert_int_equal(rc, rows[i].rc);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(unlinkat(folder.folder, names[i], 0), 0);
    ledger_close(&folder);
}

/* ---- the sandbox ---- */

static int listener_new(uint16_t *port_out)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port_out = ntohs(address.sin_port);
    return fd;
}

static int errno_of_connect(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return errno;
    const int rc = connect(fd, (const struct sockaddr *)&address, sizeof(address));
    const int error = rc == 0 ? 0 : errno;
    close(fd);
    return error;
}

/* In the child: 0 when the port is the only one that it reaches, else which attempt went wrong. */
static int try_sandbox(const struct conf *conf, bool has_notices, uint16_t port, uint16_t other)
{
    struct sandbox *sandbox;
    char in_force[256];
    if (sandbox_enter_nursery(conf, in_force, sizeof(in_force), &sandbox) != 0)
        return 1;
    const int error = errno_of_connect(port);
    if (has_notices ? error != 0 : error != EACCES && error != EPERM)
        return 2;
    const int other_error = errno_of_connect(other);
    if (other_error != EACCES && other_error != EPERM)
        return 3;
    if (!SANITIZER_HAS_ANY && socket(AF_INET, SOCK_DGRAM, 0) >= 0)
        return 4;
    sandbox_free(sandbox);
    return 0;
}

static void workers_reach_the_notices_server_alone(void **state)
{
    (void)state;
    uint16_t port, other;
    if (landlock_abi() < 4) {
        print_message("skipped: this kernel's Landlock knows no ports\n");
        skip();
    }
    int first = listener_new(&port), second = listener_new(&other);
    for (int i = 0; i < 2; i++) {
        char server[64];
        struct worker_fixture f;
        snprintf(server, sizeof(server), "notify.server=inet:%u@127.0.0.1", port);
        fixture_open(
            &f, (const char *[]){server,
                    i == 0 ? "notify.admin=a@example.net" : "notify.from=a@example.net", NULL});
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(try_sandbox(f.conf, i == 1, port, other));
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        fixture_close(&f);
    }
    close(first);
    close(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_senders_are_told_nothing),
        cmocka_unit_test(a_virus_is_answered_with_silence),
        cmocka_unit_test(without_configuration_there_are_none),
        cmocka_unit_test(misuse_raises),
        cmocka_unit_test(the_mail_is_well_formed),
        cmocka_unit_test(one_notice_for_a_mail),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(each_kind_has_its_own_limit),
        cmocka_unit_test(the_ledger_stays_small),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(workers_reach_the_notices_server_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
