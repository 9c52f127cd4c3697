/* What the files of posternctl store share. */
#ifndef POSTERN_CTL_STORE_H
#define POSTERN_CTL_STORE_H

#include "common/conf.h"
#include "ctl/args.h"
#include "worker/store.h"

enum { STORE_CTL_TIMEOUT_MS = 30000 };

struct store_ctl {
    const struct args *args;
    const struct conf *conf;
    struct store *store;
};

/* A request that may wait as long as a person does. */
struct store_request store_ctl_request(enum store_op op, struct slice key);
/* Runs it, or says why not on stderr: 0 or an error. */
int store_ctl_run(const struct store_ctl *ctl, struct store_request *request);

/* ctl/store_import.c: an exit code. */
int store_ctl_import(const struct store_ctl *ctl, const char *path);

/* ctl/store_greylist.c: a line of milter-greylist's file of tuples. */
enum store_line { STORE_LINE_ENTRY = 0, STORE_LINE_NOTHING, STORE_LINE_WRONG };
enum store_line store_greylist_read(const struct conf *conf, char *line, int64_t now_ms,
    char key[STORE_KEY_MAX + 1], struct store_entry *out);

#endif
