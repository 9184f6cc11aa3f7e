/* Only in the stress build: system calls that fall short.  Layer: io. */
#define _GNU_SOURCE
#include "io/calls.h"

#ifdef ASYNCIO_C_STRESS

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Threads share the sequence; where two meet, a number may come twice, and nothing worse. */
static _Atomic uint64_t sequence = 1;

/* Before any thread: the environment's word goes for processes that a test starts. */
__attribute__((constructor)) static void
seed_from_environment(void)
{
    const char *seed = getenv("ASYNCIO_C_STRESS_SEED");
    if (seed != NULL) {
        stress_seed(strtoull(seed, NULL, 10));
    }
}

void
stress_seed(uint64_t seed)
{
    sequence = seed;
}

bool
stress_is_on(void)
{
    return sequence != 0;
}

/* xorshift64*, which never leaves 0. */
uint32_t
stress_random(uint32_t below)
{
    uint64_t x = sequence;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    sequence = x;
    return (uint32_t)((x * 0x2545F4914F6CDD1DULL) >> 33) % below;
}

/* A wait that does not block has to tell what is ready: who drives a loop turn by turn relies on that. */
bool
stress_interrupts(int64_t timeout_ns)
{
    return timeout_ns != 0 && stress_is_on() && stress_random(4) == 0;
}

/* Whether a call fails, with errno set. */
static bool
fails(void)
{
    if (!stress_is_on() || stress_random(4) != 0) {
        return false;
    }
    errno = stress_random(2) ? EAGAIN : EINTR;
    return true;
}

/* How much of `size` a call may move: often a single byte. */
static size_t
shortened(size_t size)
{
    if (size == 0 || !stress_is_on() || stress_random(2)) {
        return size;
    }
    return stress_random(2) ? 1 : 1 + stress_random(size < UINT32_MAX ? (uint32_t)size : UINT32_MAX);
}

/* The same for a socket, of which only a stream's data may be cut. */
static size_t
shortened_for(int fd, size_t size)
{
    int type = 0;
    socklen_t length = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM ? shortened(size) : size;
}

/* Cuts `vectors` short.  Returns how many are left. */
static size_t
shorten_vectors(struct iovec *vectors, size_t count)
{
    if (count > 0 && stress_is_on()) {
        count = 1 + stress_random((uint32_t)count);
        vectors[count - 1].iov_len = shortened(vectors[count - 1].iov_len);
    }
    return count;
}

ssize_t
sys_recv(int fd, void *buffer, size_t size, int flags)
{
    return fails() ? -1 : recv(fd, buffer, shortened_for(fd, size), flags);
}

ssize_t
sys_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *address, socklen_t *length)
{
    return fails() ? -1 : recvfrom(fd, buffer, size, flags, address, length);
}

ssize_t
sys_send(int fd, const void *data, size_t size, int flags)
{
    return fails() ? -1 : send(fd, data, shortened_for(fd, size), flags);
}

ssize_t
sys_sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length)
{
    return fails() ? -1 : sendto(fd, data, size, flags, address, length);
}

ssize_t
sys_sendmsg(int fd, struct msghdr *message, int flags)
{
    if (fails()) {
        return -1;
    }
    message->msg_iovlen = shorten_vectors(message->msg_iov, message->msg_iovlen);
    return sendmsg(fd, message, flags);
}

ssize_t
sys_read(int fd, void *buffer, size_t size)
{
    return fails() ? -1 : read(fd, buffer, shortened(size));
}

ssize_t
sys_write(int fd, const void *data, size_t size)
{
    return fails() ? -1 : write(fd, data, shortened(size));
}

ssize_t
sys_writev(int fd, struct iovec *vectors, int count)
{
    return fails() ? -1 : writev(fd, vectors, (int)shorten_vectors(vectors, (size_t)count));
}

int
sys_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return fails() ? -1 : accept4(fd, address, length, flags);
}

#endif
