#include "ctl/report.h"

#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "ctl/render.h"

json_t *report_reply(const struct smtp_reply *reply)
{
    if (reply->code == 0) {
        return json_null();
    }
    return json_pack("{s:i, s:o, s:o}", "code", (int)reply->code, "dsn",
        render_json_text(slice_text(reply->dsn)), "text", render_json_text(reply->text));
}

json_t *report_action(const struct action *action)
{
    const struct action_info *info = action_info(action->kind);
    json_t *object = json_object();
    json_object_set_new(object, "action", json_string(info != NULL ? info->name : "?"));
    const struct {
        enum action_field field;
        const char *member;
        struct slice value;
    } texts[] = {
        {ACTION_HAS_NAME, "name", action->name},
        {ACTION_HAS_VALUE, "value", action->value},
        {ACTION_HAS_ADDRESS, "address", action->address},
        {ACTION_HAS_ARGS, "args", action->args},
    };
    unsigned fields = info != NULL ? info->fields : 0;
    if ((fields & ACTION_HAS_INDEX) != 0) {
        json_object_set_new(object, "index", json_integer(action->index));
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if ((fields & texts[i].field) != 0) {
            json_object_set_new(object, texts[i].member, render_json_text(texts[i].value));
        }
    }
    if ((fields & ACTION_HAS_BODY) != 0) {
        size_t shown = action->body.len < REPORT_BODY_MAX ? action->body.len : REPORT_BODY_MAX;
        json_object_set_new(object, "size", json_integer((json_int_t)action->body.len));
        json_object_set_new(object, "body", render_json_text(slice_of(action->body.data, shown)));
    }
    return object;
}

static json_t *text_or_null(const char *text)
{
    return text != NULL ? render_json_text(slice_text(text)) : json_null();
}

json_t *report_parts(struct mime *mime)
{
    json_t *list = json_array();
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(mime, &n);
    for (uint32_t i = 0; i < n; i++) {
        const struct mime_part *part = parts[i];
        if (part->is_container) {
            continue;
        }
        json_t *names = json_array();
        for (uint32_t k = 0; k < part->n_filenames; k++) {
            json_array_append_new(names, text_or_null(part->filenames[k]));
        }
        json_int_t size = (json_int_t)mime_content(mime, part).len;
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:o, s:I}", "path", text_or_null(part->path), "type",
                      text_or_null(part->type), "filename", text_or_null(part->filename),
                      "filenames", names, "size", size));
    }
    return list;
}

json_t *report_defects(struct mime *mime)
{
    json_t *list = json_array();
    uint32_t n;
    const struct mime_defect *defects = mime_defects(mime, &n);
    for (uint32_t i = 0; i < n; i++) {
        const struct mime_defect *defect = &defects[i];
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:b}", "kind", text_or_null(defect->kind), "part",
                      text_or_null(defect->part != NULL ? defect->part->path : NULL), "detail",
                      text_or_null(defect->detail), "ambiguous", (int)defect->is_ambiguous));
    }
    return list;
}

json_t *report_refusal(struct slice address, enum verdict verdict, const struct smtp_reply *reply)
{
    return json_pack("{s:o, s:s, s:o}", "address", render_json_text(address_strip(address)),
        "verdict", verdict_name(verdict), "reply", report_reply(reply));
}

void report_print_json(FILE *out, const json_t *report)
{
    json_t *line = json_deep_copy(report);
    json_object_del(line, "shown");
    if (json_array_size(json_object_get(line, "recipients")) == 0) {
        json_object_del(line, "recipients");
    }
    render_json_line(out, line);
    json_decref(line);
}

enum { SHOWN_MAX = 600 }; /* bytes of one value that people get to see */

static void print_text(FILE *out, const json_t *value)
{
    char *text = render_value(value);
    size_t len = strlen(text);
    render_escaped(out, slice_of(text, len < SHOWN_MAX ? len : SHOWN_MAX));
    fputs(len > SHOWN_MAX ? "..." : "", out);
    free(text);
}

static void print_reply(FILE *out, const json_t *reply)
{
    if (!json_is_object(reply)) {
        return;
    }
    const char *dsn = json_string_value(json_object_get(reply, "dsn"));
    fprintf(out, " %lld%s", (long long)json_integer_value(json_object_get(reply, "code")),
        dsn != NULL && dsn[0] != 0 ? " " : "");
    render_escaped(out, slice_text(dsn));
    fputs(" \"", out);
    print_text(out, json_object_get(reply, "text"));
    fputc('"', out);
}

