/*
 * Configuration: one INI file (libinih) and -o section.key=value overrides, into one typed struct made from options.def. Every error names file,
 * line and what to do. [filter] holds free settings that a filter reads as config.name.
 */
#ifndef POSTERN_CONF_H
#define POSTERN_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/confine.h"
#include "common/log.h"
#include "common/network.h"
#include "common/verdict.h"

#define CONF_TYPE_STR      char *
#define CONF_TYPE_BOOL     bool
#define CONF_TYPE_INT      int64_t
#define CONF_TYPE_BYTES    int64_t
#define CONF_TYPE_MS       int64_t
#define CONF_TYPE_MODE     int64_t
#define CONF_TYPE_ANSWER   enum failure_answer
#define CONF_TYPE_SOCKET   char *
#define CONF_TYPE_NETWORKS struct network_list
#define CONF_TYPE_LEVEL    enum log_level
#define CONF_TYPE_TARGET   enum log_target
#define CONF_TYPE_FORMAT   enum log_format
#define CONF_TYPE_SANDBOX  enum sandbox_mode
#define CONF_TYPE_POLICY   enum backend_policy
#define CONF_TYPE_KEEPER   enum store_place

struct conf_setting { /* of [filter] */
    char *name;
    char *value;
};

/* conf->milterd.socket, conf->multiplexor.min_workers … */
struct conf {
#define SECTION(section, help)                                             struct {
#define OPTION(section, name, type, default_text, min, max, when, help)    CONF_TYPE_##type name;
#define SECTION_END(section)                                                                                           \
    }                                                                                                                  \
    section;
#include "common/options.def"
#undef SECTION
#undef OPTION
#undef SECTION_END
    struct conf_setting *filter; /* in order of the file */
    int n_filter;
    char *path;      /* the file that was read; NULL: none */
    char **overrides; /* the -o texts in order, for passing on to child processes */
    int n_overrides;
};

/*
 * Reads the defaults, then path, then the overrides.
 *
 * path       NULL: no file is read (tests, posternctl run).
 * overrides  "section.key=value"; "filter.key=value" too.
 * error_out  on failure a malloc'd text "FILE:LINE: unknown option milterd.sokcet; did you mean socket?".
 * Checks also that values fit together (min_workers <= max_workers …).
 * Returns 0 and *conf_out (free with conf_free), or -ERR_BAD, -ERR_NOTFOUND (no file), -ERR_SYSTEM.
 */
int conf_load(const char *path, const char *const *overrides, int n_overrides, struct conf **conf_out, char **error_out);
/* The same from text, for tests and fuzzers; name stands for the file in errors. */
int conf_parse(struct slice text, const char *name, const char *const *overrides, int n_overrides, struct conf **conf_out, char **error_out);
void conf_free(struct conf *conf);

/* The rows of options.def as data. */
struct conf_option {
    const char *section, *name, *type, *default_text, *help;
    int64_t min, max;
    bool is_reloadable;
    size_t offset; /* in struct conf */
};
extern const struct conf_option conf_options[];
extern const int conf_n_options;
/* The sections that have rows, in the same order. */
struct conf_section {
    const char *name, *help;
};
extern const struct conf_section conf_sections[];
extern const int conf_n_sections;
/* The present value as text, as it would be written into a file. out: 8192 bytes are enough. */
void conf_value_text(const struct conf *conf, const struct conf_option *option, char *out, size_t out_bytes);
/* Prints what -h shows of the sections of one program (names: NULL-terminated), or a whole sample file. */
void conf_print_help(FILE *out, const char *const *sections);
void conf_print_sample(FILE *out);

/*
 * Options common to the programs: -c FILE, -o KEY=VALUE, -t, -V, -h. Parses argv, loads the configuration, and for -V, -h, -t and errors prints
 * and exits (0, or 2). Returns the configuration; *rest_out is the index of the first other argument (an error unless may_have_rest).
 */
struct program {
    const char *name;               /* "postern-milterd" */
    const char *summary;            /* one line for -h */
    const char *const *sections;    /* for -h */
    const char *default_conf;       /* read when no -c is given, if it exists */
    bool may_have_rest;
};
struct conf *conf_from_args(const struct program *program, int argc, char **argv, int *rest_out);

#endif
