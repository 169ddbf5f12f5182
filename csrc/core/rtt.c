#include "rtt.h"

void srm_rtt_init(srm_rtt *rtt, srm_time initial, srm_time max_ack_delay) {
    SRM_ASSERT(initial > 0 && max_ack_delay >= 0);
    *rtt = (srm_rtt){.smoothed = initial,
                     .variance = initial / 2,
                     .first_sample_at = SRM_TIME_NEVER,
                     .initial = initial,
                     .max_ack_delay = max_ack_delay};
}

void srm_rtt_reset(srm_rtt *rtt) {
    srm_rtt_init(rtt, rtt->initial, rtt->max_ack_delay);
}

static void take_first(srm_rtt *rtt, srm_time now, srm_time sample) {
    rtt->latest = sample;
    rtt->min = sample;
    rtt->smoothed = sample;
    rtt->variance = sample / 2;
    rtt->first_sample_at = now;
    rtt->min_restarts = false;
}

void srm_rtt_update(srm_rtt *rtt, srm_time now, srm_time sample, srm_time ack_delay) {
    sample = srm_time_min(srm_time_max(sample, 1), SRM_RTT_SAMPLE_MAX);
    if (!srm_rtt_has_sample(rtt)) {
        take_first(rtt, now, sample);
        return;
    }
    rtt->latest = sample;
    rtt->min = rtt->min_restarts ? sample : srm_time_min(rtt->min, sample);
    rtt->min_restarts = false;
    ack_delay = srm_time_min(ack_delay, rtt->max_ack_delay);
    srm_time adjusted = sample >= rtt->min + ack_delay ? sample - ack_delay : sample;
    srm_time deviation = rtt->smoothed > adjusted ? rtt->smoothed - adjusted : adjusted - rtt->smoothed;
    rtt->variance = (3 * rtt->variance + deviation) / 4;
    rtt->smoothed = (7 * rtt->smoothed + adjusted) / 8;
}

void srm_rtt_restart_min(srm_rtt *rtt) {
    rtt->min_restarts = true;
}
