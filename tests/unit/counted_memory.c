/* memchr(), memmem(), memcpy() and memmove() that count the bytes which they are given; preloaded by test_streams_counted.py.

   Of the C library only what it has under other names, too, is used, so that none of these calls itself. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

extern void *__memcpy_chk(void *to, const void *from, size_t size, size_t room);
extern void *__memmove_chk(void *to, const void *from, size_t size, size_t room);

static size_t searched, copied;

void
counted_reset(void)
{
    searched = copied = 0;
}

size_t
counted_searched(void)
{
    return searched;
}

size_t
counted_copied(void)
{
    return copied;
}

void *
memchr(const void *data, int byte, size_t size)
{
    static void *(*real)(const void *, int, size_t);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "memchr");
    }
    void *found = real(data, byte, size);
    searched += found != NULL ? (size_t)((char *)found - (const char *)data) + 1 : size;
    return found;
}

void *
memmem(const void *data, size_t size, const void *pattern, size_t pattern_size)
{
    static void *(*real)(const void *, size_t, const void *, size_t);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "memmem");
    }
    void *found = real(data, size, pattern, pattern_size);
    searched += found != NULL ? (size_t)((char *)found - (const char *)data) + pattern_size : size;
    return found;
}

void *
memcpy(void *to, const void *from, size_t size)
{
    copied += size;
    return __memcpy_chk(to, from, size, (size_t)-1);
}

void *
memmove(void *to, const void *from, size_t size)
{
    copied += size;
    return __memmove_chk(to, from, size, (size_t)-1);
}
