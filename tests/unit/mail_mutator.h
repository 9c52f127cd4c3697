/* Mails for tests that compare: plain ones that use what MIME has, and lies made of them by a
 * seeded generator, the same ones each time. */
#ifndef POSTERN_TESTS_MAIL_MUTATOR_H
#define POSTERN_TESTS_MAIL_MUTATOR_H

#include <stdint.h>

#include "common/buf.h"

extern const char *const mail_samples[];
extern const uint32_t n_mail_samples;

/* Writes a changed form of one of the samples, with CRLF line ends, to out (emptied first). */
void mail_mutate(uint64_t seed, struct buf *out);
/* The sample as it is, with CRLF line ends. */
void mail_sample(uint32_t number, struct buf *out);

#endif
