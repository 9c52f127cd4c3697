/* sendmail's side: its filters with their equates, the daemons that use them, its limits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "ctl/doctor.h"
#include "ctl/doctor_mta.h"
#include "ctl/sendmail_file.h"

/* sendmail's own, where T= names none. */
static const struct {
    char letter;
    enum mta_time time;
    int64_t default_ms;
} times[] = {
    {'C', MTA_TIME_CONNECT, 300000}, {'R', MTA_TIME_COMMAND, 10000}, {'E', MTA_TIME_END, 300000}};
enum { N_TIMES = sizeof(times) / sizeof(times[0]) };

static const struct {
    enum stage stage;
    const char *name;
} macro_lists[SENDMAIL_N_MACROS] = {
    {STAGE_CONNECT, "Milter.macros.connect"},
    {STAGE_HELO, "Milter.macros.helo"},
    {STAGE_MAIL, "Milter.macros.envfrom"},
    {STAGE_RCPT, "Milter.macros.envrcpt"},
    {STAGE_DATA, "Milter.macros.data"},
    {STAGE_EOH, "Milter.macros.eoh"},
    {STAGE_EOM, "Milter.macros.eom"},
};

/* "C:30s;S:30s;R:30s;E:5m" */
static void set_times(struct mta_milter *milter, const char *text)
{
    for (int i = 0; i < N_TIMES; i++) {
        milter->times_ms[times[i].time] = times[i].default_ms;
    }
    while (text != NULL && *text != 0) {
        text += strspn(text, " \t;");
        size_t len = strcspn(text, ";");
        for (int i = 0; i < N_TIMES; i++) {
            if (text[0] == times[i].letter && text[1] == ':') {
                char *value = xmemdup0(text + 2, len - 2);
                milter->times_ms[times[i].time] = mta_time_from_text(value, 1000);
                free(value);
            }
        }
        text += len;
    }
}

static void set_failure(struct mta_milter *milter, const char *name, const char *flags)
{
    static const struct {
        char flag;
        enum mta_failure failure;
    } kinds[] = {{'T', MTA_FAILS_TEMPFAIL}, {'4', MTA_FAILS_TEMPFAIL}, {'R', MTA_FAILS_REJECT}};
    milter->failure = MTA_FAILS_ACCEPT;
    for (size_t i = 0; flags != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strchr(flags, kinds[i].flag) != NULL) {
            milter->failure = kinds[i].failure;
        }
    }
    milter->failure_text = flags != NULL ? xasprintf("F=%.20s of X%.60s", flags, name)
                                         : xasprintf("no F= in X%.60s", name);
}

static bool take_filter(
    struct mta *mta, const struct doctor *doctor, const char *name, const char *equates)
{
    char *where = xasprintf("X%.60s", name), *spec = sendmail_equate(equates, "S");
    struct mta_milter *milter = mta_add_milter(mta, doctor, where, spec != NULL ? spec : "", false);
    bool is_ours = milter != NULL && milter->is_ours;
    if (milter != NULL) {
        char *flags = sendmail_equate(equates, "F"), *patience = sendmail_equate(equates, "T");
        set_failure(milter, name, flags);
        set_times(milter, patience);
        free(flags);
        free(patience);
    }
    free(where);
    free(spec);
    return is_ours;
}

/* Whether a list of names, separated by commas or semicolons, has one of ours. Adds nothing. */
static bool list_has(const char *list, const char *name)
{
    size_t name_len = strlen(name);
    for (const char *at = list; *at != 0;) {
        at += strspn(at, " \t,;");
        size_t len = strcspn(at, " \t,;");
        if (len == name_len && strncmp(at, name, len) == 0) {
            return true;
        }
        at += len;
    }
    return false;
}

