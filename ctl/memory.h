/* Memory of a worker's process, read from /proc by ourselves: the server must not stop for it. */
#ifndef POSTERN_CTL_MEMORY_H
#define POSTERN_CTL_MEMORY_H

#include <jansson.h>
#include <stdint.h>

/*
 * rss_kb_out  resident size.
 * pss_kb_out  with each shared page counted in proportion; only root is told that of a worker.
 * Each -1 when the kernel does not tell.
 */
void memory_of(int64_t pid, int64_t *rss_kb_out, int64_t *pss_kb_out);
/* Adds members "rss_kb" and "pss_kb" (null when not known) to each row with a "pid". */
void memory_add(json_t *rows);

#endif
