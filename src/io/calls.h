/* The system calls that move data or accept, and what the stress build does to them.  Layer: io.

   sys_recv() is recv(), and so on.  In the stress build (ASYNCIO_C_STRESS) each does often what the kernel may do but on
   loopback hardly ever does: it moves less than it could, has nothing or no room at present (EAGAIN), or is interrupted
   (EINTR).  A datagram is never cut.  A wait that would block may be interrupted, and what is ready comes in any order.

   Chance is a sequence of numbers that begins with a seed, so a test that failed fails again.  stress_seed(0), or the
   environment's ASYNCIO_C_STRESS_SEED=0, makes calls the kernel's own, for who asks how many bytes move at once. */
#ifndef AC_IO_CALLS_H
#define AC_IO_CALLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef ASYNCIO_C_STRESS

void stress_seed(uint64_t seed);

/* Whether anything is done to calls. */
bool stress_is_on(void);

/* A number from 0 to `below` - 1; 0 while nothing is done to calls. */
uint32_t stress_random(uint32_t below);

/* Whether a wait of `timeout_ns` ends with -EINTR before it begins. */
bool stress_interrupts(int64_t timeout_ns);

ssize_t sys_recv(int fd, void *buffer, size_t size, int flags);
ssize_t sys_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *address, socklen_t *length);
ssize_t sys_send(int fd, const void *data, size_t size, int flags);
ssize_t sys_sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length);
ssize_t sys_sendmsg(int fd, struct msghdr *message, int flags);
ssize_t sys_read(int fd, void *buffer, size_t size);
ssize_t sys_write(int fd, const void *data, size_t size);
ssize_t sys_writev(int fd, struct iovec *vectors, int count);
int sys_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);

#else

#define stress_interrupts(timeout_ns) false
#define sys_recv recv
#define sys_recvfrom recvfrom
#define sys_send send
#define sys_sendto sendto
#define sys_sendmsg sendmsg
#define sys_read read
#define sys_write write
#define sys_writev writev
#define sys_accept4 accept4

#endif
#endif
