/* Neither of these clocks can fail on Linux. */
#include "common/clock.h"

#include <time.h>

static int64_t wall_shift_us; /* 0 but in a test of a filter: every part of it must see one time */

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_now_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

int64_t clock_now_ms(void)
{
    return clock_now_us() / 1000;
}

int64_t clock_wall_us(void)
{
    return now_us(CLOCK_REALTIME) + wall_shift_us;
}

int64_t clock_wall_ms(void)
{
    return clock_wall_us() / 1000;
}

void clock_shift_wall(int64_t ms)
{
    wall_shift_us += ms * 1000;
}

bool clock_wall_is_shifted(void)
{
    return wall_shift_us != 0;
}
