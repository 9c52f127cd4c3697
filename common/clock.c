/* Neither clock can fail on Linux, so neither can these. */
#include "common/clock.h"

#include <time.h>

static int64_t wall_shift_ms; /* 0 but in a test of a filter: every part of it must see one time */

int64_t clock_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_now_ms(void)
{
    return clock_now_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + wall_shift_ms;
}

void clock_shift_wall(int64_t ms)
{
    wall_shift_ms += ms;
}

bool clock_wall_is_shifted(void)
{
    return wall_shift_ms != 0;
}
