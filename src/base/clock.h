/* The clock of the loop: CLOCK_MONOTONIC in nanoseconds, the same clock as Python's time.monotonic().  Layer: base. */
#ifndef AC_BASE_CLOCK_H
#define AC_BASE_CLOCK_H

#include <math.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_NS_PER_S 1000000000LL
#define CLOCK_NEVER INT64_MAX /* a deadline that no clock reaches */

static inline int64_t
clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * CLOCK_NS_PER_S + now.tv_nsec;
}

static inline double
clock_seconds(int64_t ns)
{
    return (double)ns / 1e9;
}

/* The first nanosecond that is not before `seconds`: a deadline made of it is never early.  A NaN counts as long past,
   as every comparison with it fails in asyncio's own heap; what does not fit is clamped. */
static inline int64_t
clock_ns_not_before(double seconds)
{
    double ns = ceil(seconds * 1e9);
    if (ns != ns) {
        return INT64_MIN;
    }
    if (ns >= 9.2e18) {
        return CLOCK_NEVER;
    }
    if (ns <= -9.2e18) {
        return INT64_MIN;
    }
    int64_t result = (int64_t)ns;
    /* The product may have been rounded down to a whole number. */
    return clock_seconds(result) < seconds ? result + 1 : result;
}

/* a + b without overflow, for b >= 0. */
static inline int64_t
clock_add_ns(int64_t a, int64_t b)
{
    return a > CLOCK_NEVER - b ? CLOCK_NEVER : a + b;
}

#endif
