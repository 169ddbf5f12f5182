#include "cc.h"

#include <math.h>

/* RFC 9438. Windows are in bytes, so the constant of the curve is in bytes per cubic second. */
#define MIN_WINDOW (2 * SRM_CC_PACKET)
#define CUBIC_C (0.4 * (double)SRM_CC_PACKET)
#define BETA 0.7
#define ALPHA (3 * (1 - BETA) / (1 + BETA))
#define PACING_SLOW_START 2.0 /* RFC 9002 section 7.7 wants a factor; these are Linux's */
#define PACING 1.25
#define UNMEASURED                                                                                           \
    SRM_MILLISECOND /* stands for the RTT before the first sample: the first window is a burst */

/* RFC 9406 section 4.3 */
#define RTT_THRESH_MIN (4 * SRM_MILLISECOND)
#define RTT_THRESH_MAX (16 * SRM_MILLISECOND)
#define RTT_DIVISOR 8
#define RTT_SAMPLES 8
#define CONSERVATIVE_DIVISOR 4
#define CONSERVATIVE_ROUNDS 5

static bool in_slow_start(const srm_cubic_curve *curve) {
    return curve->window < curve->threshold;
}

static void put_out(srm_cc *cc, srm_time rtt) {
    const srm_cubic_curve *curve = &cc->cubic.curve;
    double gain = in_slow_start(curve) ? PACING_SLOW_START : PACING;
    cc->window = curve->window;
    srm_cc_set_rate(cc, srm_cc_rate_of((uint64_t)(gain * (double)curve->window), rtt), SRM_CC_BURST);
}

static void cubic_init(srm_cc *cc, srm_time now) {
    cc->cubic = (srm_cubic){
        .curve = {.window = SRM_CC_INITIAL_WINDOW, .threshold = UINT64_MAX, .epoch_start = SRM_TIME_NEVER},
        .recovery_start = -1,
        .last_event = now,
        .quiet_since = SRM_TIME_NEVER,
        .rtt_last_round = SRM_TIME_NEVER,
        .rtt_this_round = SRM_TIME_NEVER,
        .rtt_baseline = SRM_TIME_NEVER};
    put_out(cc, UNMEASURED);
}

static void cubic_on_sent(srm_cc *cc, srm_time now, uint64_t bytes, uint64_t in_flight) {
    (void)now;
    (void)bytes;
    cc->cubic.peak_now = srm_u64_max(cc->cubic.peak_now, in_flight);
}

/* ---- HyStart++ ---- */

static void end_round(srm_cubic *c, uint64_t delivered) {
    c->round_end = delivered;
    c->rtt_last_round = c->rtt_this_round;
    c->rtt_this_round = SRM_TIME_NEVER;
    c->rtt_samples = 0;
    c->peak = c->peak_now;
    c->peak_now = 0;
    if (!c->curve.conservative || ++c->conservative_rounds < CONSERVATIVE_ROUNDS)
        return;
    c->curve.threshold = c->curve.window;
    c->curve.conservative = false;
}

/* The queue grows: either go on slowly, to see whether it was a passing thing, or back to full speed. */
static void watch_rtt(srm_cubic *c, srm_time rtt) {
    c->rtt_this_round = srm_time_min(c->rtt_this_round, rtt);
    if (++c->rtt_samples < RTT_SAMPLES || !in_slow_start(&c->curve))
        return;
    if (c->curve.conservative) {
        c->curve.conservative = c->rtt_this_round >= c->rtt_baseline;
        return;
    }
    if (c->rtt_last_round == SRM_TIME_NEVER)
        return;
    srm_time thresh =
        srm_time_min(srm_time_max(c->rtt_last_round / RTT_DIVISOR, RTT_THRESH_MIN), RTT_THRESH_MAX);
    if (c->rtt_this_round >= c->rtt_last_round + thresh) {
        c->curve.conservative = true;
        c->rtt_baseline = c->rtt_this_round;
        c->conservative_rounds = 0;
    }
}

/* ---- growth ---- */

/* Whether the window is what holds sending back: only then may it grow (RFC 9002 section 7.8). In slow start
 * half of it is enough, for it may double within the round. */
static bool is_limited(const srm_cc *cc) {
    const srm_cubic *c = &cc->cubic;
    uint64_t peak = srm_u64_max(c->peak, c->peak_now);
    if (in_slow_start(&c->curve))
        return 2 * peak > c->curve.window;
    return peak + srm_u64_max(cc->send_quantum, SRM_CC_PACKET) >= c->curve.window;
}

/* Time in which the window was not filled doesn't count on the curve. */
static void account_quiet(srm_cubic *c, srm_time now, bool limited) {
    if (!limited) {
        c->quiet_since = srm_time_min(c->quiet_since, now);
    } else if (c->quiet_since != SRM_TIME_NEVER) {
        if (c->curve.epoch_start != SRM_TIME_NEVER)
            c->curve.epoch_start += now - srm_time_max(c->quiet_since, c->curve.epoch_start);
        c->quiet_since = SRM_TIME_NEVER;
    }
}

