/* The checks of a mail server's side against ours; Postfix's and sendmail's files have been read
 * into one form. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/proc.h"
#include "ctl/doctor.h"
#include "ctl/doctor_access.h"
#include "ctl/doctor_mta.h"
#include "ctl/doctor_users.h"

/* RFC 5321, 4.5.3.2.6: how long a client waits for the answer to the end of its message. */
enum { CLIENT_PATIENCE_MS = 600000, PROTOCOL_VERSION = 6, MEND_BYTES = 1024 };

void check_mta(struct doctor *doctor)
{
    if (doctor->n_mtas == 0) {
        doctor_say(doctor, DOCTOR_NOTE, "name its configuration: --postfix DIR or --sendmail FILE",
            "no mail server's configuration was found (/etc/postfix/main.cf, "
            "/etc/mail/sendmail.cf)");
    }
    for (int i = 0; i < doctor->n_mtas; i++) {
        doctor->mta = &doctor->mtas[i];
        if (doctor->mta->error != NULL) {
            doctor_say(doctor, DOCTOR_PROBLEM,
                "name the right place: --postfix DIR, --sendmail FILE", "%s", doctor->mta->error);
        } else if (doctor->mta->is_older_than_mc) {
            doctor_say(doctor, DOCTOR_WARNING,
                "build it anew (Debian: make -C /etc/mail), then restart sendmail",
                "%s is older than the .mc file beside it", doctor->mta->path);
        } else {
            doctor_say(doctor, DOCTOR_OK, NULL, "%s", doctor->mta->path);
        }
    }
    doctor->mta = NULL;
}

static int n_ours(const struct mta *mta)
{
    int n = 0;
    for (int i = 0; i < mta->n_ways; i++) {
        n += mta->ways[i].n_ours;
    }
    return n;
}

/* Whether another mail server found on this machine names our socket. */
static bool another_has_ours(const struct doctor *doctor)
{
    for (int i = 0; i < doctor->n_mtas; i++) {
        if (&doctor->mtas[i] != doctor->mta && n_ours(&doctor->mtas[i]) > 0) {
            return true;
        }
    }
    return false;
}

static void tell_none(struct doctor *doctor)
{
    const struct mta *mta = doctor->mta;
    char socket[300], mend[MEND_BYTES];
    sock_spec_to_text(&doctor->milter, -1, socket, sizeof(socket));
    if (mta->kind == MTA_POSTFIX) {
        snprintf(mend, sizeof(mend), "in main.cf: smtpd_milters = %s; see docs/postfix.md", socket);
    } else {
        snprintf(mend, sizeof(mend),
            "in sendmail.mc: INPUT_MAIL_FILTER(`postern', `S=%s, F=T, ...'); see docs/sendmail.md",
            socket);
    }
    if (another_has_ours(doctor)) {
        doctor_say(doctor, DOCTOR_NOTE, NULL,
            "%s does not name our socket; the other mail server does", mta->name);
    } else {
        doctor_say(doctor, DOCTOR_PROBLEM, mend, "%s does not name %s: mail passes by Postern",
            mta->name, socket);
    }
}

static void look_at_way(struct doctor *doctor, const struct mta_way *way)
{
    if (way->n_ours > 1) {
        doctor_say(doctor, DOCTOR_WARNING, "name it once",
            "%s names our socket %d times: each message is filtered as often", way->name,
            way->n_ours);
    } else if (way->n_ours == 1) {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s: filtered", way->name);
    } else if (way->is_network) {
        doctor_say(doctor, DOCTOR_WARNING,
            "add our socket there too, unless that mail is to pass unfiltered",
            "%s: not filtered, others are", way->name);
    } else {
        doctor_say(doctor, DOCTOR_NOTE,
            "set it, if mail submitted on this machine is to be filtered",
            "%s does not name our socket", way->name);
    }
}

void check_mta_milters(struct doctor *doctor)
{
    const struct mta *mta = doctor->mta;
    if (doctor->milter.kind == SOCK_KIND_FD) {
        doctor_say(doctor, DOCTOR_NOTE, NULL,
            "our socket is the service manager's (%s): not compared", doctor->conf->milterd.socket);
        return;
    }
    for (int i = 0; i < mta->n_milters; i++) {
        if (!mta->milters[i].is_valid) {
            doctor_say(doctor, DOCTOR_PROBLEM,
                "unix:PATH or inet:PORT@HOST (Postfix: inet:HOST:PORT); a path has 107 bytes at "
                "most",
                "%s: \"%.200s\" is no socket", mta->milters[i].where, mta->milters[i].spec);
        }
    }
    if (n_ours(mta) == 0) {
        tell_none(doctor);
        return;
    }
    for (int i = 0; i < mta->n_ways; i++) {
        look_at_way(doctor, &mta->ways[i]);
    }
}

