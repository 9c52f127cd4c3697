#include "tests/bench/load.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/xalloc.h"

static void put(struct buf *out, const void *data, size_t len)
{
    if (buf_put(out, data, len) != 0)
        log_fatal(EXIT_CODE_USAGE, "messages are too large for this program");
}

void packet_put(struct buf *out, uint8_t command, const void *data, size_t len)
{
    uint32_t length = htonl((uint32_t)len + 1);

    put(out, &length, 4);
    put(out, &command, 1);
    if (len > 0)
        put(out, data, len);
}

void mail_load(struct mail *mail, const char *file)
{
    FILE *in = fopen(file, "rb");
    int c, before = 0;

    if (in == NULL)
        log_fatal(EXIT_CODE_USAGE, "cannot read %s", file);
    buf_init(&mail->raw, SCRIPT_MAX);
    for (; (c = getc_unlocked(in)) != EOF; before = c) {
        if (c == '\n' && before != '\r')
            put(&mail->raw, "\r", 1);
        put(&mail->raw, &(uint8_t){(uint8_t)c}, 1);
    }
    fclose(in);
    mail->file = file;
    const uint8_t *end =
        mail->raw.len > 0 ? memmem(mail->raw.data, mail->raw.len, "\r\n\r\n", 4) : NULL;
    mail->header_bytes = end != NULL ? (size_t)(end - mail->raw.data) + 2 : mail->raw.len;
}

/* One command and its place in the protocol: left out under the NO_ flag, not waited for under the
 * NR_ flag. */
struct step {
    uint8_t command;
    uint32_t no, nr;
    struct slice macros; /* name NUL value NUL … */
};

static void step_put(
    struct script *script, uint32_t flags, const struct step *step, const void *data, size_t len)
{
    if ((flags & step->no) != 0)
        return;
    if (script->first == 0)
        script->first = step->command;
    if (step->macros.len > 0) {
        struct buf macros;
        buf_init(&macros, 4096);
        put(&macros, &step->command, 1);
        put(&macros, step->macros.data, step->macros.len);
        packet_put(&script->bytes, 'D', macros.data, macros.len);
        buf_clear(&macros);
    }
    packet_put(&script->bytes, step->command, data, len);
    if ((flags & step->nr) != 0)
        return;
    script->stops =
        xreallocarray(script->stops, (size_t)script->n_stops + 1, sizeof *script->stops);
    script->stops[script->n_stops++] = (struct stop){script->bytes.len, step->command};
}

/* End of the field that starts at pos: its last LF, or the end of the header. */
static size_t field_end(const struct mail *mail, size_t pos)
{
    const uint8_t *raw = mail->raw.data;

    for (;; pos++) {
        while (pos < mail->header_bytes && raw[pos] != '\n')
            pos++;
        if (pos + 1 >= mail->header_bytes || (raw[pos + 1] != ' ' && raw[pos + 1] != '\t'))
            return pos;
    }
}

static void headers_put(struct script *script, const struct mail *mail, uint32_t flags)
{
    static const struct step step = {.command = 'L', .no = NO_HEADERS, .nr = NR_HEADERS};
    const uint8_t *raw = mail->raw.data;
    size_t end;

    for (size_t pos = 0; pos < mail->header_bytes; pos = end + 1) {
        end = field_end(mail, pos);
        const uint8_t *colon = memchr(raw + pos, ':', end - pos);
        if (colon == NULL)
            continue;
        size_t value = (size_t)(colon - raw) + 1;
        struct buf field;
        buf_init(&field, SCRIPT_MAX);
        put(&field, raw + pos, (size_t)(colon - raw) - pos);
        put(&field, "", 1);
        if ((flags & LEADING_SPACE) == 0 && value < end &&
            (raw[value] == ' ' || raw[value] == '\t'))
            value++;
        for (; value < end; value++) {
            if (raw[value] != '\r')
                put(&field, raw + value, 1);
        }
        put(&field, "", 1);
        step_put(script, flags, &step, field.data, field.len);
        buf_clear(&field);
    }
}

#define MACROS(text)                                                                               \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static void mail_put(struct script *script, const struct mail *mail, uint32_t flags,
    const struct load_options *options)
{
    static const struct step sender = {.command = 'M', .no = NO_MAIL, .nr = NR_MAIL};
    static const struct step recipient = {.command = 'R',
        .no = NO_RCPT,
        .nr = NR_RCPT,
        .macros = MACROS(
            "{rcpt_mailer}\0local\0{rcpt_host}\0example.test\0{rcpt_addr}\0rcpt@example.test\0")};
    static const struct step data = {.command = 'T', .no = NO_DATA, .nr = NR_DATA};
    static const struct step end_of_headers = {.command = 'N', .no = NO_EOH, .nr = NR_EOH};
    static const struct step body = {.command = 'B', .no = NO_BODY, .nr = NR_BODY};
    static const struct step end = {.command = 'E'};
    static const char from[] = "<sender@example.test>\0SIZE=1000";

    buf_init(&script->bytes, SCRIPT_MAX);
    step_put(script, flags, &sender, from, sizeof from);
    for (int i = 0; i < options->recipients; i++) {
        char to[64];
        int len = snprintf(to, sizeof to, "<rcpt%d@example.test>", i);
        step_put(script, flags, &recipient, to, (size_t)len + 1);
    }
    step_put(script, flags, &data, NULL, 0);
    headers_put(script, mail, flags);
    step_put(script, flags, &end_of_headers, NULL, 0);
    size_t pos = mail->header_bytes + 2 <= mail->raw.len ? mail->header_bytes + 2 : mail->raw.len;
    for (size_t len; pos < mail->raw.len; pos += len) {
        len = mail->raw.len - pos < BODY_CHUNK ? mail->raw.len - pos : BODY_CHUNK;
        step_put(script, flags, &body, mail->raw.data + pos, len);
    }
    script->end_of_body = script->bytes.len;
    step_put(script, flags, &end, NULL, 0);
    script->recipients = (flags & (NO_RCPT | NR_RCPT)) != 0 ? 0 : options->recipients;
}

static void setup_put(struct script *script, uint32_t flags)
{
    static const struct step connect = {.command = 'C',
        .no = NO_CONNECT,
        .nr = NR_CONNECT,
        .macros = MACROS("j\0mx.example.test\0{daemon_name}\0MTA\0v\0load\0_\0client.example.test "
                         "[192.0.2.1]\0")};
    static const struct step helo = {.command = 'H', .no = NO_HELO, .nr = NR_HELO};
    static const char client[] = "client.example.test\0"
                                 "4\x30\x39"
                                 "192.0.2.1";
    static const char name[] = "client.example.test";

    buf_init(&script->bytes, SCRIPT_MAX);
    step_put(script, flags, &connect, client, sizeof client);
    step_put(script, flags, &helo, name, sizeof name);
}

const struct scripts *scripts_for(
    uint32_t flags, const struct mail *mails, int n_mails, const struct load_options *options)
{
    static struct scripts *known;

    for (struct scripts *scripts = known; scripts != NULL; scripts = scripts->next) {
        if (scripts->flags == flags)
            return scripts;
    }
    struct scripts *scripts = xcalloc(1, sizeof *scripts);
    scripts->flags = flags;
    setup_put(&scripts->setup, flags);
    scripts->mails = xcalloc((size_t)n_mails, sizeof *scripts->mails);
    for (int i = 0; i < n_mails; i++)
        mail_put(&scripts->mails[i], &mails[i], flags, options);
    scripts->next = known;
    known = scripts;
    return scripts;
}
