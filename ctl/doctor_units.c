#include "ctl/doctor_units.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "ctl/doctor.h"

enum { SETTINGS_MAX = 256, PATH_BYTES = 4096, VALUES_MAX = 8192 };

struct unit_file {
    bool is_there, is_enabled;
    struct {
        char *key, *value;
    } settings[SETTINGS_MAX];
    int n;
};

struct units {
    struct unit_file files[UNIT_COUNT];
};

static const char *const names[UNIT_COUNT] = {
    [UNIT_MILTERD] = "postern-milterd.service",
    [UNIT_MULTIPLEXOR] = "postern-multiplexor.service",
    [UNIT_SOCKET] = "postern-milterd.socket",
};

/* The first has the last word. */
static const char *const folders[] = {"/etc/systemd/system", "/run/systemd/system",
    "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"};
enum { N_FOLDERS = sizeof(folders) / sizeof(folders[0]) };

const char *units_name(enum unit unit)
{
    return names[unit];
}

bool units_has(const struct units *units, enum unit unit)
{
    return units != NULL && units->files[unit].is_there;
}

bool units_is_enabled(const struct units *units, enum unit unit)
{
    return units != NULL && units->files[unit].is_enabled;
}

/* Settings whose assignments add up; of the others the last counts. */
static bool is_list(const char *key)
{
    return strcmp(key, "ReadWritePaths") == 0 || strcmp(key, "ListenStream") == 0;
}

static int find(const struct unit_file *file, const char *key)
{
    for (int i = 0; i < file->n; i++) {
        if (strcmp(file->settings[i].key, key) == 0) {
            return i;
        }
    }
    return -1;
}

const char *units_get(const struct units *units, enum unit unit, const char *key)
{
    int i = units != NULL ? find(&units->files[unit], key) : -1;
    return i >= 0 && units->files[unit].settings[i].value[0] != 0
               ? units->files[unit].settings[i].value
               : NULL;
}

static void set(struct unit_file *file, const char *key, const char *value)
{
    int i = find(file, key);
    if (i < 0) {
        if (file->n == SETTINGS_MAX) {
            return;
        }
        i = file->n++;
        file->settings[i].key = xstrdup(key);
        file->settings[i].value = xstrdup("");
    }
    char *before = file->settings[i].value;
    bool adds = is_list(key) && value[0] != 0 && before[0] != 0 &&
                strlen(before) + strlen(value) < VALUES_MAX;
    file->settings[i].value = adds ? xasprintf("%s %s", before, value) : xstrdup(value);
    free(before);
}

static void take_line(struct unit_file *file, char *line)
{
    char *equals = strchr(line, '=');
    line += strspn(line, " \t");
    if (equals == NULL || equals <= line || line[0] == '#' || line[0] == ';' || line[0] == '[') {
        return;
    }
    *equals = 0;
    char *value = equals + 1 + strspn(equals + 1, " \t");
    line[strcspn(line, " \t")] = 0;
    for (size_t len = strlen(value); len > 0 && strchr(" \t\r", value[len - 1]) != NULL; len--) {
        value[len - 1] = 0;
    }
    set(file, line, value);
}

static bool read_unit(struct unit_file *file, const char *path)
{
    char *text = NULL, *rest = NULL;
    if (doctor_read_file(path, &text) != 0) {
        return false;
    }
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        take_line(file, line);
    }
    free(text);
    return true;
}

static int is_drop_in(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static void read_drop_ins(struct unit_file *file, const char *folder, const char *name)
{
    char dir[PATH_BYTES], path[PATH_BYTES + 300];
    struct dirent **entries = NULL;
    snprintf(dir, sizeof(dir), "%s/%s.d", folder, name);
    int n = scandir(dir, &entries, is_drop_in, alphasort);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
        (void)read_unit(file, path);
        free(entries[i]);
    }
    free(entries);
}

static void look_for(
    struct unit_file *file, const char *name, const char *const *where, int n_where)
{
    char path[PATH_BYTES];
    for (int i = 0; i < n_where && !file->is_there; i++) {
        snprintf(path, sizeof(path), "%s/%s", where[i], name);
        file->is_there = read_unit(file, path);
    }
    for (int i = n_where - 1; i >= 0; i--) {
        read_drop_ins(file, where[i], name);
        snprintf(path, sizeof(path), "%s/sockets.target.wants/%s", where[i], name);
        file->is_enabled = file->is_enabled || access(path, F_OK) == 0;
    }
}

void units_look(struct doctor *doctor)
{
    const char *given = args_get(doctor->args, ARG_UNITS);
    struct units *units = xcalloc(1, sizeof(*units));
    bool has_any = false;
    for (int i = 0; i < UNIT_COUNT; i++) {
        look_for(&units->files[i], names[i], given != NULL ? &given : folders,
            given != NULL ? 1 : N_FOLDERS);
        has_any = has_any || units->files[i].is_there;
    }
    const char *listens = units_get(units, UNIT_SOCKET, "ListenStream");
    if (doctor->milter.kind == SOCK_KIND_FD && listens != NULL) {
        (void)sock_spec_from_text(listens, &doctor->milter);
    }
    if (has_any) {
        doctor->units = units;
    } else {
        units_free(units);
    }
}

void units_free(struct units *units)
{
    for (int i = 0; units != NULL && i < UNIT_COUNT; i++) {
        for (int k = 0; k < units->files[i].n; k++) {
            free(units->files[i].settings[k].key);
            free(units->files[i].settings[k].value);
        }
    }
    free(units);
}
