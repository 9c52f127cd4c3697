#include "ctl/mta_answer.h"

#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>
#include <string.h>

#include "common/address.h"
#include "common/text.h"
#include "ctl/milter_wire.h"
#include "ctl/report.h"

static const struct {
    char command;
    enum verdict verdict;
} plain_answers[] = {
    {SMFIR_CONTINUE, VERDICT_CONTINUE},
    {SMFIR_ACCEPT, VERDICT_ACCEPT},
    {SMFIR_REJECT, VERDICT_REJECT},
    {SMFIR_TEMPFAIL, VERDICT_TEMPFAIL},
    {SMFIR_DISCARD, VERDICT_DISCARD},
    {SMFIR_CONN_FAIL, VERDICT_TEMPFAIL},
    {SMFIR_SHUTDOWN, VERDICT_TEMPFAIL},
    {SMFIR_SKIP, VERDICT_CONTINUE},
};

/* "5.7.1" at the start of a line; its length, or 0. */
static size_t dsn_length(struct slice line)
{
    size_t i = 0;
    int n_dots = 0;
    while (i < line.len && (text_is_digit(line.data[i]) || line.data[i] == '.')) {
        n_dots += line.data[i] == '.';
        i++;
    }
    bool is_dsn = n_dots == 2 && i <= REPLY_DSN_MAX && i > 4 && line.data[1] == '.';
    return is_dsn ? i : 0;
}

/* One line of a reply, "550-5.7.1 text": takes code and status off. */
static struct slice reply_line(struct slice line, struct smtp_reply *reply)
{
    if (line.len < 3 || !text_is_digit(line.data[0]) || !text_is_digit(line.data[1]) ||
        !text_is_digit(line.data[2])) {
        return line;
    }
    reply->code =
        (uint16_t)((line.data[0] - '0') * 100 + (line.data[1] - '0') * 10 + (line.data[2] - '0'));
    size_t skip = line.len > 3 ? 4 : 3;
    line = slice_of(line.data + skip, line.len - skip);
    size_t dsn = dsn_length(line);
    if (dsn > 0) {
        memcpy(reply->dsn, line.data, dsn);
        reply->dsn[dsn] = 0;
        dsn += dsn < line.len && line.data[dsn] == ' ';
    }
    return slice_of(line.data + dsn, line.len - dsn);
}

/* "550-5.7.1 one CRLF 550 5.7.1 two" to code, status and lines separated by LF. */
static void reply_from_text(struct slice text, struct arena *arena, struct smtp_reply *out)
{
    char *lines = arena_alloc(arena, text.len + 1);
    size_t n = 0;
    for (size_t at = 0; at < text.len;) {
        const char *end = memchr(text.data + at, '\n', text.len - at);
        size_t len = end != NULL ? (size_t)(end - text.data) - at : text.len - at;
        size_t next = at + len + 1;
        len -= len > 0 && text.data[at + len - 1] == '\r';
        struct slice line = reply_line(slice_of(text.data + at, len), out);
        if (n > 0) {
            lines[n++] = '\n';
        }
        memcpy(lines + n, line.data, line.len);
        n += line.len;
        at = next;
    }
    /* The status code and the line ends taken off make up for the LF put between lines. */
    out->text = slice_of(lines, n);
}

bool mta_answer_from_packet(
    char command, struct slice data, struct arena *arena, struct mta_answer *out)
{
    *out = (struct mta_answer){.is_skip = command == SMFIR_SKIP};
    for (size_t i = 0; i < sizeof(plain_answers) / sizeof(plain_answers[0]); i++) {
        if (plain_answers[i].command == command) {
            out->verdict = plain_answers[i].verdict;
            return true;
        }
    }
    struct slice text;
    if (command != SMFIR_REPLYCODE || !milter_take_text(&data, &text)) {
        return false;
    }
    reply_from_text(text, arena, &out->reply);
    out->verdict = out->reply.code >= 500 ? VERDICT_REJECT : VERDICT_TEMPFAIL;
    return true;
}

const char *mta_answer_name(const struct mta_answer *answer)
{
    return answer->is_skip ? "skip" : verdict_name(answer->verdict);
}

/* Which fields follow one another in each packet; a change of header with an empty value deletes.
 */
