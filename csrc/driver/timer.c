#include "timer.h"

#include <unistd.h>

#ifdef __linux__
#include <sys/timerfd.h>

/* Setting the timer anew, which its owner does after each fire, also empties the descriptor: no read. */
static void on_poll(uv_poll_t *poll, int status, int events) {
    srm_timer *timer = poll->data;
    (void)status, (void)events;
    timer->fire(timer->context);
    timer->expired = true;
}

static bool init(srm_timer *timer, uv_loop_t *loop) {
    timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer->fd < 0)
        return false;
    if (uv_poll_init(loop, &timer->uv.poll, timer->fd) != 0) {
        close(timer->fd);
        return false;
    }
    SRM_ASSERT(uv_poll_start(&timer->uv.poll, UV_READABLE, on_poll) == 0);
    return true;
}

/* A time of zero would disarm; our clock is far beyond it. */
static void arm(srm_timer *timer, srm_time now, srm_time at) {
    struct itimerspec spec = {{0, 0}, {0, 0}};
    (void)now;
    if (at != SRM_TIME_NEVER) {
        at = srm_time_max(at, 1);
        spec.it_value.tv_sec = (time_t)(at / SRM_SECOND);
        spec.it_value.tv_nsec = (long)(at % SRM_SECOND);
    }
    SRM_ASSERT(timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0);
}

#else

static void on_timer(uv_timer_t *uv) {
    srm_timer *timer = uv->data;
    timer->fire(timer->context);
    timer->expired = true;
}

static bool init(srm_timer *timer, uv_loop_t *loop) {
    timer->fd = -1;
    return uv_timer_init(loop, &timer->uv.timer) == 0;
}

/* Rounded up: a timer that fires early would be set again for nothing. */
static void arm(srm_timer *timer, srm_time now, srm_time at) {
    srm_time wait = srm_time_max(at - now, 0);
    if (at == SRM_TIME_NEVER)
        uv_timer_stop(&timer->uv.timer);
    else
        uv_timer_start(&timer->uv.timer, on_timer, (uint64_t)((wait + SRM_MILLISECOND - 1) / SRM_MILLISECOND),
                       0);
}

#endif

bool srm_timer_init(srm_timer *timer, uv_loop_t *loop, void (*fire)(void *context), void *context) {
    if (!init(timer, loop))
        return false;
    timer->uv.handle.data = timer;
    timer->armed = SRM_TIME_NEVER;
    timer->expired = false;
    timer->fire = fire;
    timer->context = context;
    return true;
}

void srm_timer_set(srm_timer *timer, srm_time now, srm_time at) {
    bool early = at - timer->armed >= SRM_TIMER_EARLY && timer->armed - now < SRM_TIMER_SOON;
    if (!timer->expired && at >= timer->armed && !early)
        return;
    arm(timer, now, at);
    timer->armed = at;
    timer->expired = false;
}

void srm_timer_close(srm_timer *timer) {
    /* Before the descriptor goes, which the kernel would take out of the loop's set by itself. */
    uv_close(&timer->uv.handle, NULL);
    if (timer->fd >= 0)
        close(timer->fd);
    timer->fd = -1;
}

void srm_timer_forget(srm_timer *timer) {
    if (timer->fd >= 0)
        close(timer->fd);
    timer->fd = -1;
}