/* Calls look for each milter of ours. */
static void each_ours(
    struct doctor *doctor, void (*look)(struct doctor *doctor, const struct mta_milter *milter))
{
    for (int i = 0; i < doctor->mta->n_milters; i++) {
        if (doctor->mta->milters[i].is_ours) {
            look(doctor, &doctor->mta->milters[i]);
        }
    }
}

static void look_at_failure(struct doctor *doctor, const struct mta_milter *milter)
{
    const char *mend = doctor->mta->kind == MTA_POSTFIX
                           ? "milter_default_action = tempfail"
                           : "F=T in the line of the filter, then build sendmail.cf anew";
    switch (milter->failure) {
    case MTA_FAILS_TEMPFAIL:
        doctor_say(doctor, DOCTOR_OK, NULL, "senders try again later (%s)", milter->failure_text);
        break;
    case MTA_FAILS_ACCEPT:
        doctor_say(doctor, DOCTOR_PROBLEM, mend, "mail passes unfiltered when Postern is down (%s)",
            milter->failure_text);
        break;
    case MTA_FAILS_REJECT:
        doctor_say(doctor, DOCTOR_WARNING, mend, "mail bounces when Postern is down (%s)",
            milter->failure_text);
        break;
    case MTA_FAILS_OTHER:
        doctor_say(doctor, DOCTOR_NOTE, NULL, "%s", milter->failure_text);
        break;
    }
}

void check_mta_failure(struct doctor *doctor)
{
    each_ours(doctor, look_at_failure);
}

/* One of the mail server's times against one of ours. True: long enough. */
static bool is_longer(struct doctor *doctor, const struct mta_milter *milter, enum mta_time time,
    int64_t ours_ms, const char *ours, enum doctor_grade grade, const char *what)
{
    const char *name = doctor->mta->time_names[time];
    int64_t theirs_ms = milter->times_ms[time];
    char their_text[32], our_text[32], mend[MEND_BYTES];
    if (theirs_ms < 0) {
        doctor_say(doctor, DOCTOR_WARNING, "a number with s, m or h", "%s of %s is no time", name,
            milter->where);
        return false;
    }
    doctor_time_text(their_text, sizeof(their_text), theirs_ms);
    doctor_time_text(our_text, sizeof(our_text), ours_ms);
    snprintf(mend, sizeof(mend), "raise %s above %s, or lower %s", name, our_text, ours);
    if (theirs_ms <= ours_ms) {
        doctor_say(
            doctor, grade, mend, "%s is %s, %s is %s: %s", name, their_text, ours, our_text, what);
    }
    return theirs_ms > ours_ms;
}

static void look_at_times(struct doctor *doctor, const struct mta_milter *milter)
{
    const struct conf *conf = doctor->conf;
    bool is_fine = is_longer(doctor, milter, MTA_TIME_CONNECT, conf->milterd.reconnect_time,
        "milterd.reconnect_time", DOCTOR_WARNING,
        "while the multiplexor starts again, the mail server gives up first");
    is_fine =
        is_longer(doctor, milter, MTA_TIME_COMMAND, conf->milterd.stage_time, "milterd.stage_time",
            DOCTOR_PROBLEM, "the mail server gives up before a hook's time is over") &&
        is_fine;
    is_fine = is_longer(doctor, milter, MTA_TIME_END, conf->milterd.progress_interval,
                  "milterd.progress_interval", DOCTOR_PROBLEM,
                  "the mail server gives up before it hears that we are at work") &&
              is_fine;
    if (is_fine &&
        is_longer(doctor, milter, MTA_TIME_END, conf->milterd.message_time, "milterd.message_time",
            DOCTOR_NOTE, "long messages live by the progress that is reported")) {
        doctor_say(
            doctor, DOCTOR_OK, NULL, "%s waits longer than our time budgets", doctor->mta->name);
    }
}

void check_mta_times(struct doctor *doctor)
{
    each_ours(doctor, look_at_times);
    if (doctor->conf->milterd.message_time >= CLIENT_PATIENCE_MS) {
        doctor_say(doctor, DOCTOR_WARNING, "lower it below 10m",
            "milterd.message_time is as long as the sending server waits (10 minutes), and it "
            "would send again");
    }
}

/* The socket's mode and owner: as it is, or as milterd will make it. */
static void stat_socket(const struct doctor *doctor, const char *path, struct stat *out)
{
    const struct conf *conf = doctor->conf;
    struct access_user milterd;
    if (stat(path, out) == 0) {
        return;
    }
    users_of(doctor, USERS_MILTERD, &milterd);
    gid_t gid = milterd.n_groups > 0 ? milterd.groups[0] : milterd.uid;
    if (conf->milterd.socket_group[0] != 0) {
        (void)proc_group_id(conf->milterd.socket_group, &gid);
    }
    *out = (struct stat){.st_mode = (mode_t)(S_IFSOCK | conf->milterd.socket_mode),
        .st_uid = milterd.uid,
        .st_gid = gid};
}

