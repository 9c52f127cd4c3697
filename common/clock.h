/*
 * The monotonic clock, which every deadline and interval uses; and the wall clock, for what people,
 * and later runs, are told.
 */
#ifndef POSTERN_CLOCK_H
#define POSTERN_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

int64_t clock_now_ms(void);
int64_t clock_now_us(void);

/* Since 1970, with what clock_shift_wall has added. */
int64_t clock_wall_ms(void);
int64_t clock_wall_us(void);
/* For tests of filters, whose process is its own: moves this process's wall clock on. */
void clock_shift_wall(int64_t ms);
bool clock_wall_is_shifted(void);

#endif
