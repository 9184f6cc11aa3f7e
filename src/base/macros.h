/* Small macros that every layer uses.  Layer: base. */
#ifndef AC_BASE_MACROS_H
#define AC_BASE_MACROS_H

#include <stddef.h>

#define AC_LIKELY(x) __builtin_expect(!!(x), 1)
#define AC_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* The structure of which `pointer` is the field `member`. */
#define AC_CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

#define AC_ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Kept out of line, so that the hot function beside it stays small. */
#define AC_COLD __attribute__((cold, noinline))

#endif