/* sendmail refuses a socket that others might replace. True: it takes it. */
static bool is_safe_for_sendmail(struct doctor *doctor, const char *path)
{
    char folder[ACCESS_PATH_MAX];
    bool is_all = access_folder_above_with(path, S_IWOTH, folder);
    if (!is_all &&
        (doctor->mta->may_group_write || !access_folder_above_with(path, S_IWGRP, folder))) {
        return true;
    }
    doctor_say(doctor, DOCTOR_PROBLEM,
        "a socket below /run/postern; each folder above with mode 0755 or less",
        "sendmail refuses %s as unsafe: %s may write the folder %s", path,
        is_all ? "everybody" : "a group", folder);
    return false;
}

static void look_at_socket(struct doctor *doctor, const struct mta_milter *milter)
{
    const char *path = milter->sock.path; /* as the mail server sees it */
    char blocker[ACCESS_PATH_MAX], mend[MEND_BYTES];
    struct access_user user;
    struct stat st;
    if (milter->sock.kind != SOCK_KIND_UNIX) {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s: by TCP, from the networks of milterd.allow",
            milter->spec);
        return;
    }
    if (milter->is_outside_chroot) {
        snprintf(mend, sizeof(mend),
            "put the socket below %s (docs/postfix.md), or n in the chroot column of master.cf",
            doctor->mta->queue_dir);
        doctor_say(doctor, DOCTOR_PROBLEM, mend, "%s: the process is chrooted and looks for %s",
            milter->spec, milter->sock.path);
        return;
    }
    if (access_user_find(doctor->mta->user, &user) != 0) {
        doctor_say(doctor, DOCTOR_WARNING, "look at the mail server's installation",
            "%s runs as %.60s: no such user here", doctor->mta->name, doctor->mta->user);
        return;
    }
    if (doctor->mta->kind == MTA_SENDMAIL && !is_safe_for_sendmail(doctor, path)) {
        return;
    }
    int rc = access_reach(&user, path, blocker);
    if (rc == -ERR_NOTFOUND) {
        doctor_say(doctor, DOCTOR_PROBLEM, "make it, then start postern-milterd",
            "%s: the folder %s is not there", path, blocker);
        return;
    }
    stat_socket(doctor, path, &st);
    snprintf(mend, sizeof(mend), "milterd.socket_group = a group of %s, milterd.socket_mode = 0660",
        user.name);
    if (rc != 0) {
        doctor_say(doctor, DOCTOR_PROBLEM, "chmod o+x, or give the folder to a group of that user",
            "%s: user %s does not get past %s", path, user.name, blocker);
    } else if (!access_is_granted(&user, &st, 2)) {
        doctor_say(doctor, DOCTOR_PROBLEM, mend, "user %s may not connect to %s (mode %04o)",
            user.name, path, (unsigned)(st.st_mode & 07777));
    } else {
        doctor_say(doctor, DOCTOR_OK, NULL, "user %s may connect to %s", user.name, path);
    }
}

void check_mta_socket(struct doctor *doctor)
{
    each_ours(doctor, look_at_socket);
}

static void look_at_protocol(struct doctor *doctor, const struct mta_milter *milter)
{
    if (milter->protocol != 0 && milter->protocol < PROTOCOL_VERSION) {
        doctor_say(doctor, DOCTOR_PROBLEM, "milter_protocol = 6",
            "milter_protocol is %d for %s: stages and changes are missing", milter->protocol,
            milter->spec);
    } else {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s offers version %d", milter->where,
            milter->protocol != 0 ? milter->protocol : PROTOCOL_VERSION);
    }
}

void check_mta_protocol(struct doctor *doctor)
{
    each_ours(doctor, look_at_protocol);
}

void check_mta_sizes(struct doctor *doctor)
{
    const struct mta *mta = doctor->mta;
    char ours[32], theirs[32], mend[MEND_BYTES];
    doctor_bytes_text(ours, sizeof(ours), doctor->conf->milterd.max_message);
    doctor_bytes_text(theirs, sizeof(theirs), mta->max_message);
    if (mta->max_message == 0) {
        snprintf(mend, sizeof(mend), "set %s to at most %s", mta->size_name, ours);
        doctor_say(doctor, DOCTOR_NOTE, mend,
            "%s is not set: messages over milterd.max_message (%s) get milterd.on_oversize",
            mta->size_name, ours);
    } else if (mta->max_message > doctor->conf->milterd.max_message) {
        snprintf(mend, sizeof(mend), "raise milterd.max_message above %s, or lower %s", theirs,
            mta->size_name);
        doctor_say(doctor, DOCTOR_WARNING, mend,
            "%s is %s, milterd.max_message is %s: what is between gets milterd.on_oversize",
            mta->size_name, theirs, ours);
    } else {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s is %s, within milterd.max_message (%s)",
            mta->size_name, theirs, ours);
    }
}
