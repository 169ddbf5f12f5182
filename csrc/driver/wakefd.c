#include "wakefd.h"

#include <fcntl.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/eventfd.h>

bool srm_wakefd_init(srm_wakefd *wake) {
    wake->read = wake->write = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wake->read >= 0;
}

#else

static bool prepare(int fd) {
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

bool srm_wakefd_init(srm_wakefd *wake) {
    int ends[2];
    *wake = (srm_wakefd){.read = -1, .write = -1};
    if (pipe(ends) != 0)
        return false;
    *wake = (srm_wakefd){.read = ends[0], .write = ends[1]};
    if (prepare(ends[0]) && prepare(ends[1]))
        return true;
    srm_wakefd_fini(wake);
    return false;
}

#endif

void srm_wakefd_fini(srm_wakefd *wake) {
    if (wake->write >= 0 && wake->write != wake->read)
        close(wake->write);
    if (wake->read >= 0)
        close(wake->read);
    wake->read = wake->write = -1;
}

/* The only failure is that it is full, and then it is readable already. */
void srm_wakefd_set(const srm_wakefd *wake) {
    uint64_t one = 1;
    ssize_t written = write(wake->write, &one, sizeof one);
    (void)written;
}

/* An eventfd is empty after one read; a pipe when a read doesn't fill the buffer. */
void srm_wakefd_clear(const srm_wakefd *wake) {
    uint8_t buffer[512];
    while (read(wake->read, buffer, sizeof buffer) == (ssize_t)sizeof buffer)
        ;
}
