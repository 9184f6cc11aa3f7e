/* Device and inode of a descriptor.  Layer: io. */
#include "io/file_identity.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

int
file_identify(int fd, struct file_identity *identity)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    *identity = (struct file_identity){ status.st_dev, status.st_ino };
    return 0;
}

bool
file_is(int fd, const struct file_identity *identity)
{
    struct file_identity now;
    return file_identify(fd, &now) == 0 && now.device == identity->device && now.inode == identity->inode;
}

void
file_close(int fd, const struct file_identity *identity)
{
    if (file_is(fd, identity)) {
        close(fd);
    }
}
