/*
 * libinih splits a line that is longer than its buffer into two, ignores what follows a section's
 * "]", goes on with a value on an indented line, and does not tell its callback the line. So it
 * gets its lines from a reader of ours, which counts them and refuses what it would misread;
 * libinih does the syntax of sections, names, values and comments.
 */
#include "common/conf_read.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"

struct lines {
    struct slice rest;
    int line; /* number of the last one given out */
    const struct conf_reader *reader;
    char *error; /* malloc'd; the first one, which ends the reading */
};

/* Settings of libinih are global; these are the same for every caller. */
static void set_up_library(void)
{
    static char comment_marks[] = ";#";
    ini_use_stack = false;
    ini_max_line = CONF_LINE_MAX + 2; /* line feed and NUL */
    ini_initial_alloc = ini_max_line;
    ini_allow_realloc = false;
    ini_allow_multiline = false;
    ini_allow_bom = true;
    ini_allow_no_value = false;
    ini_allow_inline_comments = true;
    ini_inline_comment_prefixes = comment_marks;
    ini_start_comment_prefixes = comment_marks;
    ini_stop_on_first_error = true;
}

/* The line without its end and without blanks around it. */
static struct slice trim(struct slice line)
{
    while (line.len > 0 && text_is_blank(line.data[0]))
        line = slice_of(line.data + 1, line.len - 1);
    while (line.len > 0 && text_is_blank(line.data[line.len - 1]))
        line.len--;
    return line;
}

static char *check_bytes(struct slice line)
{
    if (line.len > CONF_LINE_MAX)
        return xasprintf("line of %zu bytes; at most %d are allowed", line.len, CONF_LINE_MAX);
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return xasprintf("control character (0x%02X) in column %zu", c, i + 1);
    }
    if (!text_is_utf8(line))
        return xstrdup("not valid UTF-8");
    return NULL;
}

/* A section line: "[name]" and perhaps a comment. */
static char *check_section(struct lines *lines, struct slice line)
{
    const char *end = memchr(line.data, ']', line.len);
    if (end == NULL)
        return xstrdup("section without \"]\"");
    size_t name_len = (size_t)(end - line.data) - 1;
    struct slice rest = trim(slice_of(end + 1, line.len - name_len - 2));
    bool is_comment = rest.len > 0 && (rest.data[0] == ';' || rest.data[0] == '#');
    if (rest.len > 0 && !is_comment)
        return xstrdup("text after the section's \"]\"");
    char name[CONF_SECTION_MAX + 1];
    if (name_len > CONF_SECTION_MAX)
        return xasprintf(
            "section name of %zu bytes; at most %d are allowed", name_len, CONF_SECTION_MAX);
    memcpy(name, line.data + 1, name_len);
    name[name_len] = '\0';
    return lines->reader->on_section(lines->reader->context, lines->line, name);
}

static char *check_line(struct lines *lines, struct slice line)
{
    char *error = check_bytes(line);
    struct slice trimmed = trim(line);
    if (error == NULL && trimmed.len > 0 && trimmed.data[0] == '[')
        error = check_section(lines, trimmed);
    return error;
}

static struct slice next_line(struct lines *lines)
{
    const char *end = memchr(lines->rest.data, '\n', lines->rest.len);
    size_t len = end != NULL ? (size_t)(end - lines->rest.data) : lines->rest.len;
    struct slice line = slice_of(lines->rest.data, len);
    size_t step = end != NULL ? len + 1 : len;
    lines->rest = slice_of(lines->rest.data + step, lines->rest.len - step);
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* An ini_reader. NULL ends the reading: at the end, and after an error. */
static char *give_line(char *out, int out_bytes, void *context)
{
    struct lines *lines = context;
    if (lines->rest.len == 0 || lines->error != NULL)
        return NULL;
    struct slice line = next_line(lines);
    lines->line++;
    if (lines->line == 1 && line.len >= 3 && memcmp(line.data, "\xEF\xBB\xBF", 3) == 0)
        line = slice_of(
            line.data + 3, line.len - 3); /* a byte order mark would hide a section from us */
    lines->error = check_line(lines, line);
    if (lines->error != NULL || line.len + 2 > (size_t)out_bytes)
        return NULL;
    memcpy(out, line.data, line.len);
    memcpy(out + line.len, "\n", 2);
    return out;
}

/* An ini_handler: nonzero is success. */
static int take_value(void *context, const char *section, const char *name, const char *value)
{
    struct lines *lines = context;
    lines->error =
        lines->reader->on_value(lines->reader->context, lines->line, section, name, value);
    return lines->error == NULL ? 1 : 0;
}

int conf_read_text(
    struct slice text, const char *name, const struct conf_reader *reader, char **error_out)
{
    struct lines lines = {.rest = text, .reader = reader};
    set_up_library();
    int rc = ini_parse_stream(give_line, &lines, take_value, &lines);
    if (rc != 0 && lines.error == NULL)
        lines.error = xstrdup(rc > 0 ? "neither [section] nor name = value" : "out of memory");
    if (lines.error == NULL)
        return 0;
    *error_out = xasprintf("%s:%d: %s", name, lines.line, lines.error);
    free(lines.error);
    return -ERR_BAD;
}

int conf_read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT ? -ERR_NOTFOUND : -ERR_SYSTEM;
    char chunk[16384];
    ssize_t n;
    int rc = 0;
    buf_reset(out);
    while (rc == 0 && (n = read(fd, chunk, sizeof(chunk))) != 0) {
        if (n > 0)
            rc = buf_put(out, chunk, (size_t)n);
        else if (errno != EINTR)
            rc = -ERR_SYSTEM;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return rc;
}
