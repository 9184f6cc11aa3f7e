/* A map from pointers to indices, filled once and thrown away: finds duplicates among arguments.  Layer: base. */
#ifndef AC_BASE_POINTER_MAP_H
#define AC_BASE_POINTER_MAP_H

#include <stddef.h>

struct pointer_map_slot {
    const void *key; /* NULL: free */
    size_t value;
};

struct pointer_map {
    struct pointer_map_slot *slots;
    size_t mask;
};

/* Makes room for `count` keys.  Returns 0 or -ENOMEM. */
int pointer_map_init(struct pointer_map *map, size_t count);
void pointer_map_release(struct pointer_map *map);

/* The value that `key` already has; where it is new, it gets `value`, which is returned.  Needs: no more new keys than
   pointer_map_init() was told. */
size_t pointer_map_set_default(struct pointer_map *map, const void *key, size_t value);

#endif
