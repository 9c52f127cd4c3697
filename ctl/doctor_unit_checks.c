/* The check of systemd's units against the configuration. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xalloc.h"
#include "ctl/doctor.h"
#include "ctl/doctor_units.h"

enum { PATH_BYTES = 4096 };

/* Whether path is the folder or lies in it. */
static bool is_below(const char *path, const char *folder, size_t len)
{
    while (len > 1 && folder[len - 1] == '/') {
        len--;
    }
    return strncmp(path, folder, len) == 0 && (path[len] == 0 || path[len] == '/');
}

/* Whether one of the words of a list (ReadWritePaths, or names below a base folder) holds the path.
 */
static bool is_in_words(const char *path, const char *base, const char *words)
{
    char folder[PATH_BYTES];
    for (const char *word = words; word != NULL && word[0] != 0;) {
        word += strspn(word, " \t");
        size_t len = strcspn(word, " \t");
        size_t skip = strspn(word, "-+");
        snprintf(folder, sizeof(folder), "%s%s%.*s", base, base[0] != 0 ? "/" : "",
            (int)(len - (skip < len ? skip : len)), word + skip);
        if (folder[0] != 0 && is_below(path, folder, strlen(folder))) {
            return true;
        }
        word += len;
    }
    return false;
}

/* Whether the unit lets its daemon write a path that its sandbox keeps read-only otherwise. */
static bool may_write(const struct units *units, enum unit unit, const char *path)
{
    const char *protect = units_get(units, unit, "ProtectSystem");
    return protect == NULL || strcmp(protect, "strict") != 0 || is_below(path, "/dev", 4) ||
           is_below(path, "/tmp", 4) ||
           is_in_words(path, "", units_get(units, unit, "ReadWritePaths")) ||
           is_in_words(path, "/var/lib", units_get(units, unit, "StateDirectory")) ||
           is_in_words(path, "/run", units_get(units, unit, "RuntimeDirectory")) ||
           is_in_words(path, "/var/log", units_get(units, unit, "LogsDirectory")) ||
           is_in_words(path, "/var/cache", units_get(units, unit, "CacheDirectory"));
}

static void look_at_write(
    struct doctor *doctor, enum unit unit, const char *option, const char *path, int *n_bad)
{
    if (path[0] != '/' || !units_has(doctor->units, unit) || may_write(doctor->units, unit, path)) {
        return;
    }
    char mend[PATH_BYTES + 200];
    snprintf(mend, sizeof(mend), "systemctl edit %s: [Service] ReadWritePaths=%s", units_name(unit),
        path);
    (*n_bad)++;
    doctor_say(doctor, DOCTOR_PROBLEM, mend, "%s = %s is read-only for %s (ProtectSystem=strict)",
        option, path, units_name(unit));
}

static void look_at_writes(struct doctor *doctor, int *n_bad)
{
    const struct conf *conf = doctor->conf;
    look_at_write(doctor, UNIT_MILTERD, "milterd.spool", conf->milterd.spool, n_bad);
    if (doctor->milter.kind == SOCK_KIND_UNIX && !units_is_enabled(doctor->units, UNIT_SOCKET)) {
        look_at_write(doctor, UNIT_MILTERD, "milterd.socket", doctor->milter.path, n_bad);
    }
    look_at_write(doctor, UNIT_MULTIPLEXOR, "worker.state_dir", conf->worker.state_dir, n_bad);
    look_at_write(doctor, UNIT_MULTIPLEXOR, "multiplexor.socket", conf->multiplexor.socket, n_bad);
    look_at_write(doctor, UNIT_MULTIPLEXOR, "multiplexor.control_socket",
        conf->multiplexor.control_socket, n_bad);
    look_at_write(
        doctor, UNIT_MULTIPLEXOR, "multiplexor.map_socket", conf->multiplexor.map_socket, n_bad);
    look_at_write(doctor, UNIT_MULTIPLEXOR, "urls.directory", conf->urls.directory, n_bad);
    look_at_write(doctor, UNIT_MULTIPLEXOR, "urls.index", conf->urls.index, n_bad);
    look_at_write(doctor, UNIT_MULTIPLEXOR, "trap.directory", conf->trap.directory, n_bad);
    char *rest = NULL, *copy = xstrdup(conf->worker.write_paths);
    for (char *path = strtok_r(copy, ":", &rest); path != NULL; path = strtok_r(NULL, ":", &rest)) {
        look_at_write(doctor, UNIT_MULTIPLEXOR, "worker.write_paths", path, n_bad);
    }
    free(copy);
}

