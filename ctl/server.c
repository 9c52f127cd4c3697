#include "ctl/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "ctl/request.h"

const char *server_conf_path(const struct args *args)
{
    const char *path = args_get(args, ARG_CONF);
    return path == NULL && access(SERVER_DEFAULT_CONF, F_OK) == 0 ? SERVER_DEFAULT_CONF : path;
}

int server_conf_try(
    const struct args *args, const char *path, struct conf **conf_out, char **error_out)
{
    const struct arg_values *set = &args->values[ARG_SET];
    return conf_load(path, set->items, set->n, conf_out, error_out);
}

struct conf *server_conf(const struct args *args, bool may_use_default)
{
    struct conf *conf = NULL;
    char *error = NULL;
    int rc = server_conf_try(
        args, may_use_default ? server_conf_path(args) : args_get(args, ARG_CONF), &conf, &error);
    if (rc < 0) {
        fprintf(stderr, "posternctl: %s\n", error != NULL ? error : err_text(rc));
        free(error);
        return NULL;
    }
    return conf;
}

struct conf *server_conf_for_filter(const struct args *args, const char *filter)
{
    struct conf *conf = server_conf(args, false);
    if (conf != NULL) {
        free(conf->worker.filter);
        conf->worker.filter = xstrdup(filter);
    }
    return conf;
}

const char *server_socket(const struct args *args, const struct conf *conf)
{
    const char *given = args_get(args, ARG_CONTROL);
    return given != NULL ? given : conf->multiplexor.control_socket;
}

/* The exit code for what became of a question, and a line on stderr. */
static int tell(int rc, const char *path, const char *error)
{
    if (rc == -ERR_DENIED && error != NULL) {
        char shown[8192];
        text_escape(shown, sizeof(shown), slice_text(error), 0);
        fprintf(stderr, "posternctl: %s\n", shown);
        return EXIT_CODE_FOUND;
    }
    if (rc == -ERR_VERSION) {
        fprintf(stderr,
            "posternctl: the server at %s speaks another version: "
            "old and new programs mixed?\n",
            path);
        return EXIT_CODE_NO_SERVER;
    }
    fprintf(stderr, "posternctl: no server answers at %s: %s\n", path, err_text(rc));
    return EXIT_CODE_NO_SERVER;
}

int server_ask(const struct args *args, const char *command, json_t *args_json, int64_t timeout_ms,
    json_t **data_out)
{
    struct conf *conf = server_conf(args, true);
    if (conf == NULL) {
        json_decref(args_json);
        return EXIT_CODE_USAGE;
    }
    const char *path = server_socket(args, conf);
    char *error = NULL;
    int rc = request_call(path, command, args_json, timeout_ms > 0 ? timeout_ms : SERVER_TIMEOUT_MS,
        data_out, &error);
    int code = rc == 0 ? EXIT_CODE_OK : tell(rc, path, error);
    free(error);
    conf_free(conf);
    return code;
}
