/* The checks of our own side: configuration, filter, the running server. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/err.h"
#include "common/text.h"
#include "common/version.h"
#include "common/xalloc.h"
#include "ctl/check.h"
#include "ctl/doctor.h"
#include "ctl/doctor_access.h"
#include "ctl/render.h"
#include "ctl/request.h"
#include "ctl/server.h"

enum { VALUE_BYTES = 8192, ASK_MS = 5000 };

/* A file that decides about mail must not be anybody's to write. False: it is, and that has been
 * said. */
static bool look_at_writers(struct doctor *doctor, const char *what, const char *path)
{
    struct stat st;
    char folder[ACCESS_PATH_MAX];
    if (stat(path, &st) == 0 && (st.st_mode & S_IWOTH) != 0) {
        doctor_say(
            doctor, DOCTOR_PROBLEM, "chmod o-w", "everybody may write the %s %s", what, path);
        return false;
    }
    if (stat(path, &st) == 0 && access_folder_above_with(path, S_IWOTH, folder)) {
        struct stat above;
        if (stat(folder, &above) == 0 && (above.st_mode & S_ISVTX) == 0) {
            doctor_say(doctor, DOCTOR_PROBLEM, "chmod o-w, or another place",
                "everybody may replace the %s %s: the folder %s is everybody's", what, path,
                folder);
            return false;
        }
    }
    return true;
}

void check_configuration(struct doctor *doctor)
{
    if (doctor->conf == NULL) {
        doctor_say(doctor, DOCTOR_PROBLEM,
            "correct that line; posternctl config --sample shows every option", "%s",
            doctor->conf_error != NULL ? doctor->conf_error : "cannot be read");
    } else if (doctor->conf_path == NULL) {
        doctor_say(doctor, DOCTOR_NOTE, "name it with -c FILE",
            "no configuration file: %s is not there, the defaults are looked at",
            SERVER_DEFAULT_CONF);
    } else if (look_at_writers(doctor, "configuration", doctor->conf_path)) {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s is valid", doctor->conf_path);
    }
}

static char *names_of_warnings(const json_t *result)
{
    struct buf out;
    buf_init(&out, 1024);
    size_t i;
    json_t *warning;
    json_array_foreach(json_object_get(result, "warnings"), i, warning)
    {
        const char *name = json_string_value(json_object_get(warning, "name"));
        if (buf_printf(&out, "%s%s (line %lld)", i > 0 ? ", " : "", name != NULL ? name : "?",
                (long long)json_integer_value(json_object_get(warning, "line"))) != 0) {
            break;
        }
    }
    char *text = xmemdup0(out.data, out.len);
    buf_clear(&out);
    return text;
}

static void tell_load(struct doctor *doctor, const char *path, const json_t *result)
{
    const char *error = json_string_value(json_object_get(result, "error"));
    const json_t *hooks = json_object_get(result, "hooks");
    const char *module = json_string_value(json_object_get(result, "offline"));
    if (error != NULL) {
        doctor_say(doctor, DOCTOR_PROBLEM, "posternctl check shows the whole message",
            "%s does not load: %.*s", path, (int)strcspn(error, "\n"), error);
    } else if (json_array_size(json_object_get(result, "warnings")) > 0) {
        char *names = names_of_warnings(result);
        doctor_say(doctor, DOCTOR_WARNING, "define them, or correct their names",
            "%s uses names that nobody defines: %s", path, names);
        free(names);
    } else if (module != NULL) {
        doctor_say(doctor, DOCTOR_WARNING, "worker.allow_network = yes",
            "%s loads, but %s asks over the network, which worker.allow_network = no forbids", path,
            module);
    } else {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s loads, %zu hook%s", path, json_array_size(hooks),
            json_array_size(hooks) == 1 ? "" : "s");
    }
}

void check_filter(struct doctor *doctor)
{
    const char *path = doctor->conf->worker.filter;
    struct stat st;
    if (stat(path, &st) != 0) {
        doctor_say(doctor, DOCTOR_PROBLEM, "write one, or correct worker.filter",
            "worker.filter = %s: %s", path, err_text(-ERR_SYSTEM));
        return;
    }
    if (!look_at_writers(doctor, "filter", path)) {
        return;
    }
    json_t *result = check_load(doctor->conf, path);
    tell_load(doctor, path, result);
    json_decref(result);
}

static void tell_no_server(struct doctor *doctor)
{
    const char *socket = server_socket(doctor->args, doctor->conf);
    if (doctor->status_error == -ERR_DENIED) {
        doctor_say(doctor, DOCTOR_NOTE,
            "run as root, as Postern's user, or as a member of multiplexor.control_group",
            "the server at %s does not answer this user", socket);
    } else if (doctor->status_error == -ERR_VERSION) {
        doctor_say(doctor, DOCTOR_PROBLEM, "restart the daemons after an update",
            "the server at %s speaks another version", socket);
    } else {
        doctor_say(doctor, DOCTOR_NOTE,
            "start postern-multiplexor and postern-milterd; then this tells more",
            "no server answers at %s", socket);
    }
}

