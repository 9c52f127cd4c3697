/*
 * Postfix's main.cf and master.cf as text: logical lines, parameters and their $names, services and
 * their -o options. Bounded throughout: a file that is no configuration gives nonsense, never more.
 */
#ifndef POSTERN_CTL_POSTFIX_FILE_H
#define POSTERN_CTL_POSTFIX_FILE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    POSTFIX_PARAMETERS_MAX = 4096,
    POSTFIX_SERVICES_MAX = 256,
    POSTFIX_OVERRIDES_MAX = 64,
    POSTFIX_VALUE_MAX = 16384
};

struct postfix_parameter {
    char *name, *value;
};

struct postfix_parameters {
    struct postfix_parameter *items;
    int n, cap;
};

/* Parses a main.cf; text is consumed (cut into pieces). The last of two settings of one name
 * counts. */
void postfix_parameters_parse(struct postfix_parameters *parameters, char *text);
void postfix_parameters_clear(struct postfix_parameters *parameters);
/* The value as written; NULL: not set. */
const char *postfix_parameters_find(const struct postfix_parameters *parameters, const char *name);

struct postfix_service {
    char *name, *type, *command;
    char chroot; /* 'y', 'n' or '-' for the default */
    struct postfix_parameters overrides;
};

struct postfix_services {
    struct postfix_service *items;
    int n;
};

/* Parses a master.cf; text is consumed. */
void postfix_services_parse(struct postfix_services *services, char *text);
void postfix_services_clear(struct postfix_services *services);

/*
 * A parameter's value with the $names in it replaced, as a service sees it.
 *
 * service   its overrides go first; NULL: none.
 * defaults  looked at last, a list of name and value that ends with a name of NULL.
 * Returns a malloc'd text, "" when nobody sets the parameter; cut at POSTFIX_VALUE_MAX bytes.
 */
char *postfix_value(const struct postfix_parameters *parameters,
    const struct postfix_service *service, const char *const (*defaults)[2], const char *name);

/*
 * The next item of a list separated by blanks and commas, braces kept together and taken off; *rest
 * moves on. is_group_out: it stood in braces. Returns a malloc'd text, NULL at the end.
 */
char *postfix_next_item(const char **rest, bool *is_group_out);

#endif
