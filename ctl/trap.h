/*
 * posternctl trap: what msg:trap and part:trap have kept. Needs no server, and works beside running
 * workers. Whoever may read the folder may look; its owner and root may decide and remove.
 */
#ifndef POSTERN_CTL_TRAP_H
#define POSTERN_CTL_TRAP_H

#include <jansson.h>

#include "common/conf.h"
#include "ctl/args.h"
#include "worker/trap_store.h"

struct trap_ctl { /* everything is borrowed */
    const struct args *args;
    const struct conf *conf;
    struct trap_store *store;
};

/* One for each word; id NULL where there is none. The exit code. */
int trap_ctl_list(const struct trap_ctl *ctl, const char *id);
int trap_ctl_show(const struct trap_ctl *ctl, const char *id);
int trap_ctl_release(const struct trap_ctl *ctl, const char *id);
int trap_ctl_refuse(const struct trap_ctl *ctl, const char *id);
int trap_ctl_expire(const struct trap_ctl *ctl, const char *id);

/* Says on standard error why not, and returns the exit code. */
int trap_ctl_fail(const char *id, int rc);
/* Adds who did what, and when, to the facts' history. */
void trap_ctl_note(json_t *facts, const char *what);

#endif
