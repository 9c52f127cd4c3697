/*
 * posternctl: finds the command in the table, checks what was given against its row, and calls it.
 * Exit codes: 0 fine, 1 it found something, 2 wrong usage or configuration, 3 no server.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/text.h"
#include "common/version.h"
#include "ctl/command.h"

struct command {
    const char *word;
    int (*run)(const struct args *args);
    const char *arguments;
    int fewest, most; /* most -1: any number */
    uint64_t options;
    const char *help;
};

static const struct command commands[] = {
#define COMMAND(word, function, arguments, fewest, most, options, help)                            \
    {word, function, arguments, fewest, most, options, help},
#include "ctl/commands.def"
#undef COMMAND
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const struct command *command_find(const char *word)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].word, word) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static void print_help(void)
{
    printf("usage: posternctl [-c FILE] [-o KEY=VALUE] [-s SOCKET] COMMAND ...\n\n"
           "Looks after a running Postern, and tries filters without one.\n\n");
    for (int i = 0; i < N_COMMANDS; i++) {
        char left[64];
        snprintf(left, sizeof(left), "%s %s", commands[i].word, commands[i].arguments);
        printf("  %-28s %s\n", left, commands[i].help);
    }
    printf("\nOptions of every command:\n");
    args_print_help(stdout, ARGS_COMMON);
    printf("\n\"posternctl COMMAND --help\" shows the others. "
           "Exit codes: 0 fine, 1 it found something,\n2 wrong usage or configuration, 3 no "
           "server.\n");
}

static void print_command_help(const struct command *command)
{
    printf("usage: posternctl %s %s\n\n%s\n\n", command->word, command->arguments, command->help);
    args_print_help(stdout, command->options | ARGS_COMMON);
}

static int fail_unknown(const char *word)
{
    const char *words[N_COMMANDS + 1];
    for (int i = 0; i < N_COMMANDS; i++) {
        words[i] = commands[i].word;
    }
    words[N_COMMANDS] = NULL;
    char shown[100];
    text_escape(shown, sizeof(shown), slice_text(word), '"');
    const char *near = text_nearest(word, words);
    if (near != NULL) {
        fprintf(stderr, "posternctl: unknown command \"%s\"; did you mean %s?\n", shown, near);
    } else {
        fprintf(stderr, "posternctl: unknown command \"%s\"; try posternctl --help\n", shown);
    }
    return EXIT_CODE_USAGE;
}

static int run_command(const struct command *command, const struct args *args)
{
    if (args_has(args, ARG_HELP)) {
        print_command_help(command);
        return EXIT_CODE_OK;
    }
    const char *wrong = args_first_not_in(args, command->options | ARGS_COMMON);
    if (wrong != NULL) {
        fprintf(stderr, "posternctl: %s takes no %s\n", command->word, wrong);
        return EXIT_CODE_USAGE;
    }
    int n = command_n_arguments(args);
    if (n < command->fewest || (command->most >= 0 && n > command->most)) {
        fprintf(stderr, "usage: posternctl %s %s\n", command->word, command->arguments);
        return EXIT_CODE_USAGE;
    }
    return command->run(args);
}

static int dispatch(const struct args *args)
{
    if (args_has(args, ARG_VERSION)) {
        printf("posternctl %s\n", POSTERN_VERSION);
        return EXIT_CODE_OK;
    }
    if (args->rest.n == 0) {
        if (args_has(args, ARG_HELP)) {
            print_help();
            return EXIT_CODE_OK;
        }
        fprintf(stderr, "usage: posternctl COMMAND ...; try posternctl --help\n");
        return EXIT_CODE_USAGE;
    }
    const struct command *command = command_find(args->rest.items[0]);
    return command != NULL ? run_command(command, args) : fail_unknown(args->rest.items[0]);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    log_open("ctl", LOG_TARGET_STDERR, "mail", LOG_LEVEL_INFO);

    struct args args;
    char *error = NULL;
    int code = EXIT_CODE_USAGE;
    if (args_parse(argc, argv, &args, &error) < 0) {
        fprintf(stderr, "posternctl: %s\n", error);
    } else {
        code = dispatch(&args);
    }
    free(error);
    args_clear(&args);
    /* A full disk or a closed pipe behind stdout must not look like success. */
    if (fflush(stdout) != 0 && code == EXIT_CODE_OK) {
        code = EXIT_CODE_SYSTEM;
    }
    return code;
}
