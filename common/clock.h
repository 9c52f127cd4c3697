/* The monotonic clock. Every deadline and interval uses it; the wall clock is for what people, and later runs, are told. */
#ifndef POSTERN_CLOCK_H
#define POSTERN_CLOCK_H

#include <stdint.h>

int64_t clock_now_ms(void);
int64_t clock_now_us(void);

/* Since 1970. */
int64_t clock_wall_ms(void);
int64_t clock_wall_us(void);

#endif
