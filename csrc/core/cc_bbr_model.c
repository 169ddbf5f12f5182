#include "cc.h"

#define LOSS_MEMORY (7.0 / 8)
#define LOSS_TRUST 1.5 /* the rate of a single round varies around the learned one */
#define REPAIR_SHARE 0.9

void srm_bbr_model_init(srm_bbr_model *model, srm_time now) {
    *model = (srm_bbr_model){.min_rtt = SRM_TIME_NEVER,
                             .min_rtt_at = now,
                             .floor_now = SRM_TIME_NEVER,
                             .low_now = SRM_TIME_NEVER,
                             .low_before = SRM_TIME_NEVER,
                             .probe_rtt_min = SRM_TIME_NEVER,
                             .probe_rtt_min_at = now,
                             .extra_start = now};
}

/* ---- rounds and bandwidth ---- */

void srm_bbr_model_start_round(srm_bbr_model *model, uint64_t delivered) {
    model->round_end = delivered;
}

void srm_bbr_model_on_round(srm_bbr_model *model, const srm_cc_sample *sample) {
    model->round_start = sample->acked_bytes > 0 && sample->rate_prior_delivered >= model->round_end;
    if (!model->round_start)
        return;
    srm_bbr_model_start_round(model, sample->delivered);
    model->rounds++;
}

void srm_bbr_model_on_rate(srm_bbr_model *model, uint64_t rate, bool app_limited) {
    if (!app_limited || rate >= srm_bbr_model_max_bw(model))
        model->bw_now = srm_u64_max(model->bw_now, rate);
}

uint64_t srm_bbr_model_max_bw(const srm_bbr_model *model) {
    return srm_u64_max(model->bw_now, model->bw_before);
}

void srm_bbr_model_next_cycle(srm_bbr_model *model) {
    if (model->bw_now == 0)
        return; /* only an idle application in this cycle */
    model->bw_before = model->bw_now;
    model->bw_now = 0;
    model->low_before = model->low_now;
    model->low_now = SRM_TIME_NEVER;
}

/* ---- round-trip time ---- */

static srm_time queue_margin(srm_time min_rtt) {
    return srm_time_max(min_rtt / 16, SRM_BBR_RTT_NOISE);
}

static void forget_loss(srm_bbr_model *model) {
    model->loss_lost = model->loss_sent = 0;
}

/* The lowest RTT of some ACKs and at least a round: it is above min_rtt only if a queue stands, whatever
 * delays single ACKs. */
static void watch_floor(srm_bbr_model *model, srm_time rtt) {
    model->floor_now = srm_time_min(model->floor_now, rtt);
    model->floor_samples++;
    if (!model->round_start || model->floor_samples < SRM_BBR_FLOOR_SAMPLES)
        return;
    model->floor = model->floor_now;
    model->low_now = srm_time_min(model->low_now, model->floor);
    model->floor_now = SRM_TIME_NEVER;
    model->floor_samples = 0;
}

static void take_min_rtt(srm_bbr_model *model) {
    if (model->probe_rtt_min < model->min_rtt - queue_margin(model->min_rtt))
        forget_loss(model); /* what seemed to be an empty path had a queue */
    model->min_rtt = model->probe_rtt_min;
    model->min_rtt_at = model->probe_rtt_min_at;
}

static void take_rtt(srm_bbr_model *model, srm_time now, srm_time rtt) {
    watch_floor(model, rtt);
    if (rtt < model->probe_rtt_min || model->probe_rtt_expired) {
        model->probe_rtt_min = rtt;
        model->probe_rtt_min_at = now;
    }
    if (rtt > model->min_rtt && rtt - model->min_rtt <= model->min_rtt / SRM_BBR_SIMILAR_RTT) {
        model->probe_rtt_min_at = now; /* the path is empty as it is */
        model->min_rtt_at = now;
        model->probe_rtt_expired = false;
    }
}

void srm_bbr_model_on_rtt(srm_bbr_model *model, const srm_cc_sample *sample) {
    model->probe_rtt_expired = sample->now > model->probe_rtt_min_at + SRM_BBR_PROBE_RTT_EACH;
    if (sample->rtt > 0)
        take_rtt(model, sample->now, sample->rtt);
    if (model->probe_rtt_min < model->min_rtt || sample->now > model->min_rtt_at + SRM_BBR_MIN_RTT_LIFE)
        take_min_rtt(model);
}

