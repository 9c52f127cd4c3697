/* What posternctl test prints. */
#include <string.h>

#include "ctl/render.h"
#include "ctl/test.h"

/* A text of several lines, each indented. */
static void print_lines(FILE *out, const char *text)
{
    while (text[0] != 0) {
        size_t len = strcspn(text, "\n");
        fputs("       ", out);
        render_escaped(out, slice_of(text, len));
        fputc('\n', out);
        text += len + (text[len] == '\n');
    }
}

void test_print(FILE *out, const json_t *result, bool is_json)
{
    if (is_json) {
        render_json_line(out, result);
        return;
    }
    bool ok = json_is_true(json_object_get(result, "ok")), colour = render_can_colour(out);
    fprintf(out, "%s%s%s ", render_begin(ok ? RENDER_GREEN : RENDER_RED, colour),
        ok ? "ok    " : "FAILED", render_end(colour));
    render_escaped(out, slice_text(render_text_of(result, "file")));
    if (json_is_string(json_object_get(result, "test"))) {
        fprintf(out, ":%lld: ", (long long)render_number_of(result, "line"));
        render_escaped(out, slice_text(render_text_of(result, "test")));
    }
    fputc('\n', out);
    if (ok) {
        return;
    }
    size_t i;
    json_t *line;
    print_lines(out, render_text_of(result, "error"));
    json_array_foreach(json_object_get(result, "log"), i, line)
    {
        fputs("       log: ", out);
        render_log_line(out, slice_text(json_string_value(line)));
        fputc('\n', out);
    }
}

void test_print_sum(FILE *out, const struct test_sum *sum, bool is_json)
{
    if (is_json) {
        json_t *line = json_pack("{s:i, s:i}", "passed", sum->passed, "failed", sum->failed);
        render_json_line(out, line);
        json_decref(line);
    } else {
        fprintf(out, "%d passed, %d failed\n", sum->passed, sum->failed);
    }
}
