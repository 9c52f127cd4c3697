/* Memory of a worker's process, read from /proc by ourselves: the server must not stop for it. */
#ifndef POSTERN_CTL_MEMORY_H
#define POSTERN_CTL_MEMORY_H

#include <jansson.h>
#include <stdint.h>

/* Adds members "rss_kb" and "pss_kb" (null when not known) to each row with a "pid". */
void memory_add(json_t *rows);

#endif
