/* Random operations on the structures of src/base, each beside a naive twin.  Built and run by tests/c/test_base.py, under the
   sanitizers where the compiler has them.  Usage: fuzz_base SEED OPERATIONS.

   Compiled with -DLIBFUZZER -fsanitize=fuzzer ("make fuzz"), the choices are the bytes of an input, which libFuzzer varies so
   that they reach what has not been reached yet. */
#include "base/event_ring.h"
#include "base/heap.h"
#include "base/histogram.h"
#include "base/pointer_map.h"
#include "base/ring.h"
#include "base/tls_record.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef LIBFUZZER

static const uint8_t *input;
static size_t input_left;

/* Two bytes of the input; 0 behind its end. */
static uint64_t
draw(uint64_t below)
{
    unsigned value = 0;
    for (int i = 0; i < 2 && input_left > 0; i++, input_left--) {
        value = value << 8 | *input++;
    }
    return value % below;
}

static bool
exhausted(void)
{
    return input_left == 0;
}

#else

static uint64_t state;

static bool
exhausted(void)
{
    return false;
}

static uint64_t
draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

#endif

static void
require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* The twin is an array from which the oldest entry is taken by moving the others. */
static void
fuzz_ring(long operations)
{
    enum { MOST = 3000 };
    static void *twin[MOST];
    size_t count = 0;
    struct ring ring;
    ring_init(&ring);
    ring.head = ring.tail = draw(2) ? SIZE_MAX - 100 : 0; /* the counters wrap */
    for (long i = 0; i < operations && !exhausted(); i++) {
        if (draw(5) < (draw(1000) < 500 ? 4 : 1) && count < MOST) {
            void *entry = (void *)(uintptr_t)(i + 1);
            require(ring_push(&ring, entry) == 0, "ring_push()");
            twin[count++] = entry;
        }
        else if (count > 0) {
            require(ring_pop(&ring) == twin[0], "ring_pop()");
            memmove(twin, twin + 1, --count * sizeof(*twin));
        }
        require(ring_count(&ring) == count, "ring_count()");
        if (count > 0) {
            size_t index = draw(count);
            require(ring_peek(&ring, index) == twin[index], "ring_peek()");
        }
    }
    ring_release(&ring);
}

/* The twin keeps all events for ever, and looks at the last ones. */
static void
fuzz_event_ring(long operations)
{
    size_t limit = 1 + draw(2000);
    uint64_t pushed = 0;
    struct event_ring ring;
    event_ring_init(&ring, limit);
    for (long i = 0; i < operations && !exhausted(); i++) {
        struct event event = { .subject = pushed, .time_ns = i }, dropped = { 0 };
        bool full = pushed >= limit;
        require(event_ring_push(&ring, &event, &dropped) == full, "event_ring_push()");
        require(!full || dropped.subject == pushed - limit, "the dropped event");
        pushed++;
        require(ring.count == (pushed < limit ? pushed : limit), "event_ring.count");
        require(ring.dropped == pushed - ring.count, "event_ring.dropped");
        size_t index = draw(ring.count);
        require(event_ring_at(&ring, index)->subject == ring.dropped + index, "event_ring_at()");
    }
    event_ring_release(&ring);
    require(ring.count == 0 && ring.limit == limit, "event_ring_release()");
}

struct twin_node {
    struct heap_node node;
    int64_t deadline_ns;
    uint64_t order;
};