static enum render_colour verdict_colour(const char *verdict)
{
    enum verdict which;
    if (verdict_from_name(verdict, &which) < 0) {
        return RENDER_RED;
    }
    return which == VERDICT_CONTINUE || which == VERDICT_ACCEPT ? RENDER_GREEN : RENDER_YELLOW;
}

static void print_head(FILE *out, const json_t *report)
{
    const json_t *shown = json_object_get(report, "shown");
    const char *verdict = json_string_value(json_object_get(report, "verdict"));
    const char *where = json_string_value(json_object_get(shown, "where"));
    json_int_t delay_ms = json_integer_value(json_object_get(shown, "delay_ms"));
    bool colour = render_can_colour(out);
    verdict = verdict != NULL ? verdict : "error";
    print_text(out, json_object_get(report, "file"));
    fprintf(out, ": %s%s%s", render_begin(verdict_colour(verdict), colour), verdict,
        render_end(colour));
    print_reply(out, json_object_get(report, "reply"));
    if (delay_ms > 0) {
        fprintf(out, " after %.3g s", (double)delay_ms / 1000.0);
    }
    if (where != NULL && where[0] != 0) {
        fputs(" at ", out);
        render_escaped(out, slice_text(where));
    }
    fputc('\n', out);
}

/* "  label a 1, b 2": an object's members but for the one that the label shows. */
static void print_row(FILE *out, const char *label, json_t *object, const char *shown_by_label)
{
    fprintf(out, "  %s", label);
    const char *name;
    json_t *value;
    bool is_first = true;
    json_object_foreach(object, name, value)
    {
        if (strcmp(name, shown_by_label) == 0 || json_is_null(value) ||
            (json_is_array(value) && json_array_size(value) == 0)) {
            continue;
        }
        fprintf(out, "%s%s ", is_first ? " " : ", ", name);
        print_text(out, value);
        is_first = false;
    }
    fputc('\n', out);
}

static void print_rows(
    FILE *out, const json_t *report, const char *list, const char *label, const char *label_member)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(report, list), i, item)
    {
        const char *word = json_string_value(json_object_get(item, label_member));
        if (label == NULL && word != NULL) {
            print_row(out, word, item, label_member);
        } else {
            print_row(out, label != NULL ? label : "?", item, "");
        }
    }
}

static void print_refusals(FILE *out, const json_t *report)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(report, "recipients"), i, item)
    {
        fputs("  recipient ", out);
        print_text(out, json_object_get(item, "address"));
        fputs(": ", out);
        print_text(out, json_object_get(item, "verdict"));
        print_reply(out, json_object_get(item, "reply"));
        fputc('\n', out);
    }
}

static void print_stages(FILE *out, const json_t *report)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(report, "stages"), i, item)
    {
        fputs("  ", out);
        print_text(out, json_object_get(item, "stage"));
        fputs(": ", out);
        print_text(out, json_object_get(item, "answer"));
        print_reply(out, json_object_get(item, "reply"));
        fputc('\n', out);
    }
}

static void print_log(FILE *out, const json_t *report)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(report, "log"), i, item)
    {
        fputs("  log ", out);
        render_log_line(out, slice_text(json_string_value(item)));
        fputc('\n', out);
    }
}

static void print_error(FILE *out, const json_t *report)
{
    const char *error = json_string_value(json_object_get(report, "error"));
    for (const char *line = error; line != NULL && line[0] != 0;) {
        size_t len = strcspn(line, "\n");
        fputs(line == error ? "  error " : "    ", out);
        render_escaped(out, slice_of(line, len));
        fputc('\n', out);
        line += len + (line[len] == '\n');
    }
}

void report_print_text(FILE *out, const json_t *report)
{
    print_head(out, report);
    print_error(out, report);
    print_stages(out, report);
    print_refusals(out, report);
    print_rows(out, report, "actions", NULL, "action");
    print_rows(out, report, "parts", "part", "");
    print_rows(out, report, "defects", "defect", "");
    print_log(out, report);
    fflush(out);
}
