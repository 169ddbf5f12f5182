/* rtt - the round-trip time of one path, as RFC 9002 section 5 estimates it, and the probe time-out made of
 * it. All values are nanoseconds. A link's keys are confirmed before its first packet, so the rules that RFC
 * 9002 has for the time before that do not apply.
 */
#ifndef SRM_RTT_H
#define SRM_RTT_H

#include "base.h"

#define SRM_RTT_INITIAL (333 * SRM_MILLISECOND) /* before the first sample; RFC 9002 section 6.2.2 */
#define SRM_RTT_GRANULARITY SRM_MILLISECOND     /* no timer is finer than that; RFC 9002 section 6.1.2 */
#define SRM_RTT_SAMPLE_MAX (60 * SRM_SECOND)    /* a longer sample (a clock that slept) counts as this */

/* Read by everyone, written here. */
typedef struct srm_rtt {
    srm_time latest;          /* the newest sample; 0 before the first */
    srm_time min;             /* the smallest sample; 0 before the first */
    srm_time smoothed;        /* the initial value before the first sample */
    srm_time variance;        /* mean deviation, RFC 9002's rttvar */
    srm_time first_sample_at; /* when the first sample was taken; SRM_TIME_NEVER before */
    srm_time initial;
    srm_time max_ack_delay; /* the longest time the peer promised to sit on an ACK */
    bool min_restarts;      /* the next sample becomes the minimum */
} srm_rtt;

/* No sample yet: `initial` > 0 stands for the RTT (SRM_RTT_INITIAL if nothing better is known),
 * `max_ack_delay`
 * >= 0 is what the peer announced. */
void srm_rtt_init(srm_rtt *rtt, srm_time initial, srm_time max_ack_delay);
/* A new path: back to the initial value; the peer's max_ack_delay stays. */
void srm_rtt_reset(srm_rtt *rtt);
/* One sample taken at `now`: `sample` from sending to the arrival of the ACK, of which the peer reports to
 * have waited `ack_delay`. The delay counts up to max_ack_delay and never takes the result below the minimum.
 */
void srm_rtt_update(srm_rtt *rtt, srm_time now, srm_time sample, srm_time ack_delay);
/* The next sample becomes the minimum: after persistent congestion the old one may belong to another route
 * (RFC 9002 section 5.2). */
void srm_rtt_restart_min(srm_rtt *rtt);

/* Whether there was a sample. */
static inline bool srm_rtt_has_sample(const srm_rtt *rtt) {
    return rtt->first_sample_at != SRM_TIME_NEVER;
}
/* The probe time-out without back-off: smoothed + max(4 variance, 1 ms) + max_ack_delay; RFC 9002 6.2.1. */
static inline srm_time srm_rtt_pto(const srm_rtt *rtt) {
    return rtt->smoothed + srm_time_max(4 * rtt->variance, SRM_RTT_GRANULARITY) + rtt->max_ack_delay;
}

#endif
