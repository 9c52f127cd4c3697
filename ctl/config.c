/*
 * posternctl config: the options in force. A running server says what it runs with; when none
 * answers, the configuration file is read here. The output says which of the two it is.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "ctl/command.h"
#include "ctl/config_manual.h"
#include "ctl/render.h"
#include "ctl/request.h"
#include "ctl/server.h"

enum { VALUE_MAX = 8192 };

/* {"milterd.socket": "unix:…", …}, and filter.NAME for each setting of [filter]. */
static json_t *options_of(const struct conf *conf)
{
    json_t *options = json_object();
    char key[128], value[VALUE_MAX];
    for (int i = 0; i < conf_n_options; i++) {
        const struct conf_option *option = &conf_options[i];
        snprintf(key, sizeof(key), "%s.%s", option->section, option->name);
        conf_value_text(conf, option, value, sizeof(value));
        json_object_set_new(options, key, render_json_text(slice_text(value)));
    }
    for (int i = 0; i < conf->n_filter; i++) {
        snprintf(key, sizeof(key), "filter.%s", conf->filter[i].name);
        json_object_set_new(options, key, render_json_text(slice_text(conf->filter[i].value)));
    }
    return options;
}

/* Puts members of objects within data under "section.name", so that either shape of a server's
 * answer comes out alike. */
static void flatten(json_t *data, const char *prefix, json_t *out)
{
    const char *name;
    json_t *value;
    json_object_foreach(data, name, value)
    {
        char key[256];
        snprintf(key, sizeof(key), "%s%s%s", prefix, prefix[0] != 0 ? "." : "", name);
        if (json_is_object(value) && prefix[0] == 0) {
            flatten(value, name, out);
        } else {
            json_object_set(out, key, value);
        }
    }
}

/* The server's options, or NULL when none answers. */
static json_t *options_of_server(const char *socket)
{
    json_t *data = NULL;
    char *error = NULL;
    int rc = request_call(socket, "config", NULL, SERVER_TIMEOUT_MS, &data, &error);
    free(error);
    if (rc < 0) {
        return NULL;
    }
    json_t *options = json_object();
    json_t *within = json_object_get(data, "options");
    flatten(json_is_object(within) ? within : data, "", options);
    json_decref(data);
    return options;
}

/* The value of a back end's section, or of [backend] where it has none of its own. */
static const char *policy_value(json_t *options, const char *section, const char *name)
{
    char key[128];
    snprintf(key, sizeof(key), "%s.%s", section, name);
    json_t *value = json_object_get(options, key);
    if (value == NULL ||
        (json_is_string(value) && strcmp(json_string_value(value), "backend") == 0)) {
        snprintf(key, sizeof(key), "backend.%s", name);
        value = json_object_get(options, key);
    }
    return json_is_string(value) ? json_string_value(value) : "?";
}

/* What becomes of mail when a scanner or policy server cannot answer: a row for each. */
static void print_backends(json_t *options)
{
    printf("\n# %-16s %-10s %-10s %s\n", "back end", "on_failure", "failures", "retry_time");
    for (int i = 0; i < conf_n_options; i++) {
        const char *section = conf_options[i].section;
        if (strcmp(conf_options[i].type, "POLICY") == 0) {
            printf("# %-16s %-10s %-10s %s\n", section,
                policy_value(options, section, "on_failure"),
                policy_value(options, section, "failures"),
                policy_value(options, section, "retry_time"));
        }
    }
}

static void print_options(json_t *options, const char *source, const char *where)
{
    printf("# from the %s: %s\n", source, where);
    char section[64] = "";
    const char *key;
    json_t *value;
    json_object_foreach(options, key, value)
    {
        const char *dot = strchr(key, '.');
        size_t len = dot != NULL ? (size_t)(dot - key) : 0;
        if (len < sizeof(section) && (strlen(section) != len || memcmp(section, key, len) != 0)) {
            memcpy(section, key, len);
            section[len] = 0;
            printf("\n[%s]\n", section);
        }
        char *text = render_value(value);
        printf("%s = ", dot != NULL ? dot + 1 : key);
        render_escaped(stdout, slice_text(text));
        putchar('\n');
        free(text);
    }
}

/* What depends on no server and no file. */
static bool print_table(const struct args *args)
{
    if (args_has(args, ARG_SAMPLE)) {
        conf_print_sample(stdout);
    } else if (args_has(args, ARG_MANUAL)) {
        config_manual_print(stdout);
    } else {
        return false;
    }
    return true;
}

int command_config(const struct args *args)
{
    if (print_table(args)) {
        return EXIT_CODE_OK;
    }
    struct conf *conf = server_conf(args, true);
    if (conf == NULL) {
        return EXIT_CODE_USAGE;
    }
    const char *socket = server_socket(args, conf);
    const char *source = "server", *where = socket;
    json_t *options = options_of_server(socket);
    if (options == NULL) {
        options = options_of(conf);
        source = "file";
        where = conf->path != NULL ? conf->path : "none, defaults";
    }
    if (args_has(args, ARG_JSON)) {
        json_t *line = json_pack("{s:s, s:o, s:O}", "source", source, "where",
            render_json_text(slice_text(where)), "options", options);
        render_json_line(stdout, line);
        json_decref(line);
    } else {
        print_options(options, source, where);
        print_backends(options);
    }
    json_decref(options);
    conf_free(conf);
    return EXIT_CODE_OK;
}
