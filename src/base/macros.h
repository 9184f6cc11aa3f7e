/* Small macros that every layer uses.  Layer: base. */
#ifndef AC_BASE_MACROS_H
#define AC_BASE_MACROS_H

#include <stddef.h>

#define AC_LIKELY(x) __builtin_expect(!!(x), 1)
#define AC_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* The structure of which `pointer` is the field `member`. */
#define AC_CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

#define AC_ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* The stress build (make stress) begins with as little as it can, so that each test grows everything many times. */
#ifdef ASYNCIO_C_STRESS
#define AC_STRESS_OR(stress, other) (stress)
#else
#define AC_STRESS_OR(stress, other) (other)
#endif

/* Whether the thread sanitizer watches (make tsan); clang says so otherwise than gcc. */
#ifdef __has_feature
#define AC_THREAD_SANITIZER __has_feature(thread_sanitizer)
#elif defined(__SANITIZE_THREAD__)
#define AC_THREAD_SANITIZER 1
#else
#define AC_THREAD_SANITIZER 0
#endif

/* Kept out of line, so that the hot function beside it stays small. */
#define AC_COLD __attribute__((cold, noinline))

#endif
