/* Where the ring of a configuration's front end is. */
#ifndef POSTERN_TRACE_FILE_H
#define POSTERN_TRACE_FILE_H

#include <stdbool.h>

struct conf;

enum { TRACE_PATH_MAX = 4100 };

/* Whether there is to be one: trace.size is not 0. */
bool trace_is_on(const struct conf *conf);
/* trace.file, or "trace" beside the multiplexor's socket. out has TRACE_PATH_MAX bytes. */
void trace_path(const struct conf *conf, char *out);
/* That of the process before. out has TRACE_PATH_MAX + 4 bytes. */
void trace_path_old(const struct conf *conf, char *out);

#endif
