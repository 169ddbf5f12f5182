/* timer - one deadline of a uv loop, in nanoseconds: a timerfd that the loop polls on Linux. libuv's own
 * timers, the fallback, know milliseconds, which is 100 packets of a fast path.
 *
 * Moving the deadline to a later time mostly costs no system call: only when the timer would go off soon, and
 * too early. If nobody moves it then it does go off, and its owner, who looks at the clock anyway, sets it
 * again.
 */
#ifndef SRM_TIMER_H
#define SRM_TIMER_H

#include <uv.h>

#include "../core/base.h"

/* Setting a timer costs some microseconds, ten on a virtual machine: not for each of two deadlines that take
 * turns. */
#define SRM_TIMER_SOON (200 * SRM_MICROSECOND)
#define SRM_TIMER_EARLY (500 * SRM_MICROSECOND)

typedef struct srm_timer {
    union {
        uv_poll_t poll;
        uv_timer_t timer;
        uv_handle_t handle;
    } uv;
    int fd;         /* -1: libuv's timer, or none */
    srm_time armed; /* when it goes off; SRM_TIME_NEVER: not at all */
    bool expired;   /* it went off, and what is set next must reach the kernel */
    void (*fire)(void *context);
    void *context;
} srm_timer;

/* `fire` is called on the loop's thread when the deadline came, perhaps early, and before the timer itself is
 * touched: it may take a lock that protects it. False: no descriptors left
 * (errno tells); nothing is to be closed then. */
bool srm_timer_init(srm_timer *timer, uv_loop_t *loop, void (*fire)(void *context), void *context);
/* SRM_TIME_NEVER: not at all. `now`: srm_clock_now. A time that is past fires at once. With a timerfd from
 * any thread, one at a time. */
void srm_timer_set(srm_timer *timer, srm_time now, srm_time at);
/* Begins uv_close; the memory must live until the loop has run on. */
void srm_timer_close(srm_timer *timer);
/* In a forked child, which shares what the loop polls with its parent: only closes the descriptor. */
void srm_timer_forget(srm_timer *timer);

#endif