/* A daemon that the manager starts as one user cannot become another. */
static void look_at_user(
    struct doctor *doctor, enum unit unit, const char *option, const char *configured, int *n_bad)
{
    const char *user = units_get(doctor->units, unit, "User");
    if (user != NULL && configured[0] != 0 && strcmp(user, configured) != 0 &&
        strcmp(user, "root") != 0) {
        (*n_bad)++;
        doctor_say(doctor, DOCTOR_PROBLEM, "leave the option empty, or make both the same",
            "%s starts as %s and cannot become %s = %s", units_name(unit), user, option,
            configured);
    }
}

static void look_at_stop(
    struct doctor *doctor, enum unit unit, const char *option, int64_t drain_ms, int *n_bad)
{
    const char *text = units_get(doctor->units, unit, "TimeoutStopSec");
    int64_t stop_ms;
    if (text != NULL && text_to_ms(text, &stop_ms) == 0 && stop_ms > 0 && stop_ms <= drain_ms) {
        (*n_bad)++;
        doctor_say(doctor, DOCTOR_WARNING, "raise TimeoutStopSec=, or lower the option",
            "%s is killed after TimeoutStopSec=%s, before %s is over", units_name(unit), text,
            option);
    }
}

static void look_at_socket_unit(struct doctor *doctor, int *n_bad)
{
    const char *listens = units_get(doctor->units, UNIT_SOCKET, "ListenStream");
    if (!units_has(doctor->units, UNIT_SOCKET) || !units_is_enabled(doctor->units, UNIT_SOCKET) ||
        doctor->milter.kind != SOCK_KIND_UNIX || listens == NULL) {
        return;
    }
    if (strcmp(listens, doctor->milter.path) != 0) {
        (*n_bad)++;
        doctor_say(doctor, DOCTOR_PROBLEM, "make ListenStream= and milterd.socket the same",
            "%s listens at %s, milterd.socket says %s", units_name(UNIT_SOCKET), listens,
            doctor->milter.path);
    }
    const char *group = units_get(doctor->units, UNIT_SOCKET, "SocketGroup");
    if (doctor->conf->milterd.socket_group[0] != 0 &&
        (group == NULL || strcmp(group, doctor->conf->milterd.socket_group) != 0)) {
        (*n_bad)++;
        doctor_say(doctor, DOCTOR_WARNING, "set SocketGroup= in the unit",
            "%s makes the socket, so milterd.socket_group = %s has no effect",
            units_name(UNIT_SOCKET), doctor->conf->milterd.socket_group);
    }
}

/* What the unit hides from its daemon. */
static void look_at_hidden(struct doctor *doctor, int *n_bad)
{
    const char *home = units_get(doctor->units, UNIT_MULTIPLEXOR, "ProtectHome"),
               *filter = doctor->conf->worker.filter;
    const char *tmp = units_get(doctor->units, UNIT_MILTERD, "PrivateTmp");
    bool value;
    if (home != NULL && (text_to_bool(home, &value) != 0 || value) &&
        (is_below(filter, "/home", 5) || is_below(filter, "/root", 5))) {
        (*n_bad)++;
        doctor_say(doctor, DOCTOR_PROBLEM, "keep it in /etc/postern",
            "worker.filter = %s is hidden from %s (ProtectHome=%s)", filter,
            units_name(UNIT_MULTIPLEXOR), home);
    }
    if (tmp != NULL && text_to_bool(tmp, &value) == 0 && value &&
        doctor->milter.kind == SOCK_KIND_UNIX && is_below(doctor->milter.path, "/tmp", 4)) {
        (*n_bad)++;
        doctor_say(doctor, DOCTOR_PROBLEM, "a socket below /run/postern",
            "milterd.socket = %s is in a /tmp that only %s sees (PrivateTmp=%s)",
            doctor->milter.path, units_name(UNIT_MILTERD), tmp);
    }
}

void check_units(struct doctor *doctor)
{
    int n_bad = 0;
    if (doctor->units == NULL) {
        doctor_say(doctor, DOCTOR_OK, NULL, "no units of Postern here: nothing to compare");
        return;
    }
    look_at_socket_unit(doctor, &n_bad);
    look_at_writes(doctor, &n_bad);
    look_at_user(doctor, UNIT_MILTERD, "milterd.user", doctor->conf->milterd.user, &n_bad);
    look_at_user(
        doctor, UNIT_MULTIPLEXOR, "multiplexor.user", doctor->conf->multiplexor.user, &n_bad);
    look_at_stop(
        doctor, UNIT_MILTERD, "milterd.drain_time", doctor->conf->milterd.drain_time, &n_bad);
    look_at_stop(doctor, UNIT_MULTIPLEXOR, "multiplexor.drain_time",
        doctor->conf->multiplexor.drain_time, &n_bad);
    look_at_hidden(doctor, &n_bad);
    if (n_bad == 0) {
        doctor_say(doctor, DOCTOR_OK, NULL, "the units of Postern fit the configuration");
    }
}