/* Newer on disk than in service. */
static bool filter_is_newer(const struct doctor *doctor)
{
    const char *text = json_string_value(json_object_get(doctor->status, "loaded_at"));
    struct tm tm = {0};
    struct stat st;
    return text != NULL && strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) != NULL &&
           stat(doctor->conf->worker.filter, &st) == 0 && st.st_mtime > timegm(&tm);
}

/* How many troubles were told. */
static int tell_troubles(struct doctor *doctor)
{
    const json_t *status = doctor->status, *throttle = json_object_get(status, "throttle");
    int before = doctor->n[DOCTOR_PROBLEM] + doctor->n[DOCTOR_WARNING];
    if (json_integer_value(json_object_get(status, "generation")) == 0) {
        doctor_say(doctor, DOCTOR_PROBLEM, "correct the filter, then posternctl reload",
            "no filter is in service: %s", render_text_of(status, "filter_error"));
    } else if (render_text_of(status, "filter_error")[0] != 0) {
        doctor_say(doctor, DOCTOR_WARNING, "correct the filter, then posternctl reload",
            "the last reload failed, the filter before it serves: %.300s",
            render_text_of(status, "filter_error"));
    }
    if (json_is_object(throttle)) {
        doctor_say(doctor, DOCTOR_PROBLEM,
            "the log has their last words; look at filter_init and the memory limits",
            "workers do not start (%lld times in a row): %.300s",
            (long long)json_integer_value(json_object_get(throttle, "failures")),
            render_text_of(throttle, "error"));
    }
    if (json_is_true(json_object_get(status, "is_draining"))) {
        doctor_say(
            doctor, DOCTOR_WARNING, "posternctl resume", "draining: new mail is turned away");
    }
    if (strcmp(render_text_of(status, "version"), POSTERN_VERSION) != 0) {
        doctor_say(doctor, DOCTOR_WARNING, "restart the daemons",
            "the server is version %.40s, this is " POSTERN_VERSION,
            render_text_of(status, "version"));
    }
    return doctor->n[DOCTOR_PROBLEM] + doctor->n[DOCTOR_WARNING] - before;
}

void check_server(struct doctor *doctor)
{
    if (doctor->status == NULL) {
        tell_no_server(doctor);
        return;
    }
    const json_t *front = json_object_get(doctor->status, "front");
    long long failures = json_integer_value(json_object_get(front, "failures"));
    if (tell_troubles(doctor) == 0) {
        doctor_say(doctor, DOCTOR_OK, NULL, "version %s, generation %lld in service",
            render_text_of(doctor->status, "version"),
            (long long)json_integer_value(json_object_get(doctor->status, "generation")));
    }
    if (failures > 0) {
        doctor_say(doctor, DOCTOR_NOTE, "the log of postern-milterd says when and why",
            "%lld requests were answered by milterd.on_failure since the start: nobody else did",
            failures);
    }
    if (filter_is_newer(doctor)) {
        doctor_say(doctor, DOCTOR_NOTE, "posternctl reload", "%s was saved after it was loaded",
            doctor->conf->worker.filter);
    }
}

static void compare_option(
    struct doctor *doctor, const struct conf_option *option, const json_t *running, int *n_other)
{
    char key[128], ours[VALUE_BYTES];
    snprintf(key, sizeof(key), "%s.%s", option->section, option->name);
    const char *theirs = json_string_value(json_object_get(running, key));
    conf_value_text(doctor->conf, option, ours, sizeof(ours));
    if (theirs == NULL || strcmp(theirs, ours) == 0) {
        return;
    }
    (*n_other)++;
    doctor_say(doctor, DOCTOR_WARNING,
        option->is_reloadable ? "posternctl reload" : "restart the daemons",
        "%s is \"%.200s\" in the server, \"%.200s\" in the configuration", key, theirs, ours);
}

void check_running_options(struct doctor *doctor)
{
    json_t *data = NULL;
    char *error = NULL;
    int rc = request_call(
        server_socket(doctor->args, doctor->conf), "config", NULL, ASK_MS, &data, &error);
    free(error);
    if (rc != 0) {
        doctor_say(doctor, DOCTOR_NOTE, NULL, "the server does not tell its options");
        return;
    }
    int n_other = 0;
    for (int i = 0; i < conf_n_options; i++) {
        /* The front end reads its own section at its own start; the multiplexor cannot speak for
         * it. */
        if (strcmp(conf_options[i].section, "milterd") != 0) {
            compare_option(doctor, &conf_options[i], json_object_get(data, "options"), &n_other);
        }
    }
    if (n_other == 0) {
        doctor_say(doctor, DOCTOR_OK, NULL, "the server runs with what the configuration says");
    }
    json_decref(data);
}
