/* Any message, and a server that says anything: input is the message, a NUL, what the server says.
 * What we send has CRLF line ends alone, and one end at most: no mail hides in another. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/smtp_send.h"

enum { INPUT_MAX = 32768, SENT_MAX = 1 << 18 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_answer(const struct smtp_send_answer *answer)
{
    check(answer->code <= 999);
    for (const char *c = answer->text; *c != '\0'; c++)
        check((unsigned char)*c >= ' ' && *c != 127);
}

static void check_sent(const char *bytes, size_t len)
{
    size_t n_ends = 0;
    for (size_t i = 0; i < len; i++) {
        check(bytes[i] != '\n' || (i > 0 && bytes[i - 1] == '\r'));
        check(bytes[i] != '\r' || i + 1 == len || bytes[i + 1] == '\n');
        n_ends += i + 5 <= len && memcmp(bytes + i, "\r\n.\r\n", 5) == 0 ? 1 : 0;
    }
    check(n_ends <= 1);
}

static void talk(int ours, int theirs, struct slice message)
{
    static char sent[SENT_MAX];
    static const struct slice recipients[] = {{"b@example.net", 13}, {"c@example.net", 13}};
    struct smtp_send_answer answers[2] = {{.code = 0}, {.code = 0}};
    struct smtp_send_result result = {.answers = answers, .stage = ""};
    const struct smtp_send_mail mail = {.sender = slice_text("a@example.org"),
        .recipients = recipients,
        .n_recipients = 2,
        .message = message};
    const int rc = smtp_send_over(ours, &mail, clock_now_ms() + 10000, &result);
    size_t len = 0;
    ssize_t n;
    while (
        len < sizeof(sent) && (n = recv(theirs, sent + len, sizeof(sent) - len, MSG_DONTWAIT)) > 0)
        len += (size_t)n;
    check_sent(sent, len);
    check_answer(&result.last);
    for (int i = 0; i < 2; i++)
        check_answer(&answers[i]);
    check(rc != 0 || answers[0].code / 100 == 2 || answers[1].code / 100 == 2 ||
          answers[0].code / 100 == 3 || answers[1].code / 100 == 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *nul = len > 0 && len <= INPUT_MAX ? memchr(data, 0, len) : NULL;
    int ends[2];
    if (nul == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return 0;
    const size_t message_len = (size_t)(nul - data), said_len = len - message_len - 1;
    check(send(ends[1], nul + 1, said_len, MSG_NOSIGNAL) == (ssize_t)said_len);
    shutdown(ends[1], SHUT_WR);
    talk(ends[0], ends[1], slice_of(data, message_len));
    close(ends[0]);
    close(ends[1]);
    return 0;
}
