/* Random operations on the structures of src/base, each beside a naive twin.  Built and run by tests/c/test_base.py, under the
   sanitizers where the compiler has them.  Usage: fuzz_base SEED OPERATIONS.

   Compiled with -DLIBFUZZER -fsanitize=fuzzer ("make fuzz"), the choices are the bytes of an input, which libFuzzer varies so
   that they reach what has not been reached yet. */
#include "base/heap.h"
#include "base/pointer_map.h"
#include "base/ring.h"

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
        require(heap_first(&heap) == NULL ? first == NULL : heap_first(&heap)->node == &first->node, "heap_first()");
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

#ifdef LIBFUZZER

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void (*const structures[])(long operations) = { fuzz_ring, fuzz_heap, fuzz_pointer_map };
    if (size > 0) {
        input = data + 1;
        input_left = size - 1;
        structures[data[0] % 3](100000);
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
    return 0;
}

#endif
