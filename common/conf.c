/* The configuration as a whole: the rows of options.def as data, defaults, file, overrides, and
 * whether the values fit together. */
#include "common/conf.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf_read.h"
#include "common/conf_value.h"
#include "common/err.h"
#include "common/limit_spec.h"
#include "common/text.h"
#include "common/tick_spec.h"
#include "common/xalloc.h"

enum { FILTER_SETTINGS_MAX = 1000, FILTER_NAME_MAX = 64, WORD_MAX = 80 };
enum { RESTART = 0, RELOAD = 1 };

static const char filter_section[] = "filter";

const struct conf_option conf_options[] = {
#define SECTION(section_, help_)
#define OPTION(section_, name_, type_, default_, min_, max_, when_, help_)                         \
    {.section = #section_,                                                                         \
        .name = #name_,                                                                            \
        .type = #type_,                                                                            \
        .default_text = default_,                                                                  \
        .help = help_,                                                                             \
        .min = min_,                                                                               \
        .max = max_,                                                                               \
        .is_reloadable = when_ == RELOAD,                                                          \
        .offset = offsetof(struct conf, section_.name_)},
#define SECTION_END(section_)
#include "common/options.def"
#undef SECTION
#undef OPTION
#undef SECTION_END
};
enum { N_OPTIONS = sizeof(conf_options) / sizeof(conf_options[0]) };
const int conf_n_options = N_OPTIONS;

static const char *const section_names[] = {
#define SECTION(section_, help_) #section_,
#define OPTION(section_, name_, type_, default_, min_, max_, when_, help_)
#define SECTION_END(section_)
#include "common/options.def"
#undef SECTION
#undef OPTION
#undef SECTION_END
    filter_section,
    NULL,
};

/* A configuration while it is read. */
struct loading {
    struct conf *conf;
    int lines[N_OPTIONS]; /* where each option was set in the file; 0: nowhere */
    int *filter_lines;    /* the same for conf->filter */
};

static const struct conf_option *find_option(const char *section, const char *name)
{
    for (int i = 0; i < N_OPTIONS; i++)
        if (strcmp(conf_options[i].section, section) == 0 &&
            strcmp(conf_options[i].name, name) == 0)
            return &conf_options[i];
    return NULL;
}

static bool is_section(const char *section)
{
    for (int i = 0; section_names[i] != NULL; i++)
        if (strcmp(section_names[i], section) == 0)
            return true;
    return false;
}

/* A word of the user's, fit to be printed. out: WORD_MAX bytes. */
static const char *printable(const char *word, char *out)
{
    text_escape(out, WORD_MAX, slice_text(word), '"');
    return out;
}

static char *unknown_section(const char *section)
{
    char word[WORD_MAX];
    const char *nearest = text_nearest(section, section_names);
    if (nearest == NULL)
        return xasprintf("unknown section [%s]", printable(section, word));
    return xasprintf("unknown section [%s]; did you mean [%s]?", printable(section, word), nearest);
}

/* Looks in the section itself, then for the same name in another one. */
static char *unknown_option(const char *section, const char *name)
{
    const char *names[N_OPTIONS + 1];
    char word[WORD_MAX];
    int n = 0;
    const char *elsewhere = NULL;
    for (int i = 0; i < N_OPTIONS; i++) {
        if (strcmp(conf_options[i].section, section) == 0)
            names[n++] = conf_options[i].name;
        else if (strcmp(conf_options[i].name, name) == 0)
            elsewhere = conf_options[i].section;
    }
    names[n] = NULL;
    const char *nearest = text_nearest(name, names);
    printable(name, word);
    if (nearest != NULL)
        return xasprintf("unknown option %s.%s; did you mean %s?", section, word, nearest);
    if (elsewhere != NULL)
        return xasprintf(
            "unknown option %s.%s; did you mean %s.%s?", section, word, elsewhere, name);
    return xasprintf("unknown option %s.%s", section, word);
}

/* [filter]: free settings. */

static bool is_filter_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char others[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789-.";
    size_t len = strlen(name);
    return len > 0 && len <= FILTER_NAME_MAX && strchr(letters, name[0]) != NULL &&
           strspn(name, others) == len;
}

static int find_filter_setting(const struct conf *conf, const char *name)
{
    for (int i = 0; i < conf->n_filter; i++)
        if (strcmp(conf->filter[i].name, name) == 0)
            return i;
    return -1;
}

/* line: 0 for an override, which may repeat what the file has. */
static char *set_filter(struct loading *loading, int line, const char *name, const char *value)
{
    struct conf *conf = loading->conf;
    char word[WORD_MAX];
    if (!is_filter_name(name))
        return xasprintf("filter.%s: the name of a filter setting is a letter, then letters, "
                         "digits, \"_\", \"-\" or \".\", at most %d in all",
            printable(name, word), FILTER_NAME_MAX);
    int i = find_filter_setting(conf, name);
    if (i >= 0 && line > 0)
        return xasprintf(
            "filter.%s is set twice; the first time in line %d", name, loading->filter_lines[i]);
    if (i >= 0) {
        free(conf->filter[i].value);
        conf->filter[i].value = xstrdup(value);
        return NULL;
    }
    if (conf->n_filter >= FILTER_SETTINGS_MAX)
        return xasprintf("filter.%s: more than %d settings", name, FILTER_SETTINGS_MAX);
    size_t n = (size_t)conf->n_filter++;
    conf->filter = xreallocarray(conf->filter, n + 1, sizeof(*conf->filter));
    loading->filter_lines = xreallocarray(loading->filter_lines, n + 1, sizeof(int));
    conf->filter[n] = (struct conf_setting){xstrdup(name), xstrdup(value)};
    loading->filter_lines[n] = line;
    return NULL;
}

