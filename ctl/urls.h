/* What the files of posternctl urls share: urls.c looks, deletes; urls_expire.c tidies up. */
#ifndef POSTERN_CTL_URLS_H
#define POSTERN_CTL_URLS_H

#include <jansson.h>

#include "common/conf.h"
#include "ctl/args.h"
#include "worker/link_index.h"

enum { URLS_LOCK_MS = 10000 /* how long a worker may hold what is to be removed */ };

/* Tells on stderr that so many entries of the index cannot be read. The exit code for that. */
int urls_tell_broken(uint32_t n_broken);
/* "1234567" as "1.2 MB". */
void urls_size_text(char *out, size_t out_bytes, int64_t bytes);
/* The file name of the newest use. */
const char *urls_newest(const json_t *entry, const char *member);

/* posternctl urls expire. index: open. */
int urls_expire(const struct args *args, const struct conf *conf, int index);

#endif
