/* malloc(), calloc() and realloc() that fail once, at the chosen allocation; preloaded by tests/torture.

   The interpreter runs with PYTHONMALLOC=malloc, so that each of its allocations, and of the C core's own, is one of these.
   Only the thread that has called torture_arm() is concerned. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

static __thread long countdown = -1; /* -1: not armed; 0: the next one fails */
static __thread long counted;

void
torture_arm(long number)
{
    countdown = number;
    counted = 0;
}

/* Returns how many allocations there were since torture_arm(). */
long
torture_disarm(void)
{
    countdown = -1;
    return counted;
}

static int
fails(void)
{
    if (countdown < 0) {
        return 0;
    }
    counted++;
    if (countdown-- > 0) {
        return 0;
    }
    errno = ENOMEM;
    return 1;
}

void *
malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *memory, size_t size)
{
    return fails() ? NULL : __libc_realloc(memory, size);
}