/* The same for one of our own options. */
static char *set_option(
    struct loading *loading, int line, const char *section, const char *name, const char *value)
{
    const struct conf_option *option = find_option(section, name);
    if (option == NULL)
        return unknown_option(section, name);
    int *first_line = &loading->lines[option - conf_options];
    if (line > 0 && *first_line > 0)
        return xasprintf(
            "%s.%s is set twice; the first time in line %d", section, name, *first_line);
    char why[CONF_WHY_MAX], word[WORD_MAX];
    if (conf_value_set(loading->conf, option, value, why) != 0)
        return xasprintf("%s.%s: \"%s\" %s", section, name, printable(value, word), why);
    if (line > 0)
        *first_line = line;
    return NULL;
}

static char *set_value(
    struct loading *loading, int line, const char *section, const char *name, const char *value)
{
    char word[WORD_MAX];
    if (section[0] == '\0')
        return xasprintf("%s stands before the first [section]", printable(name, word));
    if (!is_section(section))
        return unknown_section(section);
    if (strcmp(section, filter_section) == 0)
        return set_filter(loading, line, name, value);
    return set_option(loading, line, section, name, value);
}

static char *on_section(void *context, int line, const char *section)
{
    (void)context;
    (void)line;
    return is_section(section) ? NULL : unknown_section(section);
}

static char *on_value(
    void *context, int line, const char *section, const char *name, const char *value)
{
    return set_value(context, line, section, name, value);
}

/* "section.key=value" */
static char *apply_override(struct loading *loading, const char *text)
{
    const char *dot = strchr(text, '.'), *equals = strchr(text, '=');
    if (dot == NULL || equals == NULL || dot > equals)
        return xstrdup("is not section.key=value");
    if (!text_is_utf8(slice_text(text)))
        return xstrdup("is not valid UTF-8");
    char *section = xmemdup0(text, (size_t)(dot - text));
    char *name = xmemdup0(dot + 1, (size_t)(equals - dot) - 1);
    char *error = set_value(loading, 0, section, name, equals + 1);
    free(section);
    free(name);
    return error;
}

static int apply_overrides(
    struct loading *loading, const char *const *overrides, int n, char **error_out)
{
    struct conf *conf = loading->conf;
    conf->overrides = xcalloc((size_t)n + 1, sizeof(*conf->overrides));
    for (int i = 0; i < n; i++) {
        char *error = apply_override(loading, overrides[i]);
        if (error != NULL) {
            char word[WORD_MAX];
            *error_out = xasprintf("-o %s: %s", printable(overrides[i], word), error);
            free(error);
            return -ERR_BAD;
        }
        conf->overrides[conf->n_overrides++] = xstrdup(overrides[i]);
    }
    return 0;
}

/* Pairs of numbers whose order matters. */
static const struct {
    const char *low_section, *low_name, *high_section, *high_name;
    bool may_be_equal;
    const char *why;
} orders[] = {
    {"multiplexor", "min_workers", "multiplexor", "max_workers", true, "the pool keeps that many"},
    {"multiplexor", "respawn_min", "multiplexor", "respawn_max", true,
        "pauses grow from the one to the other"},
    {"multiplexor", "kill_grace", "milterd", "stage_time", false,
        "the grace is part of the budget"},
    {"milterd", "stage_time", "milterd", "message_time", true,
        "the end of a message takes longest"},
    {"worker", "lua_memory", "worker", "address_space", true, "the heap lies in the address space"},
};

static int64_t number_of(const struct conf *conf, const struct conf_option *option)
{
    int64_t number;
    memcpy(&number, (const char *)conf + option->offset, sizeof(number));
    return number;
}

/* Where an option got its value, for an error about two of them. */
static void place_text(const struct loading *loading, const struct conf_option *option,
    const char *name, char *out, size_t out_bytes)
{
    int line = loading->lines[option - conf_options];
    if (line > 0)
        snprintf(out, out_bytes, "%s:%d: ", name, line);
    else
        out[0] = '\0';
}

