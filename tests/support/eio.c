/* Makes one sync fail: the next one after the file that EIO_ONCE names was made. Makes the file that EIO_RETRIED names
   if a sync of the same descriptor is tried again. Makes each sync wait while the file that SLOW names exists, each read
   of a boot file while the file that SLOW_READ names exists, and each
   thread that receives datagrams while the file that HANG names exists. For LD_PRELOAD, by tests/process/faults.rs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile int failed = -1;

static int sync_or_fail(const char *name, int fd)
{
    const char *once = getenv("EIO_ONCE"), *retried = getenv("EIO_RETRIED"), *slow = getenv("SLOW");
    while (slow && access(slow, F_OK) == 0)
        usleep(10000);
    if (fd == failed && retried)
        open(retried, O_CREAT | O_WRONLY, 0600);
    if (once && unlink(once) == 0) {
        failed = fd;
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}

int fdatasync(int fd) { return sync_or_fail("fdatasync", fd); }

int fsync(int fd) { return sync_or_fail("fsync", fd); }

/* Waits while the file that SLOW_READ names exists, if `fd` is a boot file. */
static void wait_for_disk(int fd)
{
    const char *slow = getenv("SLOW_READ");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    while (slow && access(slow, F_OK) == 0) {
        ssize_t length = readlink(link, path, sizeof path - 1);
        path[length < 0 ? 0 : length] = 0;
        if (!strstr(path, "/boot-images/"))
            break;
        usleep(10000);
    }
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset)
{
    wait_for_disk(fd);
    return ((ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64"))(fd, buffer, size, offset);
}

ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset)
{
    wait_for_disk(fd);
    return ((ssize_t (*)(int, const struct iovec *, int, off_t))dlsym(RTLD_NEXT, "preadv"))(fd, parts, count, offset);
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout)
{
    const char *hang = getenv("HANG");
    while (hang && access(hang, F_OK) == 0)
        usleep(10000);
    return ((int (*)(int, struct mmsghdr *, unsigned int, int, struct timespec *))dlsym(RTLD_NEXT, "recvmmsg"))(
        fd, messages, count, flags, timeout);
}

int close(int fd)
{
    if (fd == failed)
        failed = -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "close"))(fd);
}
