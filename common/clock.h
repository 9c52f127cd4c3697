/* The monotonic clock. Every deadline and interval uses it; the wall clock is for log lines only. */
#ifndef POSTERN_CLOCK_H
#define POSTERN_CLOCK_H

#include <stdint.h>

int64_t clock_now_ms(void);
int64_t clock_now_us(void);

#endif