static char *check_order(const struct loading *loading, size_t i, const char *name)
{
    const struct conf_option *low = find_option(orders[i].low_section, orders[i].low_name);
    const struct conf_option *high = find_option(orders[i].high_section, orders[i].high_name);
    int64_t a = number_of(loading->conf, low), b = number_of(loading->conf, high);
    if (a < b || (a == b && orders[i].may_be_equal))
        return NULL;
    char place[320], low_text[32], high_text[32];
    bool is_low = loading->lines[low - conf_options] >= loading->lines[high - conf_options];
    place_text(loading, is_low ? low : high, name, place, sizeof(place));
    conf_value_text(loading->conf, low, low_text, sizeof(low_text));
    conf_value_text(loading->conf, high, high_text, sizeof(high_text));
    return xasprintf("%s%s.%s (%s) must be %s %s.%s (%s): %s", place, low->section, low->name,
        low_text, orders[i].may_be_equal ? "at most" : "less than", high->section, high->name,
        high_text, orders[i].why);
}

/* Texts that are right by themselves but name nothing that exists, or the same thing twice. */
static char *check_texts(const struct loading *loading, const char *name)
{
    const struct conf *conf = loading->conf;
    char place[320], word[WORD_MAX];
    int number;
    if (log_facility_from_text(conf->log.facility, &number) != 0) {
        place_text(loading, find_option("log", "facility"), name, place, sizeof(place));
        return xasprintf(
            "%slog.facility: \"%s\" is no syslog facility, like mail, daemon or local0", place,
            printable(conf->log.facility, word));
    }
    if (strcmp(conf->multiplexor.socket, conf->multiplexor.control_socket) == 0) {
        place_text(
            loading, find_option("multiplexor", "control_socket"), name, place, sizeof(place));
        return xasprintf(
            "%smultiplexor.socket and multiplexor.control_socket are the same path", place);
    }
    struct tick_spec ticks[TICKS_MAX];
    unsigned n_ticks;
    char why[160];
    if (tick_specs_read(conf->multiplexor.ticks, ticks, &n_ticks, why, sizeof(why)) != 0) {
        place_text(loading, find_option("multiplexor", "ticks"), name, place, sizeof(place));
        return xasprintf("%smultiplexor.ticks: %s", place, why);
    }
    struct limit_spec limits[LIMITS_MAX];
    unsigned n_limits;
    if (limit_specs_read(conf->multiplexor.limits, limits, &n_limits, why, sizeof(why)) != 0) {
        place_text(loading, find_option("multiplexor", "limits"), name, place, sizeof(place));
        return xasprintf("%smultiplexor.limits: %s", place, why);
    }
    return NULL;
}

static int check_together(const struct loading *loading, const char *name, char **error_out)
{
    char *error = check_texts(loading, name);
    for (size_t i = 0; error == NULL && i < sizeof(orders) / sizeof(orders[0]); i++)
        error = check_order(loading, i, name);
    if (error == NULL)
        return 0;
    *error_out = error;
    return -ERR_BAD;
}

static struct conf *conf_new_defaults(void)
{
    struct conf *conf = xcalloc(1, sizeof(*conf));
    char why[CONF_WHY_MAX];
    for (int i = 0; i < N_OPTIONS; i++)
        if (conf_value_set(conf, &conf_options[i], conf_options[i].default_text, why) != 0)
            log_panic("default of %s.%s %s", conf_options[i].section, conf_options[i].name, why);
    return conf;
}

void conf_free(struct conf *conf)
{
    if (conf == NULL)
        return;
    for (int i = 0; i < N_OPTIONS; i++)
        conf_value_clear(conf, &conf_options[i]);
    for (int i = 0; i < conf->n_filter; i++) {
        free(conf->filter[i].name);
        free(conf->filter[i].value);
    }
    for (int i = 0; i < conf->n_overrides; i++)
        free(conf->overrides[i]);
    free(conf->filter);
    free(conf->overrides);
    free(conf->path);
    free(conf);
}

int conf_parse(struct slice text, const char *name, const char *const *overrides, int n_overrides,
    struct conf **conf_out, char **error_out)
{
    struct loading loading = {.conf = conf_new_defaults()};
    const struct conf_reader reader = {on_section, on_value, &loading};
    int rc = conf_read_text(text, name, &reader, error_out);
    if (rc == 0)
        rc = apply_overrides(&loading, overrides, n_overrides, error_out);
    if (rc == 0)
        rc = check_together(&loading, name, error_out);
    free(loading.filter_lines);
    if (rc == 0)
        *conf_out = loading.conf;
    else
        conf_free(loading.conf);
    return rc;
}

int conf_load(const char *path, const char *const *overrides, int n_overrides,
    struct conf **conf_out, char **error_out)
{
    struct buf text;
    buf_init(&text, CONF_FILE_MAX);
    int rc = path != NULL ? conf_read_file(path, &text) : 0;
    if (rc == -ERR_TOOBIG)
        *error_out = xasprintf("%s: larger than %d bytes", path, CONF_FILE_MAX);
    else if (rc != 0)
        *error_out = xasprintf("%s: %s", path, rc == -ERR_NOTFOUND ? "no such file" : err_text(rc));
    else
        rc = conf_parse(buf_slice(&text), path != NULL ? path : "", overrides, n_overrides,
            conf_out, error_out);
    buf_clear(&text);
    if (rc == -ERR_TOOBIG)
        return -ERR_BAD;
    if (rc == 0 && path != NULL)
        (*conf_out)->path = xstrdup(path);
    return rc;
}
