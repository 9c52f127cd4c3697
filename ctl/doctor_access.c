#include "ctl/doctor_access.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"

static void fill(const struct passwd *user, struct access_user *out)
{
    *out = (struct access_user){.uid = user->pw_uid, .n_groups = ACCESS_GROUPS_MAX};
    snprintf(out->name, sizeof(out->name), "%s", user->pw_name);
    if (getgrouplist(user->pw_name, user->pw_gid, out->groups, &out->n_groups) < 0) {
        out->n_groups = ACCESS_GROUPS_MAX;
    }
}

void access_user_of(uid_t uid, struct access_user *out)
{
    const struct passwd *user = getpwuid(uid);
    if (user != NULL) {
        fill(user, out);
        return;
    }
    *out = (struct access_user){.uid = uid};
    snprintf(out->name, sizeof(out->name), "%lu", (unsigned long)uid);
}

int access_user_find(const char *name, struct access_user *out)
{
    int64_t uid;
    const struct passwd *user = getpwnam(name);
    if (user != NULL) {
        fill(user, out);
        return 0;
    }
    if (text_to_i64(name, 0, UINT32_MAX - 1, &uid) != 0) {
        return -ERR_NOTFOUND;
    }
    access_user_of((uid_t)uid, out);
    return 0;
}

static bool is_in_group(const struct access_user *user, gid_t gid)
{
    for (int i = 0; i < user->n_groups; i++) {
        if (user->groups[i] == gid) {
            return true;
        }
    }
    return false;
}

bool access_is_granted(const struct access_user *user, const struct stat *st, unsigned bits)
{
    if (user->uid == 0) {
        return true;
    }
    int shift = user->uid == st->st_uid ? 6 : is_in_group(user, st->st_gid) ? 3 : 0;
    return (((unsigned)st->st_mode >> shift) & bits) == bits;
}

/*
 * The folder that holds the path, links followed as far as it is there; "/" at least. out:
 * ACCESS_PATH_MAX bytes.
 */
static void folder_of(const char *path, char *out)
{
    snprintf(out, ACCESS_PATH_MAX, "%s%s", path[0] == '/' ? "" : "./", path);
    char *slash = strrchr(out, '/');
    slash[slash == out ? 1 : 0] = 0;
    char *real = realpath(out, NULL);
    if (real != NULL) {
        snprintf(out, ACCESS_PATH_MAX, "%s", real);
    }
    free(real);
}

/*
 * Calls visit for each folder above the path from the root on, until it returns other than 0, and
 * returns that. st is NULL for one that is not there.
 */
static int walk(const char *path,
    int (*visit)(const char *folder, const struct stat *st, void *context), void *context)
{
    char folder[ACCESS_PATH_MAX], part[ACCESS_PATH_MAX];
    folder_of(path, folder);
    size_t end = 1;
    for (;;) {
        struct stat st;
        snprintf(part, sizeof(part), "%.*s", (int)end, folder);
        int rc = visit(part, stat(part, &st) == 0 ? &st : NULL, context);
        if (rc != 0 || end >= strlen(folder)) {
            return rc;
        }
        end += folder[end] == '/' ? 1 : 0;
        end += strcspn(folder + end, "/");
    }
}

struct reaching {
    const struct access_user *user;
    char *blocker;
};

static int visit_reach(const char *folder, const struct stat *st, void *context)
{
    struct reaching *reaching = context;
    int rc = st == NULL                                                           ? -ERR_NOTFOUND
             : !S_ISDIR(st->st_mode) || !access_is_granted(reaching->user, st, 1) ? -ERR_DENIED
                                                                                  : 0;
    if (rc != 0) {
        snprintf(reaching->blocker, ACCESS_PATH_MAX, "%s", folder);
    }
    return rc;
}

int access_reach(const struct access_user *user, const char *path, char *blocker_out)
{
    struct reaching reaching = {user, blocker_out};
    return walk(path, visit_reach, &reaching);
}

struct searching {
    mode_t bits;
    char *found;
};

static int visit_mode(const char *folder, const struct stat *st, void *context)
{
    struct searching *searching = context;
    if (st == NULL || (st->st_mode & searching->bits) == 0) {
        return 0;
    }
    snprintf(searching->found, ACCESS_PATH_MAX, "%s", folder);
    return 1;
}

bool access_folder_above_with(const char *path, mode_t bits, char *found_out)
{
    struct searching searching = {bits, found_out};
    return walk(path, visit_mode, &searching) == 1;
}
