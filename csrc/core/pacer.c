#include "pacer.h"

#define UNIT ((int64_t)1000000000) /* of the level, in one byte */

static int64_t capacity(uint64_t rate, uint64_t quantum) {
    uint64_t late = (uint64_t)((double)rate * (double)SRM_PACER_LATE / (double)SRM_SECOND);
    return (int64_t)srm_u64_min(quantum + late, SRM_PACER_CAPACITY_MAX) * UNIT;
}

/* The level at `now`. Time that fills the bucket is cut off before it could overflow. */
static int64_t level_at(const srm_pacer *pacer, srm_time now, uint64_t rate, uint64_t quantum) {
    int64_t most = capacity(rate, quantum), speed = (int64_t)srm_u64_min(rate, INT64_MAX);
    if (pacer->full || pacer->level >= most)
        return most;
    int64_t missing = most - pacer->level;
    srm_time passed = srm_time_max(now - pacer->filled, 0);
    return passed > missing / speed ? most : pacer->level + passed * speed;
}

void srm_pacer_init(srm_pacer *pacer, srm_time now) {
    *pacer = (srm_pacer){.filled = now, .full = true};
}

uint64_t srm_pacer_allowance(srm_pacer *pacer, srm_time now, uint64_t rate, uint64_t quantum) {
    SRM_ASSERT(rate > 0 && quantum > 0 && quantum <= SRM_PACER_CAPACITY_MAX);
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
    SRM_ASSERT(rate > 0 && quantum > 0 && quantum <= SRM_PACER_CAPACITY_MAX);
    int64_t want = (int64_t)quantum * UNIT, speed = (int64_t)srm_u64_min(rate, INT64_MAX);
    int64_t level = level_at(pacer, now, rate, quantum);
    if (level >= want)
        return now;
    int64_t missing = want - level;
    return now + missing / speed + (missing % speed != 0);
}
