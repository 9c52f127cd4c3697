/* What the commands that talk to a running system share: which configuration, which control socket,
 * how failures are told. */
#ifndef POSTERN_CTL_SERVER_H
#define POSTERN_CTL_SERVER_H

#include <jansson.h>

#include "common/conf.h"
#include "ctl/args.h"

#define SERVER_DEFAULT_CONF "/etc/postern/postern.conf"

enum { SERVER_TIMEOUT_MS = 10000 };

/* -c, else the default file when it exists, else NULL. Borrowed. */
const char *server_conf_path(const struct args *args);
/* Loads path (NULL: none) and -o: conf_load's results. Tells nothing. */
int server_conf_try(
    const struct args *args, const char *path, struct conf **conf_out, char **error_out);
/*
 * Loads the configuration of -c and -o; without -c the default file when may_use_default and it
 * exists. On failure tells why on stderr and returns NULL (exit code 2).
 */
struct conf *server_conf(const struct args *args, bool may_use_default);
/* The same without a default, for a filter named in an argument: it is the one that the sandbox lets
 * read. */
struct conf *server_conf_for_filter(const struct args *args, const char *filter);
/* -s, or multiplexor.control_socket. Borrowed from either. */
const char *server_socket(const struct args *args, const struct conf *conf);

/*
 * Asks the server. args_json may be NULL, else its reference is taken over. timeout_ms 0:
 * SERVER_TIMEOUT_MS. Returns EXIT_CODE_OK and *data_out (a reference for the caller), or tells why
 * not on stderr and returns EXIT_CODE_FOUND (the server refused), EXIT_CODE_NO_SERVER or
 * EXIT_CODE_USAGE.
 */
int server_ask(const struct args *args, const char *command, json_t *args_json, int64_t timeout_ms,
    json_t **data_out);

#endif
