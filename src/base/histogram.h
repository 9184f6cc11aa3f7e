/* How often values of each size were seen: a log-linear histogram, as HDR histograms are.  Layer: base.

   Values below 64 have a bucket each; above, each power of two is divided into 32 buckets of the same width.  So a bucket is at
   most a 32nd of the values in it wide, and any value, from nanoseconds to centuries of them, has one. */
#ifndef AC_BASE_HISTOGRAM_H
#define AC_BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum {
    HISTOGRAM_BITS = 5,
    HISTOGRAM_PARTS = 1 << HISTOGRAM_BITS,
    HISTOGRAM_BUCKETS = (62 - HISTOGRAM_BITS + 2) * HISTOGRAM_PARTS,
};

struct histogram {
    uint64_t count;
    int64_t sum; /* or INT64_MAX, if it is more */
    int64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a value >= 0. */
static inline size_t
histogram_bucket_of(int64_t value)
{
    int highest_bit = 63 - __builtin_clzll((unsigned long long)value | 1);
    int shift = highest_bit > HISTOGRAM_BITS ? highest_bit - HISTOGRAM_BITS : 0;
    return (size_t)shift * HISTOGRAM_PARTS + (size_t)(value >> shift);
}

/* The smallest and the largest value that a bucket has. */
int64_t histogram_lowest(size_t bucket);
int64_t histogram_highest(size_t bucket);

/* Counts a value; a negative one counts as 0. */
void histogram_record(struct histogram *histogram, int64_t value);

#endif
