#include "ctl/sendmail_file.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/xalloc.h"

enum {
    MAX_FILTERS = sizeof(((struct sendmail_file *)0)->filters) /
                  sizeof(((struct sendmail_file *)0)->filters[0])
};
enum {
    MAX_DAEMONS = sizeof(((struct sendmail_file *)0)->daemons) /
                  sizeof(((struct sendmail_file *)0)->daemons[0])
};

/* The options that are looked at, by their names in the two kinds of file. */
static const struct {
    const char *cf, *mc;
    size_t offset;
} options[] = {
    {"InputMailFilters", "confINPUT_MAIL_FILTERS", offsetof(struct sendmail_file, inputs)},
    {"MaxMessageSize", "confMAX_MESSAGE_SIZE", offsetof(struct sendmail_file, max_message)},
    {"RunAsUser", "confRUN_AS_USER", offsetof(struct sendmail_file, run_as)},
    {"DontBlameSendmail", "confDONT_BLAME_SENDMAIL", offsetof(struct sendmail_file, dont_blame)},
    {"Milter.macros.connect", "confMILTER_MACROS_CONNECT",
        offsetof(struct sendmail_file, macros[0])},
    {"Milter.macros.helo", "confMILTER_MACROS_HELO", offsetof(struct sendmail_file, macros[1])},
    {"Milter.macros.envfrom", "confMILTER_MACROS_ENVFROM",
        offsetof(struct sendmail_file, macros[2])},
    {"Milter.macros.envrcpt", "confMILTER_MACROS_ENVRCPT",
        offsetof(struct sendmail_file, macros[3])},
    {"Milter.macros.data", "confMILTER_MACROS_DATA", offsetof(struct sendmail_file, macros[4])},
    {"Milter.macros.eoh", "confMILTER_MACROS_EOH", offsetof(struct sendmail_file, macros[5])},
    {"Milter.macros.eom", "confMILTER_MACROS_EOM", offsetof(struct sendmail_file, macros[6])},
};
enum { N_OPTIONS = sizeof(options) / sizeof(options[0]) };

static char *trimmed(char *text)
{
    text += strspn(text, " \t\r\n");
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL) {
        text[--len] = 0;
    }
    return text;
}

static void set_option(struct sendmail_file *file, size_t offset, const char *value)
{
    char **slot = (char **)(void *)((char *)file + offset);
    free(*slot);
    *slot = xstrdup(value);
}

static void add_filter(struct sendmail_file *file, const char *name, const char *equates)
{
    if (file->n_filters < MAX_FILTERS && name[0] != 0) {
        file->filters[file->n_filters].name = xstrdup(name);
        file->filters[file->n_filters++].equates = xstrdup(equates);
    }
}

static void add_daemon(struct sendmail_file *file, const char *equates)
{
    if (file->n_daemons < MAX_DAEMONS) {
        file->daemons[file->n_daemons++] = xstrdup(equates);
    }
}

/* "Xname, equates" */
static void take_filter_line(struct sendmail_file *file, char *line)
{
    char *comma = strchr(line, ',');
    if (comma != NULL) {
        *comma = 0;
        add_filter(file, trimmed(line + 1), trimmed(comma + 1));
    }
}

/* "O Name=value" */
static void take_option_line(struct sendmail_file *file, char *line)
{
    char *equals = strchr(line, '=');
    if (line[1] != ' ' || equals == NULL) {
        return;
    }
    *equals = 0;
    const char *name = trimmed(line + 1), *value = trimmed(equals + 1);
    if (strcasecmp(name, "DaemonPortOptions") == 0) {
        add_daemon(file, value);
    }
    for (int i = 0; i < N_OPTIONS; i++) {
        if (strcasecmp(options[i].cf, name) == 0) {
            set_option(file, options[i].offset, value);
        }
    }
}

/* A line that begins with a blank goes on with the one before: put together in place. */
static void join_lines(char *text)
{
    for (char *at = text; *at != 0; at++) {
        if (at[0] == '\n' && (at[1] == ' ' || at[1] == '\t')) {
            at[0] = ' ';
        }
    }
}

void sendmail_file_parse_cf(struct sendmail_file *file, char *text)
{
    char *rest = NULL;
    join_lines(text);
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (line[0] == 'X') {
            take_filter_line(file, line);
        } else if (line[0] == 'O') {
            take_option_line(file, line);
        }
    }
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* m4's comments: from the word dnl to the end of its line. */
static void blank_comments(char *text)
{
    for (char *at = text; (at = strstr(at, "dnl")) != NULL;) {
        if ((at > text && is_word(at[-1])) || is_word(at[3])) {
            at += 3;
            continue;
        }
        size_t len = strcspn(at, "\n");
        memset(at, ' ', len);
        at += len;
    }
}

