/* pacer - when the next bytes may leave: a token bucket that fills at the pacing rate.
 *
 *     level          0 ........ quantum ............... capacity
 *                    |  wait    |  send what is there      |  full: idle time is not saved up
 *     below 0: a debt, of packets that had to go whatever the level said (probes, ACK-bearing packets)
 *
 * Nothing is given out before a whole quantum is there, so that packets leave in batches; then all of it.
 * What the bucket holds beyond the quantum is what a late timer missed: it is caught up at once, so the
 * average rate is kept as long as no timer is later than SRM_PACER_LATE. Rate and quantum may differ with
 * each call; the time that passed counts at the rate of the call that looks at it.
 *
 * The level is kept in billionths of a byte: bytes a second times nanoseconds, exactly, so deadlines are
 * exact too.
 */
#ifndef SRM_PACER_H
#define SRM_PACER_H

#include "base.h"

#define SRM_PACER_LATE (5 * SRM_MILLISECOND)       /* lateness of timers that is made up for */
#define SRM_PACER_IDLE (10 * SRM_MILLISECOND)      /* between two calls of srm_pacer_allowance */
#define SRM_PACER_SAVED SRM_MILLISECOND            /* beyond a quantum, after that */
#define SRM_PACER_CAPACITY_MAX ((uint64_t)1 << 32) /* bytes: the level and all sums fit into 64 bits */

typedef struct srm_pacer {
    int64_t level; /* 1e-9 bytes, as of `filled` */
    srm_time filled;
    bool full; /* nothing was asked or sent yet: the first call fills it, whatever the rate */
} srm_pacer;

/* A full bucket at `now`. */
void srm_pacer_init(srm_pacer *pacer, srm_time now);
/* Bytes that may leave at `now`: 0, or at least `quantum`. `rate` in bytes a second and `quantum` in bytes
 * are above 0. Fills the bucket. */
uint64_t srm_pacer_allowance(srm_pacer *pacer, srm_time now, uint64_t rate, uint64_t quantum);
/* `bytes` left. They may be more than what was allowed. */
void srm_pacer_on_sent(srm_pacer *pacer, srm_time now, uint64_t bytes);
/* The earliest time, not before `now`, at which srm_pacer_allowance with this rate and quantum will not be 0
 * if nothing is sent before. */
srm_time srm_pacer_deadline(const srm_pacer *pacer, srm_time now, uint64_t rate, uint64_t quantum);

#endif