/* The twin looks through all nodes for the first. */
static void
fuzz_heap(long operations)
{
    enum { NODES = 300 };
    static struct twin_node nodes[NODES];
    struct heap heap;
    heap_init(&heap);
    for (int i = 0; i < NODES; i++) {
        heap_node_init(&nodes[i].node);
    }
    for (long i = 0; i < operations && !exhausted(); i++) {
        struct twin_node *chosen = &nodes[draw(NODES)], *first = NULL;
        if (heap_node_queued(&chosen->node)) {
            heap_remove(&heap, &chosen->node);
            require(!heap_node_queued(&chosen->node), "heap_remove()");
        }
        else {
            const int64_t odd[] = { INT64_MIN, INT64_MAX, 0, -1 };
            chosen->deadline_ns = draw(20) ? (int64_t)draw(50) : odd[draw(4)];
            chosen->order = (uint64_t)i;
            require(heap_insert(&heap, &chosen->node, chosen->deadline_ns) == 0, "heap_insert()");
        }
        if (draw(50) == 0) {
            heap_sort(&heap);
            for (size_t n = 1; n < heap.count; n++) {
                const struct twin_node *one = (struct twin_node *)heap_node_of(&heap, &heap.entries[n - 1]);
                const struct twin_node *next = (struct twin_node *)heap_node_of(&heap, &heap.entries[n]);
                require(one->deadline_ns < next->deadline_ns
                            || (one->deadline_ns == next->deadline_ns && one->order < next->order),
                        "heap_sort()");
            }
        }
        size_t count = 0;
        for (int n = 0; n < NODES; n++) {
            struct twin_node *node = &nodes[n];
            if (!heap_node_queued(&node->node)) {
                continue;
            }
            count++;
            if (first == NULL || node->deadline_ns < first->deadline_ns
                || (node->deadline_ns == first->deadline_ns && node->order < first->order)) {
                first = node;
            }
        }
        heap_check(&heap);
        require(heap.count == count, "heap.count");
        require(heap_first(&heap) == NULL ? first == NULL : heap_node_of(&heap, heap_first(&heap)) == &first->node, "heap_first()");
    }
    heap_release(&heap);
}

/* The twin is a list of pairs. */
static void
fuzz_pointer_map(long operations)
{
    enum { MOST = 200 };
    for (long i = 0; i < operations / MOST && !exhausted(); i++) {
        const void *keys[MOST];
        size_t values[MOST], count = 0, room = 1 + draw(MOST);
        struct pointer_map map;
        require(pointer_map_init(&map, room) == 0, "pointer_map_init()");
        while (count < room && !exhausted()) {
            const void *key = (const void *)(uintptr_t)(16 * (1 + draw(2 * MOST)));
            size_t index = 0, value = draw(1000);
            while (index < count && keys[index] != key) {
                index++;
            }
            bool known = index < count;
            size_t got = pointer_map_set_default(&map, key, value);
            require(got == (known ? values[index] : value), "pointer_map_set_default()");
            if (!known) {
                keys[count] = key;
                values[count++] = value;
            }
        }
        pointer_map_release(&map);
    }
}

/* The twin has the whole stream, and goes through it from the beginning each time. */
static size_t
partial_of(const unsigned char *stream, size_t size, bool *broken)
{
    size_t at = 0;
    *broken = false;
    while (size - at >= 5) {
        unsigned type = stream[at], version = stream[at + 1], length = stream[at + 3] * 256u + stream[at + 4];
        if (type < 20 || type > 24 || version != 3 || length > 18432) {
            *broken = true;
            return 0;
        }
        if (size - at - 5 < length) {
            break;
        }
        at += 5 + length;
    }
    return size - at;
}

/* Appends a header that is good, mostly, and its body. */
static size_t
make_record(unsigned char *stream)
{
    const size_t lengths[] = { 0, 1, 2, 255, 256, 257, 18432, 18433 };
    size_t length = draw(20) ? draw(300) : lengths[draw(8)];
    const unsigned char header[] = { (unsigned char)(draw(60) ? 20 + draw(5) : draw(256)),
                                     (unsigned char)(draw(60) ? 3 : draw(256)), (unsigned char)draw(256),
                                     (unsigned char)(length >> 8), (unsigned char)length };
    memcpy(stream, header, sizeof(header));
    for (size_t i = 0; i < length; i++) {
        stream[sizeof(header) + i] = (unsigned char)i; /* in which there are headers, for who looks there */
    }
    return sizeof(header) + length;
}

