/* Finding the front end's ring, and saying why there is none. */
#ifndef POSTERN_CTL_TRACE_RING_H
#define POSTERN_CTL_TRACE_RING_H

#include "ctl/args.h"

struct conf;

/* The configuration (free it with conf_free) whose front end keeps a ring. EXIT_CODE_OK, or why not
 * is told and there is none. */
int trace_ring_conf(const struct args *args, struct conf **conf_out);
/* Tells why the ring at path could not be opened: the error of ring_reader_open, with errno as it
 * left it. Returns the exit code. */
int trace_ring_fail(const char *path, int error);

#endif
