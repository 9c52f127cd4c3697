/*
 * The command line: one table of options for all commands, parsed in one pass, so that an option
 * may stand before or after the command's word. Which command takes which option is commands.def's
 * business.
 */
#ifndef POSTERN_CTL_ARGS_H
#define POSTERN_CTL_ARGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum arg {
    ARG_CONF = 0,
    ARG_SET,
    ARG_CONTROL,
    ARG_HELP,
    ARG_VERSION,
    ARG_JSON,
    ARG_SAMPLE,
    ARG_MANUAL,
    ARG_OUTPUT,
    ARG_IP,
    ARG_HOSTNAME,
    ARG_HELO,
    ARG_SENDER,
    ARG_RECIPIENT,
    ARG_MACRO,
    ARG_SOCKET,
    ARG_DIR,
    ARG_CANARY,
    ARG_LIST,
    ARG_POSTFIX,
    ARG_SENDMAIL,
    ARG_UNITS,
    ARG_FILTER,
    ARG_ALL,
    ARG_HOOK,
    ARG_VERDICT,
    ARG_LINES,
    ARG_LAST,
    ARG_SINCE,
    ARG_REASON,
    ARG_RAW,
    ARG_AGE,
    ARG_SIZE,
    ARG_DRY_RUN,
    ARG_TO,
    ARG_NOW,
    ARG_FORCE,
    ARG_DEEDS,
    ARG_FROM,
    ARG_COUNT,
};

#define ARG_BIT(arg) (UINT64_C(1) << (arg))
/* What every command takes. */
#define ARGS_COMMON                                                                                \
    (ARG_BIT(ARG_CONF) | ARG_BIT(ARG_SET) | ARG_BIT(ARG_CONTROL) | ARG_BIT(ARG_HELP) |             \
        ARG_BIT(ARG_VERSION))
/* What describes the SMTP transaction that run and send play. */
#define ARGS_TRANSACTION                                                                           \
    (ARG_BIT(ARG_IP) | ARG_BIT(ARG_HOSTNAME) | ARG_BIT(ARG_HELO) | ARG_BIT(ARG_SENDER) |           \
        ARG_BIT(ARG_RECIPIENT) | ARG_BIT(ARG_MACRO))

/* What selects among entries of the ring; those that ARGS_TRANSACTION has too mean another thing
 * there. */
#define ARGS_SELECTION                                                                             \
    (ARG_BIT(ARG_IP) | ARG_BIT(ARG_SENDER) | ARG_BIT(ARG_RECIPIENT) | ARG_BIT(ARG_HOOK) |          \
        ARG_BIT(ARG_VERDICT))

struct arg_values {
    const char **items; /* borrowed from argv, in order; room for argc of them */
    int n;
};

struct args {
    struct arg_values values[ARG_COUNT];
    struct arg_values rest; /* words that are no options: the command first */
};

/*
 * Parses argv[1…]. "--" ends the options.
 *
 * error_out  on failure a malloc'd text ("unknown option --jsno; did you mean --json?").
 * Returns 0 or -ERR_BAD; out needs args_clear either way.
 */
int args_parse(int argc, char **argv, struct args *out, char **error_out);
void args_clear(struct args *args);

bool args_has(const struct args *args, enum arg arg);
/* The last value given, or NULL. */
const char *args_get(const struct args *args, enum arg arg);
/* The first option given that is not among allowed (ARG_BIT), as text for a message; NULL when all
 * are. */
const char *args_first_not_in(const struct args *args, uint64_t allowed);
/* Prints a help line for each option among wanted. */
void args_print_help(FILE *out, uint64_t wanted);

#endif
