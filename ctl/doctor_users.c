#include "ctl/doctor_users.h"

#include <stdio.h>
#include <unistd.h>

#include "common/err.h"
#include "common/proc.h"
#include "ctl/doctor_units.h"

/* The user of a process that runs; false when it is gone. */
static bool user_of_process(int64_t pid, struct access_user *out)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%lld", (long long)pid);
    if (pid <= 0 || stat(path, &st) != 0) {
        return false;
    }
    access_user_of(st.st_uid, out);
    return true;
}

void users_of(const struct doctor *doctor, enum users_daemon daemon, struct access_user *out)
{
    bool is_milterd = daemon == USERS_MILTERD;
    const char *configured =
        is_milterd ? doctor->conf->milterd.user : doctor->conf->multiplexor.user;
    const char *unit =
        units_get(doctor->units, is_milterd ? UNIT_MILTERD : UNIT_MULTIPLEXOR, "User");
    if (configured[0] != 0 && access_user_find(configured, out) == 0) {
        return;
    }
    if (unit != NULL && access_user_find(unit, out) == 0) {
        return;
    }
    if (!user_of_process(json_integer_value(json_object_get(doctor->status, "pid")), out)) {
        access_user_of(geteuid(), out);
    }
}

static void look_for_user(struct doctor *doctor, const char *option, const char *name, int *n_bad)
{
    struct access_user user;
    if (name[0] != 0 && access_user_find(name, &user) != 0) {
        (*n_bad)++;
        doctor_say(doctor, DOCTOR_PROBLEM,
            "make the user (systemd-sysusers makes \"postern\"), or name another",
            "%s = %s: no such user", option, name);
    }
}

static void look_for_group(struct doctor *doctor, const char *option, const char *name, int *n_bad)
{
    gid_t gid;
    if (name[0] != 0 && proc_group_id(name, &gid) != 0) {
        (*n_bad)++;
        doctor_say(doctor, DOCTOR_PROBLEM, "make the group, or name another",
            "%s = %s: no such group", option, name);
    }
}

/* milterd gives its socket to a group: root may, others only to a group of their own. */
static void look_at_membership(struct doctor *doctor, const struct access_user *user, int *n_bad)
{
    const char *name = doctor->conf->milterd.socket_group;
    gid_t gid;
    if (user->uid == 0 || name[0] == 0 || proc_group_id(name, &gid) != 0) {
        return;
    }
    for (int i = 0; i < user->n_groups; i++) {
        if (user->groups[i] == gid) {
            return;
        }
    }
    char mend[256];
    snprintf(mend, sizeof(mend), "adduser %s %s, then restart postern-milterd", user->name, name);
    (*n_bad)++;
    doctor_say(doctor, DOCTOR_PROBLEM, mend,
        "milterd.socket_group = %s: user %s is not a member, and may not give the socket to it",
        name, user->name);
}

void check_users(struct doctor *doctor)
{
    const struct conf *conf = doctor->conf;
    int n_bad = 0;
    look_for_user(doctor, "milterd.user", conf->milterd.user, &n_bad);
    look_for_user(doctor, "multiplexor.user", conf->multiplexor.user, &n_bad);
    look_for_group(doctor, "milterd.group", conf->milterd.group, &n_bad);
    look_for_group(doctor, "milterd.socket_group", conf->milterd.socket_group, &n_bad);
    look_for_group(doctor, "multiplexor.group", conf->multiplexor.group, &n_bad);
    look_for_group(doctor, "multiplexor.control_group", conf->multiplexor.control_group, &n_bad);
    look_for_group(
        doctor, "multiplexor.map_socket_group", conf->multiplexor.map_socket_group, &n_bad);
    if (n_bad > 0) {
        return;
    }
    struct access_user milterd, multiplexor;
    users_of(doctor, USERS_MILTERD, &milterd);
    users_of(doctor, USERS_MULTIPLEXOR, &multiplexor);
    /* A socket that systemd makes gets its group from there. */
    if (doctor->milter.kind == SOCK_KIND_UNIX && conf->milterd.user[0] == 0) {
        look_at_membership(doctor, &milterd, &n_bad);
    }
    if (milterd.uid != multiplexor.uid && multiplexor.uid != 0 && milterd.uid != 0) {
        doctor_say(doctor, DOCTOR_PROBLEM,
            "run both as one user: milterd.user and multiplexor.user",
            "postern-milterd runs as %s, postern-multiplexor as %s, which refuses it", milterd.name,
            multiplexor.name);
    } else if (n_bad == 0 && multiplexor.uid == 0) {
        doctor_say(doctor, DOCTOR_WARNING,
            "set milterd.user and multiplexor.user, or User= in the units",
            "the daemons run as root, filters too");
    } else if (n_bad == 0) {
        doctor_say(doctor, DOCTOR_OK, NULL, "the daemons run as %s", multiplexor.name);
    }
}