static const struct {
    char command;
    enum action_kind kind;
    unsigned fields; /* in the order index, name, value, address, args, body */
} changes[] = {
    {SMFIR_ADDHEADER, ACTION_ADD_HEADER, ACTION_HAS_NAME | ACTION_HAS_VALUE},
    {SMFIR_INSHEADER, ACTION_INSERT_HEADER, ACTION_HAS_INDEX | ACTION_HAS_NAME | ACTION_HAS_VALUE},
    {SMFIR_CHGHEADER, ACTION_SET_HEADER, ACTION_HAS_INDEX | ACTION_HAS_NAME | ACTION_HAS_VALUE},
    {SMFIR_CHGFROM, ACTION_SET_SENDER, ACTION_HAS_ADDRESS | ACTION_HAS_ARGS},
    {SMFIR_ADDRCPT, ACTION_ADD_RECIPIENT, ACTION_HAS_ADDRESS},
    {SMFIR_ADDRCPT_PAR, ACTION_ADD_RECIPIENT, ACTION_HAS_ADDRESS | ACTION_HAS_ARGS},
    {SMFIR_DELRCPT, ACTION_DELETE_RECIPIENT, ACTION_HAS_ADDRESS},
    {SMFIR_REPLBODY, ACTION_REPLACE_BODY, ACTION_HAS_BODY},
    {SMFIR_QUARANTINE, ACTION_HOLD, ACTION_HAS_VALUE},
};

static bool take_fields(struct slice data, unsigned fields, struct action *out)
{
    if ((fields & ACTION_HAS_BODY) != 0) {
        out->body = data;
        return true;
    }
    if ((fields & ACTION_HAS_INDEX) != 0 && !milter_take_u32(&data, &out->index)) {
        return false;
    }
    if ((fields & ACTION_HAS_NAME) != 0 && !milter_take_text(&data, &out->name)) {
        return false;
    }
    if ((fields & ACTION_HAS_VALUE) != 0 && !milter_take_text(&data, &out->value)) {
        return false;
    }
    if ((fields & ACTION_HAS_ADDRESS) != 0) {
        if (!milter_take_text(&data, &out->address)) {
            return false;
        }
        out->address = address_strip(out->address);
    }
    /* Arguments may be left out. */
    if ((fields & ACTION_HAS_ARGS) != 0) {
        (void)milter_take_text(&data, &out->args);
    }
    return true;
}

/* The blank after the colon, which the milter supplies when it was agreed on, is not part of the
 * value. */
static void strip_leading_blank(struct action *action)
{
    bool is_header = action->kind == ACTION_ADD_HEADER || action->kind == ACTION_INSERT_HEADER ||
                     action->kind == ACTION_SET_HEADER;
    if (is_header && action->value.len > 0 && action->value.data[0] == ' ') {
        action->value = slice_of(action->value.data + 1, action->value.len - 1);
    }
}

bool mta_action_from_packet(char command, struct slice data, struct action *out)
{
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        if (changes[i].command != command) {
            continue;
        }
        *out = (struct action){.kind = changes[i].kind};
        if (!take_fields(data, changes[i].fields, out)) {
            return false;
        }
        if (out->kind == ACTION_SET_HEADER && out->value.len == 0) {
            out->kind = ACTION_DELETE_HEADER;
        }
        strip_leading_blank(out);
        return true;
    }
    return false;
}

static void append_body(json_t *action, struct slice body)
{
    json_t *more = report_action(&(struct action){.kind = ACTION_REPLACE_BODY, .body = body});
    const char *old_text = json_string_value(json_object_get(action, "body"));
    const char *more_text = json_string_value(json_object_get(more, "body"));
    json_int_t size = json_integer_value(json_object_get(action, "size"));
    if (size < REPORT_BODY_MAX && old_text != NULL && more_text != NULL) {
        json_object_set_new(action, "body", json_sprintf("%s%s", old_text, more_text));
    }
    json_object_set_new(action, "size", json_integer(size + (json_int_t)body.len));
    json_decref(more);
}

void mta_add_action(json_t *actions, const struct action *action)
{
    json_t *last = json_array_get(actions, json_array_size(actions) - 1);
    const char *name = json_string_value(json_object_get(last, "action"));
    const struct action_info *info = action_info(action->kind);
    if (action->kind == ACTION_REPLACE_BODY && name != NULL && strcmp(name, info->name) == 0) {
        append_body(last, action->body);
    } else {
        json_array_append_new(actions, report_action(action));
    }
}
