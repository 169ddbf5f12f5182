/* Clock, timer, and the descriptor that wakes. */
#include "clock.h"

#include <poll.h>

#include "check.h"
#include "timer.h"
#include "wakefd.h"

TEST(sleep_is_how_far_the_clocks_drift_apart) {
    srm_sleep sleep;
    srm_sleep_init(&sleep, 100 * SRM_SECOND, 500 * SRM_SECOND);
    CHECK_EQ(srm_sleep_check(&sleep, 110 * SRM_SECOND, 510 * SRM_SECOND), 0);
    /* The two readings are never quite together. */
    CHECK_EQ(srm_sleep_check(&sleep, 111 * SRM_SECOND, 511 * SRM_SECOND + SRM_SECOND / 2), 0);
    CHECK_EQ(srm_sleep_check(&sleep, 112 * SRM_SECOND, 512 * SRM_SECOND - SRM_MILLISECOND), 0);
    CHECK_EQ(srm_sleep_check(&sleep, 113 * SRM_SECOND, 573 * SRM_SECOND), 60 * SRM_SECOND);
    CHECK_EQ(srm_sleep_check(&sleep, 114 * SRM_SECOND, 574 * SRM_SECOND), 0); /* told once */
    CHECK_EQ(srm_sleep_check(&sleep, 115 * SRM_SECOND, 585 * SRM_SECOND), 10 * SRM_SECOND);
}

TEST(the_clocks_go_on) {
    srm_time now = srm_clock_now(), boot = srm_clock_boot();
    CHECK(now > 0 && boot > 0);
    CHECK(srm_clock_now() >= now && srm_clock_boot() >= boot);
}

static bool is_readable(const srm_wakefd *wake) {
    struct pollfd fd = {.fd = wake->read, .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

TEST(a_wakefd_is_readable_from_set_to_clear) {
    srm_wakefd wake;
    CHECK(srm_wakefd_init(&wake));
    CHECK(!is_readable(&wake));
    srm_wakefd_clear(&wake);
    srm_wakefd_set(&wake);
    srm_wakefd_set(&wake);
    CHECK(is_readable(&wake));
    srm_wakefd_clear(&wake);
    CHECK(!is_readable(&wake));
    srm_wakefd_fini(&wake);
    CHECK_EQ(wake.read, -1);
    srm_wakefd_fini(&wake);
}

/* ---- The timer ---- */

static int fired;
static void on_fire(void *context) {
    fired++;
    uv_stop(context);
}

static srm_time run_until_fired(uv_loop_t *loop) {
    fired = 0;
    uv_run(loop, UV_RUN_DEFAULT);
    return srm_clock_now();
}

TEST(a_timer_goes_off_at_its_time) {
    uv_loop_t loop;
    srm_timer timer;
    CHECK_EQ(uv_loop_init(&loop), 0);
    CHECK(srm_timer_init(&timer, &loop, on_fire, &loop));
    srm_time now = srm_clock_now(), at = now + 300 * SRM_MICROSECOND;
    srm_timer_set(&timer, now, at);
    CHECK(run_until_fired(&loop) >= at);
    CHECK_EQ(fired, 1);

    /* In the past: at once. */
    now = srm_clock_now();
    srm_timer_set(&timer, now, now - SRM_SECOND);
    run_until_fired(&loop);
    CHECK_EQ(fired, 1);

    /* Earlier than set before; later is left to an early end. */
    now = srm_clock_now();
    srm_timer_set(&timer, now, now + 3600 * SRM_SECOND);
    srm_timer_set(&timer, now, now + 2 * SRM_MILLISECOND);
    srm_timer_set(&timer, now, now + 30 * SRM_SECOND);
    CHECK(run_until_fired(&loop) < now + 20 * SRM_SECOND);

    /* Not at all: what went off is quiet from then on. */
    srm_timer_set(&timer, now, SRM_TIME_NEVER);
    fired = 0;
    CHECK(uv_run(&loop, UV_RUN_NOWAIT) >= 0);
    CHECK_EQ(fired, 0);

    srm_timer_close(&timer);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_EQ(uv_loop_close(&loop), 0);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
