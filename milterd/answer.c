#include "milterd/answer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/log.h"

enum { LIBMILTER_LINE_MAX = 980 };

#define ON_CONNECTION                                                                              \
    {                                                                                              \
        [VERDICT_CONTINUE] = {SMFIS_CONTINUE, EFFECT_GO_ON},                                       \
        [VERDICT_ACCEPT] = {SMFIS_ACCEPT, EFFECT_ACCEPT_CONNECTION},                               \
        [VERDICT_REJECT] = {SMFIS_REJECT, EFFECT_REFUSE_CONNECTION},                               \
        [VERDICT_TEMPFAIL] = {SMFIS_TEMPFAIL, EFFECT_REFUSE_CONNECTION},                           \
        [VERDICT_DISCARD] = {SMFIS_TEMPFAIL, EFFECT_MISTAKE},                                      \
    }
#define ON_MESSAGE                                                                                 \
    {                                                                                              \
        [VERDICT_CONTINUE] = {SMFIS_CONTINUE, EFFECT_GO_ON},                                       \
        [VERDICT_ACCEPT] = {SMFIS_ACCEPT, EFFECT_ACCEPT_MESSAGE},                                  \
        [VERDICT_REJECT] = {SMFIS_REJECT, EFFECT_REFUSE_MESSAGE},                                  \
        [VERDICT_TEMPFAIL] = {SMFIS_TEMPFAIL, EFFECT_REFUSE_MESSAGE},                              \
        [VERDICT_DISCARD] = {SMFIS_DISCARD, EFFECT_DISCARD},                                       \
    }
/* accept and discard (of the whole message) differ from the other stages: one recipient must not
 * exempt the others. */
#define ON_RECIPIENT                                                                               \
    {                                                                                              \
        [VERDICT_CONTINUE] = {SMFIS_CONTINUE, EFFECT_GO_ON},                                       \
        [VERDICT_ACCEPT] = {SMFIS_CONTINUE, EFFECT_GO_ON},                                         \
        [VERDICT_REJECT] = {SMFIS_REJECT, EFFECT_REFUSE_RECIPIENT},                                \
        [VERDICT_TEMPFAIL] = {SMFIS_TEMPFAIL, EFFECT_REFUSE_RECIPIENT},                            \
        [VERDICT_DISCARD] = {SMFIS_DISCARD, EFFECT_DISCARD},                                       \
    }
#define ON_END                                                                                     \
    {                                                                                              \
        [VERDICT_CONTINUE] = {SMFIS_CONTINUE, EFFECT_DELIVER},                                     \
        [VERDICT_ACCEPT] = {SMFIS_ACCEPT, EFFECT_DELIVER},                                         \
        [VERDICT_REJECT] = {SMFIS_REJECT, EFFECT_REFUSE_MESSAGE},                                  \
        [VERDICT_TEMPFAIL] = {SMFIS_TEMPFAIL, EFFECT_REFUSE_MESSAGE},                              \
        [VERDICT_DISCARD] = {SMFIS_DISCARD, EFFECT_DISCARD},                                       \
    }
#define ON_COMMAND                                                                                 \
    {                                                                                              \
        [VERDICT_CONTINUE] = {SMFIS_CONTINUE, EFFECT_GO_ON},                                       \
        [VERDICT_ACCEPT] = {SMFIS_CONTINUE, EFFECT_GO_ON},                                         \
        [VERDICT_REJECT] = {SMFIS_REJECT, EFFECT_REFUSE_COMMAND},                                  \
        [VERDICT_TEMPFAIL] = {SMFIS_TEMPFAIL, EFFECT_REFUSE_COMMAND},                              \
        [VERDICT_DISCARD] = {SMFIS_TEMPFAIL, EFFECT_MISTAKE},                                      \
    }
