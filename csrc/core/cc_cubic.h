/* cc_cubic - the state of CUBIC (RFC 9438) with HyStart++ (RFC 9406). Only cc_cubic.c looks inside. */
#ifndef SRM_CC_CUBIC_H
#define SRM_CC_CUBIC_H

#include "base.h"

/* What a loss event changes, kept so that a spurious one can be taken back. */
typedef struct srm_cubic_curve {
    uint64_t window;
    uint64_t threshold;   /* slow start ends here; UINT64_MAX: not yet known */
    double w_max;         /* bytes */
    double w_reno;        /* what Reno would have by now; bytes */
    double w_before;      /* window at the last loss event; bytes */
    double k;             /* seconds from epoch_start until the curve is back at w_max */
    srm_time epoch_start; /* SRM_TIME_NEVER: the curve begins with the next ACK */
    bool conservative;    /* HyStart++: in conservative slow start */
} srm_cubic_curve;

typedef struct srm_cubic {
    srm_cubic_curve curve;
    srm_cubic_curve before; /* the last loss event */
    bool can_undo;
    srm_time recovery_start; /* packets sent up to here belong to the last loss event; -1: none yet */
    double grown;            /* bytes of growth not yet in the window */
    uint64_t peak;           /* most in flight in this round and the last */
    uint64_t peak_now;
    srm_time quiet_since; /* nothing was in flight, or not enough to fill the window; SRM_TIME_NEVER: busy */

    srm_time last_event; /* the last sample */

    uint64_t round_end;      /* `delivered` at which the round ends */
    srm_time rtt_last_round; /* lowest RTT; SRM_TIME_NEVER: none */
    srm_time rtt_this_round;
    uint32_t rtt_samples;
    srm_time rtt_baseline; /* of when conservative slow start began */
    uint32_t conservative_rounds;
} srm_cubic;

#endif