static void start_epoch(srm_cubic_curve *curve, srm_time now) {
    double window = (double)curve->window;
    curve->epoch_start = now;
    curve->w_max = fmax(curve->w_max, window);
    curve->w_reno = window;
    curve->k = cbrt((curve->w_max - window) / CUBIC_C);
}

static double curve_at(const srm_cubic_curve *curve, double seconds) {
    double t = seconds - curve->k;
    return CUBIC_C * t * t * t + curve->w_max;
}

static void add_bytes(srm_cubic *c, double bytes) {
    c->grown += bytes;
    double whole = floor(c->grown);
    c->curve.window += (uint64_t)whole;
    c->grown -= whole;
}

static void grow_slow_start(srm_cubic *c, uint64_t acked) {
    add_bytes(c, (double)acked / (c->curve.conservative ? CONSERVATIVE_DIVISOR : 1));
}

static void grow_avoidance(srm_cubic *c, const srm_cc_sample *sample) {
    srm_cubic_curve *curve = &c->curve;
    if (curve->epoch_start == SRM_TIME_NEVER)
        start_epoch(curve, sample->now);
    double window = (double)curve->window, acked = (double)sample->acked_bytes;
    double seconds = (double)(sample->now - curve->epoch_start) / (double)SRM_SECOND;
    double rtt = (double)sample->rtt_smoothed / (double)SRM_SECOND;
    double alpha = curve->w_reno >= curve->w_before ? 1 : ALPHA;
    curve->w_reno += alpha * (double)SRM_CC_PACKET * acked / window;
    if (curve_at(curve, seconds) < curve->w_reno) {
        if (curve->w_reno > window)
            add_bytes(c, curve->w_reno - window);
        return;
    }
    double target = fmin(fmax(curve_at(curve, seconds + rtt), window), 1.5 * window);
    add_bytes(c, (target - window) * fmin(acked / window, 1));
}

static void on_acked(srm_cc *cc, const srm_cc_sample *sample) {
    srm_cubic *c = &cc->cubic;
    bool limited = is_limited(cc);
    account_quiet(c, sample->now, limited);
    if (sample->rate_prior_delivered >= c->round_end)
        end_round(c, sample->delivered);
    if (sample->rtt > 0)
        watch_rtt(c, sample->rtt);
    if (!limited || sample->largest_acked_sent <= c->recovery_start)
        return;
    if (in_slow_start(&c->curve))
        grow_slow_start(c, sample->acked_bytes);
    else
        grow_avoidance(c, sample);
}

/* ---- congestion ---- */

static void reduce(srm_cubic *c, srm_time now) {
    srm_cubic_curve *curve = &c->curve;
    double window = (double)curve->window;
    /* Fast convergence: who is shrinking makes room for a newcomer. */
    curve->w_max = window < curve->w_max ? window * (1 + BETA) / 2 : window;
    curve->w_before = window;
    curve->threshold = srm_u64_max((uint64_t)(window * BETA), MIN_WINDOW);
    curve->window = curve->threshold;
    curve->epoch_start = SRM_TIME_NEVER;
    curve->conservative = false;
    c->grown = 0;
    c->recovery_start = now;
    c->quiet_since = SRM_TIME_NEVER;
}

static void on_congestion(srm_cubic *c, const srm_cc_sample *sample) {
    if (sample->lost_bytes > 0 && sample->largest_lost_sent > c->recovery_start) {
        c->before = c->curve;
        c->can_undo = true;
        reduce(c, sample->now);
    } else if (sample->ecn_ce > 0 && sample->largest_acked_sent > c->recovery_start) {
        c->can_undo = false;
        reduce(c, sample->now);
    }
    if (!sample->persistent_congestion)
        return;
    c->can_undo = false;
    c->curve.window = MIN_WINDOW;
    c->recovery_start = -1;
}

static void cubic_on_sample(srm_cc *cc, const srm_cc_sample *sample) {
    on_congestion(&cc->cubic, sample);
    if (sample->acked_bytes > 0)
        on_acked(cc, sample);
    cc->cubic.last_event = sample->now;
    put_out(cc, sample->rtt_min > 0 ? sample->rtt_smoothed : UNMEASURED);
}

static void cubic_on_spurious_loss(srm_cc *cc, srm_time now, uint64_t bytes) {
    (void)now;
    (void)bytes;
    srm_cubic *c = &cc->cubic;
    if (!c->can_undo)
        return;
    c->can_undo = false;
    c->recovery_start = -1;
    if (c->curve.window < c->before.window)
        c->curve = c->before;
    cc->window = c->curve.window; /* the rate follows with the sample of the same event */
}

static void cubic_on_idle_restart(srm_cc *cc, srm_time now) {
    (void)now;
    srm_cubic *c = &cc->cubic;
    c->quiet_since = srm_time_min(c->quiet_since, c->last_event);
}

const srm_cc_table srm_cc_cubic_table = {.name = "cubic",
                                         .init = cubic_init,
                                         .on_sent = cubic_on_sent,
                                         .on_sample = cubic_on_sample,
                                         .on_spurious_loss = cubic_on_spurious_loss,
                                         .on_idle_restart = cubic_on_idle_restart};
