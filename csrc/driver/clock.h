/* clock - the engine's time, and whether the machine slept.
 *
 * Time is CLOCK_MONOTONIC, which stands still while the machine is suspended, and not CLOCK_BOOTTIME: an
 * acknowledgement that was in flight when the lid closed would come back as a round trip of hours and spoil
 * every timer derived from it; and an outage limit would be over at the moment of waking, before the first
 * try. That it slept must be known all the same: mappings in NATs and peers' patience have run out while our
 * timers stood still. So both clocks are read, and a growing difference is sleep.
 */
#ifndef SRM_CLOCK_H
#define SRM_CLOCK_H

#include "../core/base.h"

/* Now, in nanoseconds since an arbitrary moment; never goes back. */
srm_time srm_clock_now(void);
/* The same including the time the machine slept; equal to srm_clock_now where the system can't tell. */
srm_time srm_clock_boot(void);

/* How far the clock that counts sleep is ahead. */
typedef struct srm_sleep {
    srm_time ahead;
} srm_sleep;

void srm_sleep_init(srm_sleep *sleep, srm_time now, srm_time boot);
/* How long the machine slept since the last call; 0: it didn't. */
srm_time srm_sleep_check(srm_sleep *sleep, srm_time now, srm_time boot);

#endif
