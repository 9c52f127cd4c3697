/*
 * Who may do what with a file, worked out from modes, owners and groups, for a user that we are
 * not. Access control lists are not looked at.
 */
#ifndef POSTERN_CTL_DOCTOR_ACCESS_H
#define POSTERN_CTL_DOCTOR_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { ACCESS_GROUPS_MAX = 128, ACCESS_PATH_MAX = 4352 };

struct access_user {
    uid_t uid;
    gid_t groups[ACCESS_GROUPS_MAX]; /* all of them, the main one first */
    int n_groups;
    char name[64];
};

/* By name or number, from the system's tables. 0 or -ERR_NOTFOUND. */
int access_user_find(const char *name, struct access_user *out);
void access_user_of(uid_t uid, struct access_user *out);

/* Whether the user may do what bits say (4 read, 2 write, 1 search or execute). */
bool access_is_granted(const struct access_user *user, const struct stat *st, unsigned bits);
/*
 * Whether the user gets to a path: each folder above must be there and let the user through.
 * blocker_out gets the first that is not, or does not; ACCESS_PATH_MAX bytes.
 * Returns 0, -ERR_NOTFOUND, -ERR_DENIED.
 */
int access_reach(const struct access_user *user, const char *path, char *blocker_out);
/*
 * The first folder above the path that has one of the mode bits set (S_IWOTH …), the nearest to the
 * root first. found_out: ACCESS_PATH_MAX bytes.
 */
bool access_folder_above_with(const char *path, mode_t bits, char *found_out);

#endif
