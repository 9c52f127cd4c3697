#include "ctl/postfix_file.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/xalloc.h"

static const char blanks[] = " \t\r";
static const char separators[] = " \t\r\n,";

static char *trimmed(char *text)
{
    text += strspn(text, separators);
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL) {
        text[--len] = 0;
    }
    return text;
}

/*
 * The next logical line: a line that begins with a blank goes on with the one before; comments and
 * empty lines are nothing. Joined in place. NULL at the end.
 */
static char *next_line(char **rest)
{
    char *out = NULL, *end = NULL;
    while (*rest != NULL && **rest != 0) {
        char *line = *rest, *feed = strchr(line, '\n');
        const char *text = line + strspn(line, blanks);
        bool is_nothing = text[0] == '#' || text[0] == '\n' || text[0] == 0;
        if (!is_nothing && out != NULL && strchr(blanks, line[0]) == NULL) {
            break;
        }
        size_t len = feed != NULL ? (size_t)(feed - line) : strlen(line);
        *rest = feed != NULL ? feed + 1 : NULL;
        if (is_nothing) {
            continue;
        }
        if (out == NULL) {
            out = end = line;
        }
        memmove(end, line, len);
        end += len;
    }
    if (end != NULL) {
        *end = 0;
    }
    return out;
}

static int find(const struct postfix_parameters *parameters, const char *name)
{
    for (int i = 0; i < parameters->n; i++) {
        if (strcmp(parameters->items[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

const char *postfix_parameters_find(const struct postfix_parameters *parameters, const char *name)
{
    int i = find(parameters, name);
    return i >= 0 ? parameters->items[i].value : NULL;
}

static void postfix_parameters_set(
    struct postfix_parameters *parameters, const char *name, const char *value)
{
    int i = find(parameters, name);
    if (i >= 0) {
        free(parameters->items[i].value);
        parameters->items[i].value = xstrdup(value);
        return;
    }
    if (parameters->n == POSTFIX_PARAMETERS_MAX) {
        return;
    }
    if (parameters->n == parameters->cap) {
        parameters->cap = parameters->cap > 0 ? 2 * parameters->cap : 16;
        parameters->items =
            xreallocarray(parameters->items, (size_t)parameters->cap, sizeof(*parameters->items));
    }
    parameters->items[parameters->n++] = (struct postfix_parameter){xstrdup(name), xstrdup(value)};
}

void postfix_parameters_clear(struct postfix_parameters *parameters)
{
    for (int i = 0; i < parameters->n; i++) {
        free(parameters->items[i].name);
        free(parameters->items[i].value);
    }
    free(parameters->items);
    *parameters = (struct postfix_parameters){0};
}

/* "name = value", cut in place. */
static void take_setting(struct postfix_parameters *parameters, char *text)
{
    char *equals = strchr(text, '=');
    if (equals != NULL) {
        *equals = 0;
        const char *name = trimmed(text);
        if (name[0] != 0) {
            postfix_parameters_set(parameters, name, trimmed(equals + 1));
        }
    }
}

void postfix_parameters_parse(struct postfix_parameters *parameters, char *text)
{
    for (char *line, *rest = text; (line = next_line(&rest)) != NULL;) {
        take_setting(parameters, line);
    }
}

/* The length of a text in braces at open, both included; 0 without an end. */
static size_t group_len(const char *open)
{
    int depth = 0;
    for (const char *at = open; *at != 0; at++) {
        depth += *at == '{' ? 1 : *at == '}' ? -1 : 0;
        if (depth == 0) {
            return (size_t)(at - open) + 1;
        }
    }
    return 0;
}

char *postfix_next_item(const char **rest, bool *is_group_out)
{
    const char *at = *rest + strspn(*rest, separators);
    size_t len = at[0] == '{' ? group_len(at) : 0;
    *is_group_out = len > 0;
    if (len == 0) {
        len = strcspn(at, separators);
    }
    *rest = at + len;
    if (len == 0) {
        return NULL;
    }
    return *is_group_out ? xmemdup0(at + 1, len - 2) : xmemdup0(at, len);
}

static char *next_word(const char **rest)
{
    bool is_group;
    return postfix_next_item(rest, &is_group);
}

/* The options of a service's command: "-o name=value", "-oname=value", "-o { name = value }". */
static void take_overrides(struct postfix_service *service, const char *rest)
{
    for (char *word; (word = next_word(&rest)) != NULL;) {
        if (strncmp(word, "-o", 2) == 0 && service->overrides.n < POSTFIX_OVERRIDES_MAX) {
            char *setting = word[2] != 0 ? xstrdup(word + 2) : next_word(&rest);
            if (setting != NULL) {
                take_setting(&service->overrides, setting);
            }
            free(setting);
        }
        free(word);
    }
}

/* name type private unpriv chroot wakeup maxproc command arguments… */
static void take_service(struct postfix_services *services, const char *line)
{
    enum { CHROOT = 4, COMMAND = 7, N_FIELDS = 8 };
    char *fields[N_FIELDS] = {0};
    int n = 0;
    while (n < N_FIELDS && (fields[n] = next_word(&line)) != NULL) {
        n++;
    }
    if (n == N_FIELDS && services->n < POSTFIX_SERVICES_MAX) {
        services->items =
            xreallocarray(services->items, (size_t)services->n + 1, sizeof(*services->items));
        struct postfix_service *service = &services->items[services->n++];
        *service = (struct postfix_service){xstrdup(fields[0]), xstrdup(fields[1]),
            xstrdup(fields[COMMAND]), fields[CHROOT][0], {0}};
        take_overrides(service, line);
    }
    for (int i = 0; i < N_FIELDS; i++) {
        free(fields[i]);
    }
}

void postfix_services_parse(struct postfix_services *services, char *text)
{
    for (char *line, *rest = text; (line = next_line(&rest)) != NULL;) {
        take_service(services, line);
    }
}

void postfix_services_clear(struct postfix_services *services)
{
    for (int i = 0; i < services->n; i++) {
        free(services->items[i].name);
        free(services->items[i].type);
        free(services->items[i].command);
        postfix_parameters_clear(&services->items[i].overrides);
    }
    free(services->items);
    *services = (struct postfix_services){0};
}

struct expansion {
    const struct postfix_parameters *parameters;
    const struct postfix_service *service;
    const char *const (*defaults)[2];
    struct buf out;
    int n_left; /* names that may still be replaced: a loop of them ends */
};

static const char *look_up(const struct expansion *expansion, const char *name)
{
    const char *value = expansion->service != NULL
                            ? postfix_parameters_find(&expansion->service->overrides, name)
                            : NULL;
    value = value != NULL ? value : postfix_parameters_find(expansion->parameters, name);
    for (int i = 0; value == NULL && expansion->defaults[i][0] != NULL; i++) {
        value = strcmp(expansion->defaults[i][0], name) == 0 ? expansion->defaults[i][1] : NULL;
    }
    return value;
}

enum { NAMES_MAX = 1000, DEPTH_MAX = 10, NAME_BYTES = 128 };

static void expand(struct expansion *expansion, const char *text, int depth);

static size_t name_len(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
}

static void expand_name(struct expansion *expansion, const char *name, size_t len, int depth)
{
    char copy[NAME_BYTES];
    if (len == 0 || len >= sizeof(copy) || expansion->n_left-- <= 0) {
        return;
    }
    memcpy(copy, name, len);
    copy[len] = 0;
    const char *value = look_up(expansion, copy);
    if (value != NULL) {
        expand(expansion, value, depth + 1);
    }
}

/* Between the braces: "name", "name?text when set", "name:text when not". */
static void expand_group(struct expansion *expansion, const char *inner, int depth)
{
    char name[NAME_BYTES];
    size_t len = name_len(inner);
    if (inner[len] == 0) {
        expand_name(expansion, inner, len, depth);
    } else if ((inner[len] == '?' || inner[len] == ':') && len < sizeof(name)) {
        memcpy(name, inner, len);
        name[len] = 0;
        const char *value = look_up(expansion, name);
        bool is_set = value != NULL && value[0] != 0;
        if (is_set == (inner[len] == '?')) {
            expand(expansion, inner + len + 1, depth + 1);
        }
    }
}

/* At a dollar sign; returns what follows what it names. */
static const char *expand_dollar(struct expansion *expansion, const char *at, int depth)
{
    if (at[1] == '$') {
        (void)buf_put_u8(&expansion->out, '$');
        return at + 2;
    }
    if (at[1] == '{' || at[1] == '(') {
        size_t len = at[1] == '{' ? group_len(at + 1) : strcspn(at + 1, ")") + 1;
        if (len < 2 || at[len] == 0) {
            return at + strlen(at);
        }
        char *inner = xmemdup0(at + 2, len - 2);
        expand_group(expansion, inner, depth);
        free(inner);
        return at + 1 + len;
    }
    size_t len = name_len(at + 1);
    expand_name(expansion, at + 1, len, depth);
    return at + 1 + len;
}

static void expand(struct expansion *expansion, const char *text, int depth)
{
    if (depth > DEPTH_MAX) {
        return;
    }
    while (*text != 0) {
        if (*text == '$') {
            text = expand_dollar(expansion, text, depth);
            continue;
        }
        size_t len = strcspn(text, "$");
        if (buf_put(&expansion->out, text, len) != 0) {
            return;
        }
        text += len;
    }
}

char *postfix_value(const struct postfix_parameters *parameters,
    const struct postfix_service *service, const char *const (*defaults)[2], const char *name)
{
    struct expansion expansion = {parameters, service, defaults, .n_left = NAMES_MAX};
    buf_init(&expansion.out, POSTFIX_VALUE_MAX);
    const char *value = look_up(&expansion, name);
    expand(&expansion, value != NULL ? value : "", 0);
    char *text =
        xmemdup0(expansion.out.len > 0 ? (const char *)expansion.out.data : "", expansion.out.len);
    buf_clear(&expansion.out);
    return text;
}