bool srm_bbr_model_has_queue(const srm_bbr_model *model) {
    return model->floor - queue_margin(model->min_rtt) > model->min_rtt;
}

bool srm_bbr_model_is_crowded(const srm_bbr_model *model) {
    return model->floor - model->min_rtt / SRM_BBR_CROWDED > model->min_rtt;
}

bool srm_bbr_model_overflowed(const srm_bbr_model *model, uint64_t lost, uint64_t sent) {
    double own = LOSS_TRUST * srm_bbr_model_random_loss(model);
    return (double)lost > own * (double)sent && srm_bbr_model_has_queue(model);
}

void srm_bbr_model_on_overflow(srm_bbr_model *model, srm_time now, srm_time rtt) {
    if (rtt <= model->full_rtt && now <= model->full_rtt_at + SRM_BBR_FULL_LIFE)
        return;
    model->full_rtt = rtt;
    model->full_rtt_at = now;
}

double srm_bbr_model_queue_gain(const srm_bbr_model *model, double most) {
    if (model->min_rtt < SRM_BBR_RTT_FLOOR || !srm_bbr_model_has_queue(model))
        return most;
    double path = (double)model->min_rtt, gain = SRM_BBR_UNKNOWN_GAIN;
    if (model->full_rtt > 0)
        gain = SRM_BBR_FULL_SHARE * (double)model->full_rtt / path;
    srm_time low = srm_time_min(model->low_now, model->low_before);
    if (low != SRM_TIME_NEVER && (double)low > gain * path)
        gain = (double)low / path;
    return gain < 1 ? 1 : gain < most ? gain : most;
}

uint64_t srm_bbr_model_bdp(const srm_bbr_model *model, uint64_t bw, uint64_t unknown) {
    if (model->min_rtt == SRM_TIME_NEVER)
        return unknown;
    return srm_cc_bytes_of(bw, srm_time_max(model->min_rtt, SRM_BBR_RTT_FLOOR));
}

/* ---- aggregation ---- */

static void remember_extra(srm_bbr_model *model, uint64_t extra, uint32_t rounds) {
    if (model->rounds - model->extra_slot_round >= rounds) {
        model->extra_before = model->extra_now;
        model->extra_now = 0;
        model->extra_slot_round = model->rounds;
    }
    model->extra_now = srm_u64_max(model->extra_now, extra);
}

void srm_bbr_model_on_extra(srm_bbr_model *model, const srm_cc_sample *sample, uint64_t bw, uint64_t window,
                            bool steady) {
    uint64_t expected = srm_cc_bytes_of(bw, sample->now - model->extra_start);
    if (model->extra_delivered <= expected) { /* that bunch is over */
        model->extra_delivered = 0;
        model->extra_start = sample->now;
        expected = 0;
    }
    model->extra_delivered += sample->acked_bytes;
    remember_extra(model, srm_u64_min(model->extra_delivered - expected, window),
                   steady ? SRM_BBR_EXTRA_ROUNDS : 1);
}

uint64_t srm_bbr_model_extra(const srm_bbr_model *model) {
    return srm_u64_max(model->extra_now, model->extra_before);
}

/* ---- loss ---- */

void srm_bbr_model_learn_loss(srm_bbr_model *model, uint64_t lost, uint64_t acked) {
    model->loss_lost = model->loss_lost * LOSS_MEMORY + (double)lost;
    model->loss_sent = model->loss_sent * LOSS_MEMORY + (double)(lost + acked);
}

double srm_bbr_model_random_loss(const srm_bbr_model *model) {
    if (model->loss_sent <= 0)
        return 0;
    double rate = model->loss_lost / model->loss_sent;
    return rate < SRM_BBR_RANDOM_LOSS_MAX ? rate : SRM_BBR_RANDOM_LOSS_MAX;
}

double srm_bbr_model_repair(const srm_bbr_model *model) {
    return srm_bbr_model_has_queue(model) ? 1 : 1 / (1 - REPAIR_SHARE * srm_bbr_model_random_loss(model));
}

bool srm_bbr_model_congested(const srm_bbr_model *model, uint64_t lost, uint64_t sent, double far) {
    double own = LOSS_TRUST * srm_bbr_model_random_loss(model);
    double beyond = (double)lost - own * (double)sent;
    if (beyond > far * (double)sent && lost >= SRM_BBR_LOSS_PACKETS * SRM_CC_PACKET)
        return true;
    return beyond > SRM_BBR_LOSS_THRESH * (double)sent && srm_bbr_model_has_queue(model);
}
