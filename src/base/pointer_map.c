/* Open addressing at a load of at most one half; nothing is ever removed.  Layer: base. */
#include "base/pointer_map.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

int
pointer_map_init(struct pointer_map *map, size_t count)
{
    size_t capacity = 8;
    while (capacity < count * 2) {
        capacity *= 2;
    }
    map->mask = capacity - 1;
    map->slots = calloc(capacity, sizeof(*map->slots));
    return map->slots ? 0 : -ENOMEM;
}

void
pointer_map_release(struct pointer_map *map)
{
    free(map->slots);
    map->slots = NULL;
}

size_t
pointer_map_set_default(struct pointer_map *map, const void *key, size_t value)
{
    /* Objects are 16 bytes apart at least: the low bits say nothing.  The odd multiplier spreads the rest. */
    uint64_t hash = ((uint64_t)(uintptr_t)key >> 4) * 0x9E3779B97F4A7C15u;
    for (size_t i = (size_t)(hash >> 32) & map->mask;; i = (i + 1) & map->mask) {
        struct pointer_map_slot *slot = &map->slots[i];
        if (slot->key == key) {
            return slot->value;
        }
        if (slot->key == NULL) {
            slot->key = key;
            slot->value = value;
            return value;
        }
    }
}
