/*
 * An index over addresses without regard to case, so that ten thousand look-ups among ten thousand
 * recipients and changes stay cheap. Made at a job's first look-up, in its arena. Its hash is
 * seeded: clients choose the addresses.
 */
#ifndef POSTERN_WORKER_JOB_FIND_H
#define POSTERN_WORKER_JOB_FIND_H

#include <stdint.h>

struct job;

/* Changes from this number on (earlier ones count first) are gone or about to be others. */
void job_find_forget(struct job *job, uint32_t first);

#endif
