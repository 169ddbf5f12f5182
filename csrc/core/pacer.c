#include "pacer.h"

#define UNIT ((int64_t)1000000000) /* of the level, in one byte */

/* Of the bucket, after a silence of `passed`. */
static int64_t capacity(uint64_t rate, uint64_t quantum, srm_time passed) {
    srm_time spare = passed > SRM_PACER_IDLE ? SRM_PACER_SAVED : SRM_PACER_LATE;
    double late = (double)rate * (double)spare / (double)SRM_SECOND;
    if (late > (double)SRM_PACER_CAPACITY_MAX)
        late = (double)SRM_PACER_CAPACITY_MAX;
    return (int64_t)srm_u64_min(quantum + (uint64_t)late, SRM_PACER_CAPACITY_MAX) * UNIT;
}

/* The level at `now`. A product that would overflow is not made: the bucket is full long before. */
static int64_t level_at(const srm_pacer *pacer, srm_time now, uint64_t rate, uint64_t quantum) {
    srm_time passed = srm_time_max(now - pacer->filled, 0);
    int64_t most = capacity(rate, quantum, passed);
    if (pacer->full || pacer->level >= most)
        return most;
    return passed > (most - pacer->level) / (int64_t)rate ? most : pacer->level + passed * (int64_t)rate;
}

void srm_pacer_init(srm_pacer *pacer, srm_time now) {
    *pacer = (srm_pacer){.filled = now, .full = true};
}

uint64_t srm_pacer_allowance(srm_pacer *pacer, srm_time now, uint64_t rate, uint64_t quantum) {
    SRM_ASSERT(rate > 0 && rate <= INT64_MAX && quantum > 0 && quantum <= SRM_PACER_CAPACITY_MAX);
    pacer->level = level_at(pacer, now, rate, quantum);
    pacer->filled = srm_time_max(now, pacer->filled);
    pacer->full = false;
    return pacer->level >= (int64_t)quantum * UNIT ? (uint64_t)(pacer->level / UNIT) : 0;
}

void srm_pacer_on_sent(srm_pacer *pacer, srm_time now, uint64_t bytes) {
    (void)now;
    /* The debt has a bound as well: what a burst of probes took is not held against us for ever. */
    int64_t spent = (int64_t)srm_u64_min(bytes, SRM_PACER_CAPACITY_MAX) * UNIT;
    int64_t least = -(int64_t)SRM_PACER_CAPACITY_MAX * UNIT / 2;
    pacer->level = pacer->level - spent > least ? pacer->level - spent : least;
    pacer->full = false;
}

srm_time srm_pacer_deadline(const srm_pacer *pacer, srm_time now, uint64_t rate, uint64_t quantum) {
    SRM_ASSERT(rate > 0 && rate <= INT64_MAX && quantum > 0 && quantum <= SRM_PACER_CAPACITY_MAX);
    int64_t missing = (int64_t)quantum * UNIT - level_at(pacer, now, rate, quantum), speed = (int64_t)rate;
    return missing <= 0 ? now : now + missing / speed + (missing % speed != 0);
}
