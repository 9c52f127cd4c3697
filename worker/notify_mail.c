/* A notice as a mail. */
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/address.h"
#include "common/arena.h"
#include "common/err.h"
#include "common/text.h"
#include "worker/mime.h"
#include "worker/notify.h"
#include "worker/trap.h"

enum { LINE_MAX_BYTES = 990, BASE64_AT_ONCE = 57, ANSWERS_MAX = 400 };

/* English names, whatever the locale. */
static void put_date(struct buf *out, int64_t time_secs, int *rc)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const time_t when = (time_t)time_secs;
    struct tm utc;
    if (gmtime_r(&when, &utc) == NULL) {
        *rc = -ERR_BAD;
        return;
    }
    *rc = buf_printf(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[utc.tm_wday],
        utc.tm_mday, months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

/* Folded with LF by the encoder; mail has CRLF. */
static int put_subject(struct buf *out, struct slice subject)
{
    struct arena *arena = arena_new();
    const struct slice value = mime_encode_header(subject, strlen("Subject"), arena);
    int rc = buf_printf(out, "Subject: ");
    for (size_t i = 0; i < value.len && rc == 0; i++) {
        const char c = value.data[i];
        rc = c == '\n' ? buf_put(out, "\r\n", 2) : c == '\r' ? 0 : buf_put(out, &c, 1);
    }
    arena_free(arena);
    return rc == 0 ? buf_put(out, "\r\n", 2) : rc;
}

/* Only what looks like one: <printable@printable>. */
static bool is_message_id(struct slice id)
{
    if (id.len < 5 || id.len > ANSWERS_MAX || id.data[0] != '<' || id.data[id.len - 1] != '>')
        return false;
    for (size_t i = 1; i + 1 < id.len; i++) {
        const char c = id.data[i];
        if (c <= ' ' || c >= 127 || c == '<' || c == '>')
            return false;
    }
    return memchr(id.data, '@', id.len) != NULL;
}

static int put_answers(struct buf *out, struct slice id)
{
    id = text_after_blanks(id);
    while (id.len > 0 && text_is_blank(id.data[id.len - 1]))
        id.len--;
    if (!is_message_id(id))
        return 0;
    return buf_printf(out, "In-Reply-To: %.*s\r\nReferences: %.*s\r\n", (int)id.len, id.data,
        (int)id.len, id.data);
}

static bool is_plain(struct slice text)
{
    size_t column = 0;
    for (size_t i = 0; i < text.len; i++) {
        column = text.data[i] == '\n' ? 0 : column + 1;
        if ((unsigned char)text.data[i] >= 127 || column > LINE_MAX_BYTES)
            return false;
    }
    return true;
}

static int put_lines(struct buf *out, struct slice text)
{
    int rc = 0;
    for (size_t i = 0; i < text.len && rc == 0; i++)
        rc = text.data[i] == '\n' ? buf_put(out, "\r\n", 2) : buf_put(out, &text.data[i], 1);
    const bool is_ended = text.len > 0 && text.data[text.len - 1] == '\n';
    return rc == 0 && !is_ended ? buf_put(out, "\r\n", 2) : rc;
}

/* Lines end with CRLF under the encoding, too (RFC 2045 section 6.8). */
static int put_base64(struct buf *out, struct slice plain)
{
    struct buf lines;
    buf_init(&lines, 2 * plain.len + 2);
    int rc = put_lines(&lines, plain);
    const struct slice text = buf_slice(&lines);
    for (size_t at = 0; at < text.len && rc == 0; at += BASE64_AT_ONCE) {
        const size_t left = text.len - at;
        char *line = g_base64_encode(
            (const guchar *)text.data + at, left < BASE64_AT_ONCE ? left : BASE64_AT_ONCE);
        rc = buf_printf(out, "%s\r\n", line);
        g_free(line);
    }
    buf_clear(&lines);
    return rc;
}

static int put_head(
    struct buf *out, const struct notify_mail *mail, bool is_plain_text, int64_t time_secs)
{
    const struct slice domain = address_domain(slice_text(mail->from));
    int rc = 0;
    put_date(out, time_secs, &rc);
    if (rc == 0)
        rc = buf_printf(out, "From: <%s>\r\nTo: <%s>\r\n", mail->from, mail->to);
    if (rc == 0)
        rc = put_subject(out, mail->subject);
    if (rc == 0)
        rc = buf_printf(out, "Message-ID: <%s@%.*s>\r\n", mail->name,
            domain.len > 0 ? (int)domain.len : 9, domain.len > 0 ? domain.data : "localhost");
    if (rc == 0)
        rc = put_answers(out, mail->answers);
    if (rc == 0)
        rc = buf_printf(out,
            "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n",
            is_plain_text ? "7bit" : "base64");
    return rc;
}

int notify_mail_put(struct buf *out, const struct notify_mail *mail, int64_t time_secs)
{
    const bool plain = is_plain(mail->text);
    char mark[TRAP_MARK_MAX];
    struct buf body;
    buf_init(&body, 4 * NOTIFY_TEXT_MAX);
    int rc = plain ? put_lines(&body, mail->text) : put_base64(&body, mail->text);
    if (rc == 0)
        rc = put_head(out, mail, plain, time_secs);
    if (rc == 0) {
        trap_mark_make(mail->secret, mail->name, time_secs, buf_slice(&body), mark);
        rc = buf_printf(out, "%s: %s\r\n\r\n", NOTIFY_MARK_NAME, mark);
    }
    if (rc == 0)
        rc = buf_put(out, body.data, body.len);
    buf_clear(&body);
    return rc;
}