/* The next argument of a macro's call, quotes taken off; *at moves behind it. Malloc'd; NULL at the
 * end. */
static char *next_argument(const char **at)
{
    const char *start = *at + strspn(*at, " \t\r\n,"), *end = start;
    int depth = 0;
    if (*start == ')' || *start == 0) {
        return NULL;
    }
    while (*end != 0 && (depth > 0 || (*end != ',' && *end != ')'))) {
        depth += *end == '`' ? 1 : *end == '\'' && depth > 0 ? -1 : 0;
        end++;
    }
    *at = end;
    bool is_quoted = *start == '`' && end > start + 1 && end[-1] == '\'';
    char *text = is_quoted ? xmemdup0(start + 1, (size_t)(end - start) - 2)
                           : xmemdup0(start, (size_t)(end - start));
    char *clean = xstrdup(trimmed(text));
    free(text);
    return clean;
}

static void take_define(struct sendmail_file *file, const char *name, const char *value)
{
    for (int i = 0; i < N_OPTIONS; i++) {
        if (strcmp(options[i].mc, name) == 0) {
            set_option(file, options[i].offset, value);
        }
    }
}

static void take_mail_filter(struct sendmail_file *file, const char *name, const char *equates)
{
    add_filter(file, name, equates);
}

/* INPUT_MAIL_FILTER defines one, and appends it to those that are used. */
static void take_input_filter(struct sendmail_file *file, const char *name, const char *equates)
{
    add_filter(file, name, equates);
    char *inputs = file->inputs != NULL ? xasprintf("%s, %s", file->inputs, name) : xstrdup(name);
    free(file->inputs);
    file->inputs = inputs;
}

static void take_daemon(struct sendmail_file *file, const char *equates, const char *none)
{
    (void)none;
    add_daemon(file, equates);
}

static const struct {
    const char *word;
    void (*take)(struct sendmail_file *file, const char *first, const char *second);
} macros[] = {
    {"INPUT_MAIL_FILTER", take_input_filter},
    {"MAIL_FILTER", take_mail_filter},
    {"DAEMON_OPTIONS", take_daemon},
    {"define", take_define},
};

/* A macro's call at text, or NULL; else what follows its opening parenthesis. */
static const char *call_at(const char *text, size_t which)
{
    size_t len = strlen(macros[which].word);
    return strncmp(text, macros[which].word, len) == 0 && text[len] == '(' ? text + len + 1 : NULL;
}

void sendmail_file_parse_mc(struct sendmail_file *file, char *text)
{
    blank_comments(text);
    for (const char *at = text; *at != 0; at++) {
        if (at > text && is_word(at[-1])) {
            continue;
        }
        for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
            const char *arguments = call_at(at, i);
            if (arguments == NULL) {
                continue;
            }
            char *first = next_argument(&arguments),
                 *second = first != NULL ? next_argument(&arguments) : NULL;
            if (first != NULL) {
                macros[i].take(file, first, second != NULL ? second : "");
            }
            free(first);
            free(second);
        }
    }
}

void sendmail_file_clear(struct sendmail_file *file)
{
    for (int i = 0; i < file->n_filters; i++) {
        free(file->filters[i].name);
        free(file->filters[i].equates);
    }
    for (int i = 0; i < file->n_daemons; i++) {
        free(file->daemons[i]);
    }
    for (int i = 0; i < N_OPTIONS; i++) {
        free(*(char **)(void *)((char *)file + options[i].offset));
    }
    memset(file, 0, sizeof(*file));
}

char *sendmail_equate(const char *equates, const char *key)
{
    size_t key_len = strlen(key);
    for (const char *at = equates; *at != 0;) {
        at += strspn(at, " \t,");
        size_t len = strcspn(at, ",");
        const char *equals = memchr(at, '=', len);
        size_t name_len = equals != NULL ? strcspn(at, " \t=") : 0;
        if (name_len == key_len && strncasecmp(at, key, key_len) == 0) {
            char *value = xmemdup0(equals + 1, len - (size_t)(equals + 1 - at));
            char *clean = xstrdup(trimmed(value));
            free(value);
            return clean;
        }
        at += len;
    }
    return NULL;
}
