/* wakefd - a descriptor that is readable from set to clear, for somebody's poll: an eventfd on Linux, a pipe
 * elsewhere. */
#ifndef SRM_WAKEFD_H
#define SRM_WAKEFD_H

#include "../core/base.h"

typedef struct srm_wakefd {
    int read, write; /* the same for an eventfd; -1: none */
} srm_wakefd;

/* Not readable. False: no descriptors left (errno tells); fini does no harm then. */
bool srm_wakefd_init(srm_wakefd *wake);
void srm_wakefd_fini(srm_wakefd *wake);

/* Any thread; more than once is as once. Neither blocks. */
void srm_wakefd_set(const srm_wakefd *wake);
void srm_wakefd_clear(const srm_wakefd *wake);

#endif
