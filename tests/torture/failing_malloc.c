/* malloc(), calloc() and realloc() that fail once, at the chosen allocation; preloaded by tests/torture.

   The interpreter runs with PYTHONMALLOC=malloc, so that each of its allocations, and of the C core's own, is one of these.
   Without a GIL it cannot: its objects have an allocator of their own there, in which the same is done.
   Only the thread that has called torture_arm() is concerned. */
#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

static __thread long countdown = -1; /* -1: not armed; 0: the next one fails */
static __thread long counted;

/* Whether the interpreter itself crashes where this allocation fails: without a GIL PyList_New() of a list whose items find no memory
   frees what it takes for them, a pointer that it has not set: so do 3.13.15 and 3.14.7. */
static bool
is_spared(void)
{
    bool spared = false;
#ifdef Py_GIL_DISABLED
    void *callers[8];
    int count = backtrace(callers, 8);
    for (int i = 0; i < count; i++) {
        Dl_info function;
        spared |= dladdr(callers[i], &function) && function.dli_sname && strcmp(function.dli_sname, "PyList_New") == 0;
    }
#endif
    return spared;
}

static int
fails(void)
{
    if (countdown < 0) {
        return 0;
    }
    counted++;
    if (countdown-- > 0 || is_spared()) {
        return 0;
    }
    errno = ENOMEM;
    return 1;
}

#ifdef Py_GIL_DISABLED
/* Not there in the programs that the interpreter starts. */
#pragma weak PyMem_GetAllocator
#pragma weak PyMem_SetAllocator

static void *
object_malloc(void *ctx, size_t size)
{
    PyMemAllocatorEx *allocator = ctx;
    return fails() ? NULL : allocator->malloc(allocator->ctx, size);
}

static void *
object_calloc(void *ctx, size_t count, size_t size)
{
    PyMemAllocatorEx *allocator = ctx;
    return fails() ? NULL : allocator->calloc(allocator->ctx, count, size);
}

static void *
object_realloc(void *ctx, void *memory, size_t size)
{
    PyMemAllocatorEx *allocator = ctx;
    return fails() ? NULL : allocator->realloc(allocator->ctx, memory, size);
}

static void
object_free(void *ctx, void *memory)
{
    PyMemAllocatorEx *allocator = ctx;
    allocator->free(allocator->ctx, memory);
}

/* Puts what fails before the allocators of the interpreter that do not call malloc(). */
static void
wrap_allocators(void)
{
    static const PyMemAllocatorDomain domains[] = { PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ };
    static PyMemAllocatorEx wrapped[2];
    static bool done;
    for (int i = 0; !done && i < 2; i++) {
        PyMem_GetAllocator(domains[i], &wrapped[i]);
        PyMemAllocatorEx ours = { &wrapped[i], object_malloc, object_calloc, object_realloc, object_free };
        PyMem_SetAllocator(domains[i], &ours);
    }
    done = true;
}
#else
#define wrap_allocators() ((void)0)
#endif

void
torture_arm(long number)
{
    wrap_allocators();
    (void)is_spared(); /* the first one loads a library */
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
