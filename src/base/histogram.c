/* Recording, and what the buckets stand for.  Layer: base. */
#include "base/histogram.h"

static int
shift_of(size_t bucket)
{
    return bucket < 2 * HISTOGRAM_PARTS ? 0 : (int)(bucket / HISTOGRAM_PARTS) - 1;
}

int64_t
histogram_lowest(size_t bucket)
{
    int shift = shift_of(bucket);
    return (int64_t)(bucket - (size_t)shift * HISTOGRAM_PARTS) << shift;
}

int64_t
histogram_highest(size_t bucket)
{
    return histogram_lowest(bucket) + (((int64_t)1 << shift_of(bucket)) - 1);
}

void
histogram_record(struct histogram *histogram, int64_t value)
{
    value = value < 0 ? 0 : value;
    histogram->buckets[histogram_bucket_of(value)]++;
    histogram->count++;
    histogram->sum = histogram->sum > INT64_MAX - value ? INT64_MAX : histogram->sum + value;
    histogram->max = value > histogram->max ? value : histogram->max;
}
