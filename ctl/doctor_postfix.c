/* Postfix's side: which services take mail in, and the milters, actions and time-outs of each. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "ctl/doctor.h"
#include "ctl/doctor_mta.h"
#include "ctl/postfix_file.h"

/* Postfix's own, of what is looked at (postconf -d). */
static const char *const defaults[][2] = {
    {"compatibility_level", "0"},
    {"mail_owner", "postfix"},
    {"message_size_limit", "10240000"},
    {"milter_command_timeout", "30s"},
    {"milter_connect_timeout", "30s"},
    {"milter_content_timeout", "300s"},
    {"milter_default_action", "tempfail"},
    {"milter_protocol", "6"},
    {"non_smtpd_milters", ""},
    {"queue_directory", "/var/spool/postfix"},
    {"smtpd_milters", ""},
    {NULL, NULL},
};

static const struct {
    const char *word;
    enum mta_failure failure;
} actions[] = {
    {"tempfail", MTA_FAILS_TEMPFAIL},
    {"shutdown", MTA_FAILS_TEMPFAIL},
    {"reject", MTA_FAILS_REJECT},
    {"accept", MTA_FAILS_ACCEPT},
    {"quarantine", MTA_FAILS_OTHER},
};

static const struct {
    const char *name;
    enum stage stage;
} macro_lists[] = {
    {"milter_connect_macros", STAGE_CONNECT},
    {"milter_helo_macros", STAGE_HELO},
    {"milter_mail_macros", STAGE_MAIL},
    {"milter_rcpt_macros", STAGE_RCPT},
    {"milter_data_macros", STAGE_DATA},
    {"milter_end_of_header_macros", STAGE_EOH},
    {"milter_end_of_data_macros", STAGE_EOM},
};

struct postfix {
    struct mta *mta;
    const struct doctor *doctor;
    struct postfix_parameters parameters;
    struct postfix_services services;
};

static char *value_of(
    const struct postfix *postfix, const struct postfix_service *service, const char *name)
{
    return postfix_value(&postfix->parameters, service, defaults, name);
}

static bool is_chrooted(const struct postfix *postfix, const struct postfix_service *service)
{
    if (service->chroot == 'y' || service->chroot == 'n') {
        return service->chroot == 'y';
    }
    /* Since Postfix 3.0 the default is n, unless it is told to be compatible with what was before.
     */
    char *level = value_of(postfix, NULL, "compatibility_level");
    bool is_old = level[0] == '0' && level[1] != '.';
    free(level);
    return is_old;
}

static void set_failure(struct mta_milter *milter, const char *source, const char *action)
{
    milter->failure = MTA_FAILS_OTHER;
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(actions[i].word, action) == 0) {
            milter->failure = actions[i].failure;
        }
    }
    free(milter->failure_text);
    milter->failure_text = xasprintf("%s = %.40s", source, action);
}

static int64_t seconds_of(
    const struct postfix *postfix, const struct postfix_service *service, const char *name)
{
    char *text = value_of(postfix, service, name);
    int64_t ms = mta_time_from_text(text, 1000);
    free(text);
    return ms;
}

static void set_from_parameters(
    struct mta_milter *milter, const struct postfix *postfix, const struct postfix_service *service)
{
    char *action = value_of(postfix, service, "milter_default_action"),
         *protocol = value_of(postfix, service, "milter_protocol");
    int64_t version;
    set_failure(milter, "milter_default_action", action);
    milter->times_ms[MTA_TIME_CONNECT] = seconds_of(postfix, service, "milter_connect_timeout");
    milter->times_ms[MTA_TIME_COMMAND] = seconds_of(postfix, service, "milter_command_timeout");
    milter->times_ms[MTA_TIME_END] = seconds_of(postfix, service, "milter_content_timeout");
    milter->protocol = text_to_i64(protocol, 0, 99, &version) == 0 ? (int)version : 0;
    free(action);
    free(protocol);
}

/* "connect_timeout=10s" within a milter's braces. */
static void set_own(struct mta_milter *milter, char *setting)
{
    static const struct {
        const char *name;
        enum mta_time time;
    } times[] = {{"connect_timeout", MTA_TIME_CONNECT}, {"command_timeout", MTA_TIME_COMMAND},
        {"content_timeout", MTA_TIME_END}};
    char *equals = strchr(setting, '=');
    int64_t version;
    if (equals == NULL) {
        return;
    }
    *equals = 0;
    const char *value = equals + 1;
    if (strcmp(setting, "default_action") == 0) {
        set_failure(milter, "default_action", value);
    } else if (strcmp(setting, "protocol") == 0 && text_to_i64(value, 0, 99, &version) == 0) {
        milter->protocol = (int)version;
    }
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (strcmp(setting, times[i].name) == 0) {
            milter->times_ms[times[i].time] = mta_time_from_text(value, 1000);
        }
    }
}

static bool is_same(const struct mta_milter *a, const struct mta_milter *b)
{
    return strcmp(a->spec, b->spec) == 0 && a->is_chrooted == b->is_chrooted &&
           a->protocol == b->protocol && strcmp(a->failure_text, b->failure_text) == 0 &&
           memcmp(a->times_ms, b->times_ms, sizeof(a->times_ms)) == 0;
}

