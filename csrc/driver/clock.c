#include "clock.h"

#include <time.h>

/* The two clocks are read one after the other, and the thread may be held up in between. */
#define READING_SLACK SRM_SECOND

static srm_time read_clock(clockid_t id) {
    struct timespec time;
    SRM_ASSERT(clock_gettime(id, &time) == 0);
    return (srm_time)time.tv_sec * SRM_SECOND + time.tv_nsec;
}

srm_time srm_clock_now(void) {
    return read_clock(CLOCK_MONOTONIC);
}

srm_time srm_clock_boot(void) {
#ifdef CLOCK_BOOTTIME
    return read_clock(CLOCK_BOOTTIME);
#else
    return srm_clock_now();
#endif
}

void srm_sleep_init(srm_sleep *sleep, srm_time now, srm_time boot) {
    sleep->ahead = boot - now;
}

srm_time srm_sleep_check(srm_sleep *sleep, srm_time now, srm_time boot) {
    srm_time slept = boot - now - sleep->ahead;
    if (slept < READING_SLACK)
        return 0;
    sleep->ahead += slept;
    return slept;
}
