/* Time limits of tests, for tools under which everything is slower: POSTERN_PATIENCE is a factor.
 */
#ifndef POSTERN_TESTS_PATIENCE_H
#define POSTERN_TESTS_PATIENCE_H

#include <stdint.h>
#include <stdlib.h>

/* A limit that is ms when nothing slows the test down. */
static inline int64_t patience_ms(int64_t ms)
{
    const char *factor = getenv("POSTERN_PATIENCE");
    const int n = factor != NULL ? atoi(factor) : 1;
    return ms * (n > 1 ? n : 1);
}

#endif