/* Several services share main.cf's milters: told once. */
static void drop_double(struct mta *mta)
{
    struct mta_milter *last = &mta->milters[mta->n_milters - 1];
    for (int i = 0; i < mta->n_milters - 1; i++) {
        if (is_same(&mta->milters[i], last)) {
            free(last->where);
            free(last->spec);
            free(last->failure_text);
            mta->n_milters--;
            return;
        }
    }
}

/* One milter of a list; returns whether it is ours. */
static bool take_milter(struct postfix *postfix, const struct postfix_service *service,
    const char *where, const char *item, bool is_group)
{
    bool dummy;
    const char *rest = item;
    char *spec = is_group ? postfix_next_item(&rest, &dummy) : xstrdup(item);
    struct mta_milter *milter = spec != NULL ? mta_add_milter(postfix->mta, postfix->doctor, where,
                                                   spec, is_chrooted(postfix, service))
                                             : NULL;
    free(spec);
    if (milter == NULL) {
        return false;
    }
    set_from_parameters(milter, postfix, service);
    for (char *setting; is_group && (setting = postfix_next_item(&rest, &dummy)) != NULL;) {
        set_own(milter, setting);
        free(setting);
    }
    bool is_ours = milter->is_ours;
    drop_double(postfix->mta);
    return is_ours;
}

static bool is_switched_off(const struct postfix *postfix, const struct postfix_service *service)
{
    char *options = value_of(postfix, service, "receive_override_options");
    bool is_off = strstr(options, "no_milters") != NULL;
    free(options);
    return is_off;
}

static void take_way(struct postfix *postfix, const struct postfix_service *service,
    const char *parameter, bool is_network)
{
    char *list = value_of(postfix, service, parameter);
    bool is_own = postfix_parameters_find(&service->overrides, parameter) != NULL, is_group;
    int n_ours = 0;
    char *where = is_own ? xasprintf("%s of %.100s in master.cf", parameter, service->name)
                         : xstrdup(parameter);
    const char *rest = list;
    for (char *item; !is_switched_off(postfix, service) &&
                     (item = postfix_next_item(&rest, &is_group)) != NULL;) {
        n_ours += take_milter(postfix, service, where, item, is_group);
        free(item);
    }
    char *name = is_network ? xasprintf("smtpd at %.100s", service->name) : xstrdup(parameter);
    mta_add_way(postfix->mta, name, is_network, n_ours);
    free(name);
    free(where);
    free(list);
}

static void take_ways(struct postfix *postfix)
{
    for (int i = 0; i < postfix->services.n; i++) {
        const struct postfix_service *service = &postfix->services.items[i];
        if (strcmp(service->command, "smtpd") == 0) {
            take_way(postfix, service, "smtpd_milters", true);
        } else if (strcmp(service->command, "cleanup") == 0 &&
                   strcmp(service->name, "cleanup") == 0) {
            take_way(postfix, service, "non_smtpd_milters", false);
        }
    }
}

static void take_macros(struct postfix *postfix)
{
    for (size_t i = 0; i < sizeof(macro_lists) / sizeof(macro_lists[0]); i++) {
        if (postfix_parameters_find(&postfix->parameters, macro_lists[i].name) != NULL) {
            char *text = value_of(postfix, NULL, macro_lists[i].name);
            mta_add_macros(postfix->mta, macro_lists[i].stage, macro_lists[i].name, text);
            free(text);
        }
    }
}

static void take_all(struct postfix *postfix)
{
    struct mta *mta = postfix->mta;
    char *limit = value_of(postfix, NULL, "message_size_limit");
    mta->user = value_of(postfix, NULL, "mail_owner");
    mta->queue_dir = value_of(postfix, NULL, "queue_directory");
    if (text_to_i64(limit, 0, INT64_MAX, &mta->max_message) != 0) {
        mta->max_message = 0;
    }
    free(limit);
    take_ways(postfix);
    take_macros(postfix);
}

/* False with mta->error. */
static bool read_one(struct mta *mta, const char *dir, const char *name, char **text_out)
{
    char *path = xasprintf("%s/%s", dir, name);
    int rc = doctor_read_file(path, text_out);
    if (rc != 0 && mta->error == NULL) {
        mta->error = xasprintf("%s: %s", path, rc == -ERR_NOTFOUND ? "no such file" : err_text(rc));
    }
    free(path);
    return rc == 0;
}

void postfix_read(struct mta *mta, const struct doctor *doctor, const char *dir)
{
    struct postfix postfix = {.mta = mta, .doctor = doctor};
    char *main_cf = NULL, *master_cf = NULL;
    mta->kind = MTA_POSTFIX;
    mta->name = "Postfix";
    mta->path = xasprintf("%s/main.cf", dir);
    mta->size_name = "message_size_limit";
    mta->time_names[MTA_TIME_CONNECT] = "milter_connect_timeout";
    mta->time_names[MTA_TIME_COMMAND] = "milter_command_timeout";
    mta->time_names[MTA_TIME_END] = "milter_content_timeout";
    if (read_one(mta, dir, "main.cf", &main_cf) && read_one(mta, dir, "master.cf", &master_cf)) {
        postfix_parameters_parse(&postfix.parameters, main_cf);
        postfix_services_parse(&postfix.services, master_cf);
        take_all(&postfix);
    }
    free(main_cf);
    free(master_cf);
    postfix_parameters_clear(&postfix.parameters);
    postfix_services_clear(&postfix.services);
}