/* The filters that some daemon uses, and which of their names are ours. */
static void take_daemon(
    struct mta *mta, const struct sendmail_file *file, const char *equates, const bool *is_ours)
{
    char *own = sendmail_equate(equates, "InputMailFilters"),
         *name = sendmail_equate(equates, "Name");
    const char *list = own != NULL ? own : file->inputs != NULL ? file->inputs : "";
    int n_ours = 0;
    for (int i = 0; i < file->n_filters; i++) {
        n_ours += is_ours[i] && list_has(list, file->filters[i].name);
    }
    char *shown = xasprintf("daemon %.60s", name != NULL ? name : "MTA");
    mta_add_way(mta, shown, true, n_ours);
    free(shown);
    free(own);
    free(name);
}

static void take_all(struct mta *mta, const struct doctor *doctor, const struct sendmail_file *file)
{
    bool is_ours[sizeof(file->filters) / sizeof(file->filters[0])] = {false};
    for (int i = 0; i < file->n_filters; i++) {
        is_ours[i] = take_filter(mta, doctor, file->filters[i].name, file->filters[i].equates);
    }
    for (int i = 0; i < file->n_daemons; i++) {
        take_daemon(mta, file, file->daemons[i], is_ours);
    }
    if (file->n_daemons == 0) {
        take_daemon(mta, file, "Name=MTA", is_ours);
    }
    for (int i = 0; i < SENDMAIL_N_MACROS; i++) {
        if (file->macros[i] != NULL) {
            mta_add_macros(mta, macro_lists[i].stage, macro_lists[i].name, file->macros[i]);
        }
    }
    if (file->max_message == NULL ||
        text_to_i64(file->max_message, 0, INT64_MAX, &mta->max_message) != 0) {
        mta->max_message = 0;
    }
    const char *user = file->run_as != NULL && file->run_as[0] != 0 ? file->run_as : "root";
    mta->user = xmemdup0(user, strcspn(user, ":."));
    mta->may_group_write = file->dont_blame != NULL &&
                           strcasestr(file->dont_blame, "GroupWritableDirPathSafe") != NULL;
}

static bool is_mc(const char *path)
{
    size_t len = strlen(path);
    return len > 3 && strcmp(path + len - 3, ".mc") == 0;
}

/* Whether the .mc beside a .cf was changed after the .cf was built. */
static bool is_older_than_mc(const char *path)
{
    struct stat cf, mc;
    size_t len = strlen(path);
    if (len < 3 || strcmp(path + len - 3, ".cf") != 0) {
        return false;
    }
    char *other = xasprintf("%.*s.mc", (int)(len - 3), path);
    bool is_older =
        stat(path, &cf) == 0 && stat(other, &mc) == 0 &&
        (mc.st_mtim.tv_sec > cf.st_mtim.tv_sec ||
            (mc.st_mtim.tv_sec == cf.st_mtim.tv_sec && mc.st_mtim.tv_nsec > cf.st_mtim.tv_nsec));
    free(other);
    return is_older;
}

void sendmail_read(struct mta *mta, const struct doctor *doctor, const char *path)
{
    char *text = NULL;
    mta->kind = MTA_SENDMAIL;
    mta->name = "sendmail";
    mta->path = xstrdup(path);
    mta->size_name = "MaxMessageSize";
    mta->time_names[MTA_TIME_CONNECT] = "C in T=";
    mta->time_names[MTA_TIME_COMMAND] = "R in T=";
    mta->time_names[MTA_TIME_END] = "E in T=";
    int rc = doctor_read_file(path, &text);
    if (rc != 0) {
        mta->error = xasprintf("%s: %s", path, rc == -ERR_NOTFOUND ? "no such file" : err_text(rc));
        return;
    }
    struct sendmail_file file = {0};
    if (is_mc(path)) {
        sendmail_file_parse_mc(&file, text);
    } else {
        sendmail_file_parse_cf(&file, text);
    }
    mta->is_older_than_mc = is_older_than_mc(path);
    take_all(mta, doctor, &file);
    sendmail_file_clear(&file);
    free(text);
}
