/* The command line that all programs share. Only this file ends a process over its configuration:
 * exit code 2. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/version.h"
#include "common/xalloc.h"

struct arguments {
    const char *conf_path;  /* of -c; NULL: not given */
    const char **overrides; /* owned; the texts are argv's */
    int n_overrides;
    bool is_check;
    int next; /* index of the argument to look at */
};

static void usage_error(const struct program *program, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

static void usage_error(const struct program *program, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s: ", program->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    exit(EXIT_CODE_USAGE);
}

static void print_help(const struct program *program) __attribute__((noreturn));

static void print_help(const struct program *program)
{
    printf("%s: %s\n\n", program->name, program->summary);
    printf("  -c FILE       configuration file");
    if (program->default_conf != NULL)
        printf(" (default: %s, if it exists)", program->default_conf);
    printf("\n  -o KEY=VALUE  override an option, as section.name=value; may be repeated\n"
           "  -t            check the configuration and exit\n"
           "  -V            print the version and exit\n"
           "  -h            print this and exit\n");
    if (program->sections != NULL) {
        printf("\nOptions of the configuration file, with their defaults:\n");
        conf_print_help(stdout, program->sections);
    }
    exit(EXIT_CODE_OK);
}

static void print_version(const struct program *program) __attribute__((noreturn));

static void print_version(const struct program *program)
{
    printf("%s %s\n", program->name, POSTERN_VERSION);
    exit(EXIT_CODE_OK);
}

/* The value of -c or -o: the rest of the argument, or the next one. */
static const char *take_value(
    const struct program *program, int argc, char **argv, struct arguments *arguments)
{
    const char *option = argv[arguments->next++];
    if (option[2] != '\0')
        return option + 2;
    if (arguments->next >= argc)
        usage_error(program, "%s needs a value; -h shows the usage", option);
    return argv[arguments->next++];
}

/* Takes the option at arguments->next; false when it is none of ours. */
static bool take_option(
    const struct program *program, int argc, char **argv, struct arguments *arguments)
{
    const char *option = argv[arguments->next];
    if (strcmp(option, "-h") == 0 || strcmp(option, "--help") == 0)
        print_help(program);
    if (strcmp(option, "-V") == 0 || strcmp(option, "--version") == 0)
        print_version(program);
    if (strcmp(option, "-t") == 0) {
        arguments->is_check = true;
        arguments->next++;
    } else if (strncmp(option, "-c", 2) == 0) {
        arguments->conf_path = take_value(program, argc, argv, arguments);
    } else if (strncmp(option, "-o", 2) == 0) {
        arguments->overrides = xreallocarray(arguments->overrides,
            (size_t)arguments->n_overrides + 1, sizeof(*arguments->overrides));
        arguments->overrides[arguments->n_overrides++] = take_value(program, argc, argv, arguments);
    } else {
        return false;
    }
    return true;
}

static void parse(const struct program *program, int argc, char **argv, struct arguments *arguments)
{
    arguments->next = 1;
    while (arguments->next < argc && argv[arguments->next][0] == '-' &&
           argv[arguments->next][1] != '\0') {
        if (strcmp(argv[arguments->next], "--") == 0) {
            arguments->next++;
            break;
        }
        if (take_option(program, argc, argv, arguments))
            continue;
        if (program->may_have_rest)
            break;
        usage_error(program, "unknown option %s; -h shows the usage", argv[arguments->next]);
    }
    if (arguments->next < argc && !program->may_have_rest)
        usage_error(program, "unexpected argument %s; -h shows the usage", argv[arguments->next]);
}

struct conf *conf_from_args(const struct program *program, int argc, char **argv, int *rest_out)
{
    struct arguments arguments = {0};
    parse(program, argc, argv, &arguments);
    const char *path = arguments.conf_path;
    if (path == NULL && program->default_conf != NULL && access(program->default_conf, F_OK) == 0)
        path = program->default_conf;
    struct conf *conf = NULL;
    char *error = NULL;
    if (conf_load(path, arguments.overrides, arguments.n_overrides, &conf, &error) != 0)
        usage_error(program, "%s", error);
    free(arguments.overrides);
    if (arguments.is_check) {
        printf("%s: the configuration%s%s is fine\n", program->name, path != NULL ? " " : "",
            path != NULL ? path : "");
        conf_free(conf);
        exit(EXIT_CODE_OK);
    }
    if (rest_out != NULL)
        *rest_out = arguments.next;
    return conf;
}