static void
fuzz_tls_record(long operations)
{
    enum { RECORDS = 20 };
    static unsigned char stream[RECORDS * (5 + 18433)];
    for (long i = 0; i < operations / RECORDS && !exhausted(); i++) {
        size_t size = 0, seen = 0;
        for (int n = 0; n < RECORDS; n++) {
            size += make_record(stream + size);
        }
        struct tls_records records;
        tls_records_init(&records);
        while (seen < size) {
            size_t count = draw(3) ? draw(12) : draw(1000);
            count = exhausted() || count > size - seen ? size - seen : count;
            tls_records_scan(&records, (const char *)stream + seen, count);
            seen += count;
            bool broken;
            size_t partial = partial_of(stream, seen, &broken);
            require(records.broken == broken, "tls_records.broken");
            require(records.partial_bytes == partial, "tls_records.partial_bytes");
        }
    }
}

/* The twin sorts the values themselves: the bucket of the one at any place is where the counts reach that place. */
static int
compare_values(const void *one, const void *other)
{
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static void
fuzz_histogram(long operations)
{
    enum { MOST = 500 };
    static int64_t values[MOST];
    static struct histogram histogram;
    for (long i = 0; i < operations / MOST && !exhausted(); i++) {
        size_t count = 0;
        int64_t sum = 0;
        histogram = (struct histogram){ 0 };
        while (count < MOST && !exhausted()) {
            const int64_t edges[] = { 0, 1, 63, 64, 65, INT64_MAX, INT64_MAX - 1, (int64_t)1 << 62 };
            int64_t value = draw(20) ? (int64_t)(draw(1 << 16) << draw(32)) + (int64_t)draw(3) : edges[draw(8)];
            size_t bucket = histogram_bucket_of(value);
            int64_t lowest = histogram_lowest(bucket), highest = histogram_highest(bucket);
            require(bucket < HISTOGRAM_BUCKETS && lowest <= value && value <= highest, "histogram_bucket_of()");
            require((highest - lowest) <= value / HISTOGRAM_PARTS, "how wide a bucket is");
            require(bucket == 0 || histogram_highest(bucket - 1) + 1 == lowest, "a gap between buckets");
            histogram_record(&histogram, value);
            values[count++] = value;
            sum = sum > INT64_MAX - value ? INT64_MAX : sum + value;
        }
        qsort(values, count, sizeof(*values), compare_values);
        size_t bucket = 0;
        uint64_t seen = histogram.buckets[0];
        for (size_t n = 0; n < count; n++) {
            while (seen <= n) {
                seen += histogram.buckets[++bucket];
            }
            require(histogram_lowest(bucket) <= values[n] && values[n] <= histogram_highest(bucket), "a percentile");
        }
        require(histogram.count == count && histogram.sum == sum, "the sum");
        require(count == 0 || histogram.max == values[count - 1], "the largest");
    }
    histogram = (struct histogram){ 0 };
    histogram_record(&histogram, -5);
    require(histogram.buckets[0] == 1 && histogram.sum == 0, "a negative value");
}

#ifdef LIBFUZZER

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void (*const structures[])(long operations) = { fuzz_ring,       fuzz_heap,       fuzz_pointer_map,
                                                    fuzz_tls_record, fuzz_event_ring, fuzz_histogram };
    if (size > 0) {
        input = data + 1;
        input_left = size - 1;
        structures[data[0] % 6](100000);
    }
    return 0;
}

#else

int
main(int count, char **arguments)
{
    require(count == 3, "fuzz_base SEED OPERATIONS");
    state = strtoull(arguments[1], NULL, 10) * 0x9E3779B97F4A7C15u + 1;
    long operations = strtol(arguments[2], NULL, 10);
    fuzz_ring(operations);
    fuzz_heap(operations);
    fuzz_pointer_map(operations);
    fuzz_tls_record(operations);
    fuzz_event_ring(operations);
    fuzz_histogram(operations);
    return 0;
}

#endif
