/* One kept poison message, read from its folder. The spool is not trusted to hold what was put
 * there. */
#ifndef POSTERN_CTL_POISON_H
#define POSTERN_CTL_POISON_H

#include <jansson.h>

#include "common/conf.h"
#include "ctl/args.h"

/* Its facts: an object, whatever the file says; "error" tells why there are no others. */
json_t *poison_facts_read(int one);
/* posternctl poison run: the exit code. */
int poison_run(const struct args *args, struct conf *conf, int one, const char *id);

#endif