#define ON_NOTHING                                                                                 \
    {                                                                                              \
        [VERDICT_CONTINUE] = {SMFIS_CONTINUE, EFFECT_NONE},                                        \
        [VERDICT_ACCEPT] = {SMFIS_CONTINUE, EFFECT_NONE},                                          \
        [VERDICT_REJECT] = {SMFIS_CONTINUE, EFFECT_NONE},                                          \
        [VERDICT_TEMPFAIL] = {SMFIS_CONTINUE, EFFECT_NONE},                                        \
        [VERDICT_DISCARD] = {SMFIS_CONTINUE, EFFECT_NONE},                                         \
    }

static const struct answer_row answer_table[STAGE_COUNT][VERDICT_COUNT] = {
    [STAGE_CONNECT] = ON_CONNECTION,
    [STAGE_HELO] = ON_CONNECTION,
    [STAGE_MAIL] = ON_MESSAGE,
    [STAGE_RCPT] = ON_RECIPIENT,
    [STAGE_DATA] = ON_MESSAGE,
    [STAGE_HEADER] = ON_MESSAGE,
    [STAGE_EOH] = ON_MESSAGE,
    [STAGE_BODY] = ON_MESSAGE,
    [STAGE_EOM] = ON_END,
    [STAGE_ABORT] = ON_NOTHING,
    [STAGE_CLOSE] = ON_NOTHING,
    [STAGE_UNKNOWN] = ON_COMMAND,
};

struct answer_row answer_row(enum stage stage, enum verdict verdict)
{
    LOG_INVARIANT(stage < STAGE_COUNT && verdict < VERDICT_COUNT);
    return answer_table[stage][verdict];
}

/* One line with each percent sign doubled; cut, at a character's start, where libmilter would
 * refuse it. */
static char *escape_line(const char *line, size_t len)
{
    char *out = malloc(2 * len + 1);
    size_t n = 0;

    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        size_t need = line[i] == '%' ? 2 : 1;

        if (n + need > LIBMILTER_LINE_MAX - 4) {
            while (n > 0 && ((unsigned char)line[i] & 0xC0) == 0x80) {
                n--;
                i--;
            }
            break;
        }
        if (line[i] == '%')
            out[n++] = '%';
        out[n++] = line[i];
    }
    out[n] = '\0';
    return out;
}

static unsigned split_lines(const char *text, char *lines[REPLY_LINES_MAX + 1])
{
    unsigned n = 0;

    while (text != NULL && n < REPLY_LINES_MAX) {
        size_t len = strcspn(text, "\n");

        lines[n] = escape_line(text, len);
        if (lines[n] == NULL)
            break;
        n++;
        if (text[len] == '\0')
            break;
        text += len + 1;
    }
    for (unsigned i = n; i <= REPLY_LINES_MAX; i++)
        lines[i] = NULL;
    return n;
}

static int set_lines(SMFICTX *ctx, char *code, char *dsn, char **l, unsigned n)
{
    if (n <= 1)
        return smfi_setreply(ctx, code, dsn, l[0]);
    return smfi_setmlreply(ctx, code, dsn, l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7], l[8],
        l[9], l[10], l[11], l[12], l[13], l[14], l[15], l[16], l[17], l[18], l[19], l[20], l[21],
        l[22], l[23], l[24], l[25], l[26], l[27], l[28], l[29], l[30], l[31], NULL);
}

void answer_set_reply(SMFICTX *ctx, const struct decision *decision)
{
    char code[8], dsn[REPLY_DSN_MAX + 1];
    char *lines[REPLY_LINES_MAX + 1];
    unsigned n;

    if (decision->code == 0)
        return;
    snprintf(code, sizeof code, "%u", (unsigned)decision->code);
    memcpy(dsn, decision->dsn, sizeof dsn);
    n = split_lines(decision->text, lines);
    /* The verdict stands all the same: the MTA then answers in its own words. */
    if (set_lines(ctx, code, dsn[0] != '\0' ? dsn : NULL, lines, n) != MI_SUCCESS)
        log_warn("libmilter did not take the reply %s %s", code, dsn);
    for (unsigned i = 0; i < n; i++)
        free(lines[i]);
}
