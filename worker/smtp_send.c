#include "worker/smtp_send.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/address.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/text.h"
#include "worker/smtp_text.h"

enum {
    LINE_MAX_BYTES = 2048,  /* of a reply; RFC 5321 says 512 */
    REPLY_LINES_READ = 100, /* of one reply */
    COMMAND_MAX = 2200,     /* the longest address that is valid, twice over */
    SEND_AT_ONCE = 16384,
};

struct smtp {
    int fd;
    int64_t deadline_ms;
    char in[LINE_MAX_BYTES];
    size_t in_at, in_len;
    bool has_8bitmime, has_smtputf8;
    struct smtp_send_result *out;
};

/* ---- bytes ---- */

static int wait_for(const struct smtp *smtp, short events)
{
    for (;;) {
        const int64_t left = smtp->deadline_ms - clock_now_ms();
        struct pollfd pfd = {.fd = smtp->fd, .events = events};
        if (left <= 0)
            return -ERR_TIMEOUT;
        const int n = poll(&pfd, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -ERR_SYSTEM;
    }
}

static int send_bytes(const struct smtp *smtp, const char *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t n = send(smtp->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -ERR_PEER;
        const int rc = wait_for(smtp, POLLOUT);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int fill(struct smtp *smtp)
{
    for (;;) {
        int rc = wait_for(smtp, POLLIN);
        if (rc != 0)
            return rc;
        const ssize_t n = recv(smtp->fd, smtp->in, sizeof(smtp->in), MSG_DONTWAIT);
        if (n > 0) {
            smtp->in_at = 0;
            smtp->in_len = (size_t)n;
            return 0;
        }
        if (n == 0 || (errno != EINTR && errno != EAGAIN))
            return -ERR_PEER;
    }
}

/* One line without its end, NUL-terminated. */
static int read_line(struct smtp *smtp, char *line)
{
    size_t len = 0;
    for (;;) {
        if (smtp->in_at == smtp->in_len) {
            const int rc = fill(smtp);
            if (rc != 0)
                return rc;
        }
        const char c = smtp->in[smtp->in_at++];
        if (c == '\n')
            break;
        if (len == LINE_MAX_BYTES - 1)
            return -ERR_BAD;
        line[len++] = c;
    }
    while (len > 0 && line[len - 1] == '\r')
        len--;
    line[len] = '\0';
    return 0;
}

/* ---- replies ---- */

static void take_extension(struct smtp *smtp, const char *text)
{
    smtp->has_8bitmime = smtp->has_8bitmime || strcasecmp(text, "8BITMIME") == 0;
    smtp->has_smtputf8 = smtp->has_smtputf8 || strcasecmp(text, "SMTPUTF8") == 0;
}

static void keep_answer(struct smtp *smtp, uint16_t code, const char *text)
{
    static const struct text_bounds bounds = {SMTP_SEND_TEXT_MAX - 1, SMTP_SEND_TEXT_MAX - 1, 1};
    struct smtp_send_answer *last = &smtp->out->last;
    const size_t len = text_clean(last->text, slice_text(text), &bounds);
    last->text[len] = '\0';
    last->code = code;
}

/* A whole reply; its last line is what is kept. 0, -ERR_DENIED for 4yz and 5yz, or why there is
 * none. */
static int read_reply(struct smtp *smtp)
{
    char line[LINE_MAX_BYTES];
    for (int i = 0; i < REPLY_LINES_READ; i++) {
        const int rc = read_line(smtp, line);
        if (rc != 0)
            return rc;
        if (!text_is_digit(line[0]) || !text_is_digit(line[1]) || !text_is_digit(line[2]) ||
            (line[3] != '-' && line[3] != ' ' && line[3] != '\0'))
            return -ERR_BAD;
        const uint16_t code =
            (uint16_t)((line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0'));
        const char *text = line[3] == '\0' ? "" : line + 4;
        keep_answer(smtp, code, text);
        take_extension(smtp, text);
        if (line[3] != '-')
            return code >= 200 && code < 400 ? 0 : -ERR_DENIED;
    }
    return -ERR_BAD;
}

static int ask(struct smtp *smtp, const char *stage, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int ask(struct smtp *smtp, const char *stage, const char *format, ...)
{
    char command[COMMAND_MAX];
    va_list args;
    smtp->out->stage = stage;
    va_start(args, format);
    const int len = vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(command))
        return -ERR_BAD;
    const int rc = send_bytes(smtp, command, (size_t)len);
    return rc == 0 ? read_reply(smtp) : rc;
}

/* ---- the message ---- */

static int send_text(const struct smtp *smtp, struct slice text)
{
    char bytes[SEND_AT_ONCE];
    for (size_t at = 0; at < text.len;) {
        const size_t n = smtp_text_put(text, &at, bytes, sizeof(bytes));
        const int rc = send_bytes(smtp, bytes, n);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int send_message(struct smtp *smtp, const struct smtp_send_mail *mail)
{
    int rc = send_text(smtp, mail->head);
    if (rc == 0)
        rc = send_text(smtp, mail->message);
    smtp->out->stage = "the message's end";
    if (rc != 0)
        return rc;
    const char *end = smtp_text_end(mail->message.len > 0 ? mail->message : mail->head);
    rc = send_bytes(smtp, end, strlen(end));
    if (rc == 0)
        rc = read_reply(smtp);
    smtp->out->may_be_taken = rc != 0 && rc != -ERR_DENIED;
    return rc;
}

/* ---- the dialogue ---- */

/* Our name is that of the address, which is always right (section 4.1.3). */
static int say_hello(struct smtp *smtp)
{
    static const char name[] = "[127.0.0.1]";
    smtp->out->stage = "greeting";
    int rc = read_reply(smtp);
    if (rc != 0)
        return rc;
    rc = ask(smtp, "EHLO", "EHLO %s\r\n", name);
    if (rc == -ERR_DENIED && smtp->out->last.code >= 500)
        rc = ask(smtp, "HELO", "HELO %s\r\n", name);
    return rc;
}

/* Whether this server can be told this address. */
static bool can_tell(const struct smtp *smtp, struct slice address, bool may_be_empty)
{
    return address_is_valid(address, may_be_empty) &&
           (smtp->has_smtputf8 || text_is_ascii(address));
}

static bool needs_utf8(const struct smtp_send_mail *mail)
{
    bool needs = !text_is_ascii(mail->sender);
    for (uint32_t i = 0; i < mail->n_recipients && !needs; i++)
        needs = !text_is_ascii(mail->recipients[i]);
    return needs;
}

static int say_sender(struct smtp *smtp, const struct smtp_send_mail *mail)
{
    if (!can_tell(smtp, mail->sender, true)) {
        smtp->out->stage = "MAIL";
        keep_answer(smtp, 553, "the server cannot be told this sender");
        return -ERR_DENIED;
    }
    return ask(smtp, "MAIL", "MAIL FROM:<%.*s>%s%s\r\n", (int)mail->sender.len,
        mail->sender.len > 0 ? mail->sender.data : "",
        smtp->has_8bitmime && (!text_is_ascii(mail->message) || !text_is_ascii(mail->head))
            ? " BODY=8BITMIME"
            : "",
        smtp->has_smtputf8 && needs_utf8(mail) ? " SMTPUTF8" : "");
}

/* -ERR_DENIED when the server takes none. */
static int say_recipients(struct smtp *smtp, const struct smtp_send_mail *mail)
{
    bool is_taken = false;
    for (uint32_t i = 0; i < mail->n_recipients; i++) {
        const struct slice to = mail->recipients[i];
        int rc = -ERR_DENIED;
        if (can_tell(smtp, to, false))
            rc = ask(smtp, "RCPT", "RCPT TO:<%.*s>\r\n", (int)to.len, to.data);
        else
            keep_answer(smtp, 553, "the server cannot be told this recipient");
        if (rc != 0 && rc != -ERR_DENIED)
            return rc;
        is_taken = is_taken || rc == 0;
        smtp->out->answers[i] = smtp->out->last;
    }
    return is_taken ? 0 : -ERR_DENIED;
}

static int talk(struct smtp *smtp, const struct smtp_send_mail *mail)
{
    int rc = say_hello(smtp);
    if (rc == 0)
        rc = say_sender(smtp, mail);
    if (rc == 0)
        rc = say_recipients(smtp, mail);
    if (rc == 0) {
        rc = ask(smtp, "DATA", "DATA\r\n");
        if (rc == 0 && smtp->out->last.code != 354)
            rc = -ERR_BAD;
    }
    return rc == 0 ? send_message(smtp, mail) : rc;
}

/* What was refused as a whole, or never ended, is taken for nobody. */
static void forget_taken(
    const struct smtp_send_mail *mail, bool is_refused, struct smtp_send_result *out)
{
    const struct smtp_send_answer none = {.code = 0};
    for (uint32_t i = 0; i < mail->n_recipients; i++) {
        if (out->answers[i].code >= 200 && out->answers[i].code < 300)
            out->answers[i] = is_refused ? out->last : none;
    }
}

int smtp_send_over(
    int fd, const struct smtp_send_mail *mail, int64_t deadline_ms, struct smtp_send_result *out)
{
    struct smtp smtp = {.fd = fd, .deadline_ms = deadline_ms, .out = out};
    const int rc = talk(&smtp, mail);
    if (rc != 0)
        forget_taken(mail, rc == -ERR_DENIED, out);
    if (rc == 0 || rc == -ERR_DENIED)
        (void)send_bytes(&smtp, "QUIT\r\n", 6); /* its answer would tell us nothing */
    return rc;
}

int smtp_send(const struct sock_spec *server, const struct smtp_send_mail *mail,
    int64_t deadline_ms, struct smtp_send_result *out)
{
    const int64_t left = deadline_ms - clock_now_ms();
    int fd;
    out->stage = "connect";
    if (left <= 0)
        return -ERR_TIMEOUT;
    int rc = sock_connect(server, SOCK_STREAM, left > INT_MAX ? INT_MAX : (int)left, &fd);
    if (rc != 0)
        return rc;
    rc = smtp_send_over(fd, mail, deadline_ms, out);
    const int saved = errno;
    close(fd);
    errno = saved;
    return rc;
}
