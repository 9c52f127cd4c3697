/*
 * The commands of posternctl. Each gets the parsed command line, whose rest holds the command's
 * word and then its arguments (their number and the options given are checked already), and returns
 * an exit code of the process.
 */
#ifndef POSTERN_CTL_COMMAND_H
#define POSTERN_CTL_COMMAND_H

#include "ctl/args.h"

#define COMMAND(word, function, arguments, fewest, most, options, help)                            \
    int function(const struct args *args);
#include "ctl/commands.def"
#undef COMMAND

/* The command's argument number i, from 0. */
static inline const char *command_argument(const struct args *args, int i)
{
    return args->rest.items[i + 1];
}
static inline int command_n_arguments(const struct args *args)
{
    return args->rest.n - 1;
}

#endif
