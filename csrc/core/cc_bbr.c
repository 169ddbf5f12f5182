/* BBR, version 3, after draft-ietf-ccwg-bbr; functions have the draft's names. Where it differs:
 *
 * 1. Loss. The draft takes any loss as a sign that the path has become narrower, and more than 2 % of it as
 * the path being full; so it gives up where packets are lost at random. Here loss counts only if it shows
 *    congestion (srm_bbr_model_congested): beyond the path's own, learned loss rate, and with a raised RTT or
 *    by far. And the pacing rate is raised by what random loss takes away (srm_bbr_model_repair).
 * 2. What is in flight is measured against a BDP that is never below 1 ms of bandwidth (SRM_BBR_RTT_FLOOR).
 *    Against the BDP alone a drained pipe counts as full: ACKs wait at the receiver too. So two quanta
 *    are allowed on top of it where Drain and ProbeBW_DOWN ask whether the queue is gone.
 * 3. ProbeRTT waits as long as RTT samples come close to min_rtt (SRM_BBR_SIMILAR_RTT): there is nothing to
 *    drain, and it costs 2 % of the throughput.
 * 4. CE marks, which the draft leaves open, count like lost packets that show congestion.
 * 5. ProbeBW_UP does no more than it has to. The draft pushes for three rounds, and a bandwidth-delay product
 *    of queue with it, to be sure that there is no more bandwidth. Where no queue stood before, a raised RTT
 *    says so at once, and a quarter of min_rtt is all that is added (GENTLE). Where others' queue stands, a
 *    flow with less than its share must push to get it, as the draft does; but no further than the first
 *    loss that shows the queue to be full.
 * 6. Between probes, while a queue stands, what is in flight follows from how long the queue is when it is
 *    full (srm_bbr_model_queue_gain), rather than twice the BDP. Two BDPs are all there is in a queue of one:
 *    CUBIC beside us would have nothing left.
 * 7. Between probes, while a queue stands, the pacing rate is 3 % lower (EMPTYING): the bandwidth estimate
 *    is the largest of many samples, and a little more than the path has, so that a queue grew from probe
 *    to probe.
 * 8. A burst is a quarter of min_rtt at most (burst_time), and one packet rather than two at least: on a
 *    short path, or a thin one, the draft's burst of 1 ms would be more than a queue of one BDP holds.
 */
#include "cc.h"

#define MIN_PIPE (4 * SRM_CC_PACKET) /* MinPipeCwnd */
#define BETA 0.7
#define HEADROOM 0.15
#define PACING_MARGIN 0.99
#define EMPTYING 0.97 /* while a queue stands between probes */
#define FULL_BW_GROWTH 1.25
#define FULL_BW_ROUNDS 3
#define DRAIN_ROUNDS 3
#define RENO_ROUNDS 63
#define PROBE_WAIT (2 * SRM_SECOND) /* and up to 1 s more */
#define PROBE_RTT_TIME (200 * SRM_MILLISECOND)
#define UNMEASURED SRM_MILLISECOND /* stands for the RTT before the first sample */
#define GENTLE 4                   /* part of min_rtt by which a probe on an empty path may raise the RTT */
#define GENTLE_SEEN 8              /* by which it has to, for the probe to end */
#define GENTLE_RTT_MIN (GENTLE * SRM_BBR_RTT_NOISE) /* of a shorter one that part is noise */
#define BURST_RTT_MIN (SRM_MILLISECOND / 2)         /* below it both ends are on one machine */

typedef struct gains {
    double pacing;
    double window;
} gains;

static const gains gains_of[] = {
    [SRM_BBR_STARTUP] = {2.77, 2},  [SRM_BBR_DRAIN] = {0.5, 2}, [SRM_BBR_DOWN] = {0.9, 2},
    [SRM_BBR_CRUISE] = {1, 2},      [SRM_BBR_REFILL] = {1, 2},  [SRM_BBR_UP] = {1.25, 2.25},
    [SRM_BBR_PROBE_RTT] = {1, 0.5},
};

static bool in_probe_bw(const srm_bbr *b) {
    return b->state >= SRM_BBR_DOWN && b->state <= SRM_BBR_UP;
}

static bool is_accelerating(const srm_bbr *b) {
    return b->state == SRM_BBR_STARTUP || b->state == SRM_BBR_REFILL || b->state == SRM_BBR_UP;
}

static bool is_app_limited(const srm_bbr *b, const srm_cc_sample *sample) {
    return sample->rate_app_limited || sample->rate_prior_delivered < b->ignore_until;
}

static uint64_t scale(uint64_t bytes, double gain) {
    return (uint64_t)((double)bytes * gain);
}

/* xorshift: flows must not probe in step, and nothing depends on more than that. */
static uint64_t next_random(srm_bbr *b) {
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

/* ---- volumes ---- */

static uint64_t bdp(const srm_bbr *b, uint64_t bw) {
    return srm_bbr_model_bdp(&b->model, bw, SRM_CC_INITIAL_WINDOW);
}

static uint64_t quantized(const srm_cc *cc, uint64_t volume) {
    volume = srm_u64_max(srm_u64_max(volume, 2 * cc->send_quantum), MIN_PIPE);
    return cc->bbr.state == SRM_BBR_UP ? volume + 2 * SRM_CC_PACKET : volume;
}

static uint64_t gentle_inflight(const srm_cc *cc) {
    const srm_bbr *b = &cc->bbr;
    return srm_cc_bytes_of(b->bw, b->up_rtt + b->model.min_rtt / GENTLE) + 2 * cc->send_quantum;
}

static uint64_t max_inflight(const srm_cc *cc) {
    const srm_bbr *b = &cc->bbr;
    double gain = gains_of[b->state].window;
    if (b->state == SRM_BBR_DOWN || b->state == SRM_BBR_CRUISE)
        gain = srm_bbr_model_queue_gain(&b->model, gain);
    bool gentle = b->state == SRM_BBR_UP && b->up_rtt > 0;
    uint64_t volume = gentle ? gentle_inflight(cc) : scale(bdp(b, b->bw), gain);
    return quantized(cc, volume + srm_bbr_model_extra(&b->model));
}

/* Whether no more is in flight than fills the pipe. */
static bool is_drained(const srm_cc *cc, uint64_t bw, uint64_t in_flight) {
    const srm_bbr *b = &cc->bbr;
    uint64_t pipe = scale(bdp(b, bw), srm_bbr_model_repair(&b->model)) + 2 * cc->send_quantum;
    return in_flight <= quantized(cc, pipe);
}

static uint64_t inflight_with_headroom(const srm_bbr *b) {
    if (b->inflight_long == SRM_BBR_NO_BOUND)
        return SRM_BBR_NO_BOUND;
    uint64_t headroom = srm_u64_max(SRM_CC_PACKET, scale(b->inflight_long, HEADROOM));
    return srm_u64_max(b->inflight_long - srm_u64_min(headroom, b->inflight_long), MIN_PIPE);
}

static uint64_t target_inflight(const srm_cc *cc) {
    return srm_u64_min(bdp(&cc->bbr, cc->bbr.bw), cc->window);
}

static uint64_t probe_rtt_window(const srm_bbr *b) {
    return srm_u64_max(scale(bdp(b, b->bw), gains_of[SRM_BBR_PROBE_RTT].window), MIN_PIPE);
}

/* ---- states ---- */

static void reset_full_bw(srm_bbr *b, uint64_t bw) {
    b->full_bw = bw;
    b->full_bw_count = 0;
    b->full_bw_now = false;
}

static void reset_short_term(srm_bbr *b) {
    b->bw_short = SRM_BBR_NO_BOUND;
    b->inflight_short = SRM_BBR_NO_BOUND;
}

static void reset_congestion_signals(srm_bbr *b) {
    b->loss_in_round = false;
    b->loss_round_lost = b->loss_round_acked = b->loss_round_marked = 0;
    b->bw_latest = 0;
    b->inflight_latest = 0;
}

static void start_down(srm_bbr *b, srm_time now, uint64_t delivered) {
    reset_congestion_signals(b);
    b->probe_up_per_packet = SRM_BBR_NO_BOUND;
    b->rounds_since_probe = (uint32_t)(next_random(b) & 1);
    b->probe_wait = PROBE_WAIT + (srm_time)(next_random(b) % (uint64_t)SRM_SECOND);
    b->cycle_start = now;
    b->ack_phase = SRM_BBR_ACKS_STOPPING;
    srm_bbr_model_start_round(&b->model, delivered);
    b->state = SRM_BBR_DOWN;
}

static void start_refill(srm_bbr *b, uint64_t delivered) {
    reset_short_term(b);
    b->probe_up_rounds = 0;
    b->probe_up_acked = 0;
    b->probe_precaution = false;
    b->ack_phase = SRM_BBR_ACKS_REFILLING;
    srm_bbr_model_start_round(&b->model, delivered);
    b->state = SRM_BBR_REFILL;
}

/* inflight_long grows by 1, 2, 4, 8, ... packets in the rounds of a probe. */
static void raise_slope(srm_cc *cc) {
    srm_bbr *b = &cc->bbr;
    uint64_t growth = (uint64_t)1 << b->probe_up_rounds;
    if (b->probe_up_rounds < 30)
        b->probe_up_rounds++;
    b->probe_up_per_packet = srm_u64_max(cc->window / growth, SRM_CC_PACKET);
}

static void start_up(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    b->ack_phase = SRM_BBR_ACKS_STARTING;
    srm_bbr_model_start_round(&b->model, sample->delivered);
    reset_full_bw(b, sample->rate);
    bool gentle = b->model.min_rtt >= GENTLE_RTT_MIN && !srm_bbr_model_is_crowded(&b->model);
    b->up_rtt = gentle ? sample->rtt_smoothed : 0;
    b->state = SRM_BBR_UP;
    raise_slope(cc);
}

static void start_drain(srm_bbr *b) {
    b->state = SRM_BBR_DRAIN;
    b->drain_start = b->model.rounds;
}

/* ---- loss: the long-term model ---- */

static void note_loss(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    if (!b->loss_in_round) {
        b->loss_round_end = sample->delivered;
        if (b->state != SRM_BBR_PROBE_RTT)
            b->prior_window = cc->window;
        b->undo = (srm_bbr_undo){.state = SRM_BBR_CRUISE,
                                 .bw_short = b->bw_short,
                                 .inflight_short = b->inflight_short,
                                 .inflight_long = b->inflight_long};
    }
    b->loss_in_round = true;
}

/* Marks of the present loss round: beyond the threshold, as part of what was sent in a round trip. */
static bool is_marked(const srm_bbr *b, uint64_t sent) {
    return b->loss_round_marked > scale(sent, SRM_BBR_LOSS_THRESH);
}

static bool is_too_high(const srm_bbr *b, const srm_cc_sample *sample, const srm_cc_send_state *then) {
    uint64_t lost = sample->lost - then->lost;
    return srm_bbr_model_congested(&b->model, lost, then->in_flight, SRM_BBR_LOSS_FAR) ||
           is_marked(b, then->in_flight);
}

/* How much was in flight when the share of lost bytes went beyond the threshold: somewhere within what this
 * event declared lost. */
static uint64_t inflight_at_loss(const srm_bbr *b, const srm_cc_sample *sample) {
    double thresh = SRM_BBR_LOSS_THRESH + srm_bbr_model_random_loss(&b->model);
    uint64_t size = srm_u64_min(sample->lost_bytes, sample->lost_state.in_flight);
    double flight = (double)(sample->lost_state.in_flight - size);
    double lost = (double)(sample->lost - sample->lost_state.lost) - (double)sample->lost_bytes;
    double prefix = (thresh * flight - lost) / (1 - thresh);
    prefix = prefix < 0 ? 0 : prefix > (double)size ? (double)size : prefix;
    return (uint64_t)(flight + prefix);
}

static void handle_too_high(srm_cc *cc, const srm_cc_sample *sample, uint64_t in_flight, bool app_limited) {
    srm_bbr *b = &cc->bbr;
    b->probe_too_high = true;
    b->probe_sample = false; /* one reaction to each probe */
    if (!app_limited)
        b->inflight_long = srm_u64_max(in_flight, scale(target_inflight(cc), BETA));
    if (b->state == SRM_BBR_UP) {
        b->undo.state = SRM_BBR_UP;
        start_down(b, sample->now, sample->delivered);
    }
}

static bool has_overflowed(const srm_bbr *b) {
    return srm_bbr_model_overflowed(&b->model, b->loss_round_lost, b->loss_round_lost + b->loss_round_acked);
}

static void on_lost(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    note_loss(cc, sample);
    b->loss_round_lost += sample->lost_bytes;
    if (has_overflowed(b))
        srm_bbr_model_on_overflow(&b->model, sample->now, sample->rtt_smoothed);
    if (b->probe_sample && is_too_high(b, sample, &sample->lost_state))
        handle_too_high(cc, sample, inflight_at_loss(b, sample), sample->lost_state.app_limited);
}

static void on_marked(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    note_loss(cc, sample);
    b->loss_round_marked += sample->ecn_ce * SRM_CC_PACKET;
    if (b->probe_sample && is_too_high(b, sample, &sample->acked_state))
        handle_too_high(cc, sample, sample->acked_state.in_flight, is_app_limited(b, sample));
}

/* ---- loss: the short-term model ---- */

static void update_latest_signals(srm_bbr *b, const srm_cc_sample *sample) {
    b->loss_round_start = false;
    b->bw_latest = srm_u64_max(b->bw_latest, sample->rate);
    b->inflight_latest = srm_u64_max(b->inflight_latest, sample->rate_delivered);
    b->loss_round_acked += sample->acked_bytes;
    if (sample->rate_prior_delivered < b->loss_round_end)
        return;
    b->loss_round_end = sample->delivered;
    b->loss_round_start = true;
}

static void advance_latest_signals(srm_bbr *b, const srm_cc_sample *sample) {
    if (!b->loss_round_start)
        return;
    b->bw_latest = sample->rate;
    b->inflight_latest = sample->rate_delivered;
    b->loss_round_lost = b->loss_round_acked = b->loss_round_marked = 0;
    b->loss_in_round = false;
}

static bool was_round_congested(const srm_bbr *b, double far) {
    uint64_t sent = b->loss_round_lost + b->loss_round_acked;
    return srm_bbr_model_congested(&b->model, b->loss_round_lost, sent, far) || is_marked(b, sent);
}

static void adapt_lower_bounds(srm_cc *cc) {
    srm_bbr *b = &cc->bbr;
    if (is_accelerating(b) || !b->loss_in_round || !was_round_congested(b, SRM_BBR_LOSS_FAR))
        return;
    if (b->bw_short == SRM_BBR_NO_BOUND)
        b->bw_short = srm_bbr_model_max_bw(&b->model);
    if (b->inflight_short == SRM_BBR_NO_BOUND)
        b->inflight_short = cc->window;
    b->bw_short = srm_u64_max(b->bw_latest, scale(b->bw_short, BETA));
    b->inflight_short = srm_u64_max(b->inflight_latest, scale(b->inflight_short, BETA));
}

/* Once a loss round. In Startup while the RTT is low the rate is still below what the path can carry. */
static void learn_loss(srm_bbr *b) {
    bool slow = b->state == SRM_BBR_CRUISE || b->state == SRM_BBR_DOWN;
    if (slow && !srm_bbr_model_has_queue(&b->model))
        srm_bbr_model_learn_loss(&b->model, b->loss_round_lost, b->loss_round_acked);
}

static void update_congestion_signals(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    srm_bbr_model_on_round(&b->model, sample);
    if (b->model.round_start) {
        b->rounds_since_probe++;
        b->window_limited_before = b->window_limited;
        b->window_limited = false;
    }
    if (sample->rate_valid)
        srm_bbr_model_on_rate(&b->model, sample->rate, is_app_limited(b, sample));
    if (b->loss_round_start)
        adapt_lower_bounds(cc);
}

/* ---- Startup and Drain ---- */

static void check_full_bw(srm_bbr *b, const srm_cc_sample *sample) {
    if (b->full_bw_now || !b->model.round_start || is_app_limited(b, sample) || !sample->rate_valid)
        return;
    if ((double)sample->rate >= (double)b->full_bw * FULL_BW_GROWTH) {
        reset_full_bw(b, sample->rate);
        return;
    }
    b->full_bw_now = ++b->full_bw_count >= FULL_BW_ROUNDS;
    b->full_bw_reached |= b->full_bw_now;
}

static void check_startup_loss(srm_bbr *b) {
    if (!b->loss_round_start || !b->loss_in_round ||
        b->loss_round_lost + b->loss_round_marked < SRM_BBR_LOSS_PACKETS * SRM_CC_PACKET ||
        !was_round_congested(b, SRM_BBR_LOSS_FAR_STARTUP))
        return;
    b->undo.state = SRM_BBR_STARTUP;
    b->full_bw_reached = true;
    b->inflight_long = srm_u64_max(bdp(b, b->bw), b->inflight_latest);
}

static void check_startup_done(srm_bbr *b) {
    if (b->state != SRM_BBR_STARTUP)
        return;
    check_startup_loss(b);
    if (b->full_bw_reached)
        start_drain(b);
}

static void check_drain_done(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    if (b->state == SRM_BBR_DRAIN &&
        (is_drained(cc, b->bw, sample->in_flight) || b->model.rounds > b->drain_start + DRAIN_ROUNDS))
        start_down(b, sample->now, sample->delivered);
}

/* ---- ProbeBW ---- */

static bool is_window_limited(const srm_bbr *b) {
    return b->window_limited || b->window_limited_before;
}

static void probe_inflight_upward(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    if (!is_window_limited(b) || cc->window < b->inflight_long)
        return;
    b->probe_up_acked += sample->acked_bytes;
    if (b->probe_up_acked >= b->probe_up_per_packet) {
        uint64_t packets = b->probe_up_acked / b->probe_up_per_packet;
        b->probe_up_acked -= packets * b->probe_up_per_packet;
        b->inflight_long += packets * SRM_CC_PACKET;
    }
    if (b->model.round_start)
        raise_slope(cc);
}

/* A round after the probe its last answers are in. True: the next probe begins at once. */
static bool end_feedback(srm_bbr *b, const srm_cc_sample *sample) {
    b->probe_sample = false;
    b->ack_phase = SRM_BBR_ACKS_INIT;
    if (!in_probe_bw(b))
        return false;
    if (!is_app_limited(b, sample))
        srm_bbr_model_next_cycle(&b->model);
    if (!b->probe_precaution || b->probe_too_high)
        return false;
    start_refill(b, sample->delivered);
    return true;
}

static bool adapt_long_term(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    if (b->ack_phase == SRM_BBR_ACKS_STARTING && b->model.round_start)
        b->ack_phase = SRM_BBR_ACKS_FEEDBACK;
    if (b->ack_phase == SRM_BBR_ACKS_STOPPING && b->model.round_start && end_feedback(b, sample))
        return true;
    if (b->inflight_long == SRM_BBR_NO_BOUND || is_too_high(b, sample, &sample->acked_state))
        return false;
    b->inflight_long = srm_u64_max(b->inflight_long, sample->acked_state.in_flight);
    if (b->state == SRM_BBR_UP)
        probe_inflight_upward(cc, sample);
    return false;
}

/* How often Reno would have to probe to keep up, in rounds: as many as it has packets in flight. */
static bool is_time_to_probe(const srm_cc *cc, srm_time now) {
    const srm_bbr *b = &cc->bbr;
    uint64_t rounds = srm_u64_min(target_inflight(cc) / SRM_CC_PACKET, RENO_ROUNDS);
    return now > b->cycle_start + b->probe_wait || b->rounds_since_probe >= rounds;
}

static bool is_time_to_cruise(const srm_cc *cc, uint64_t in_flight) {
    const srm_bbr *b = &cc->bbr;
    return in_flight <= inflight_with_headroom(b) &&
           is_drained(cc, srm_bbr_model_max_bw(&b->model), in_flight);
}

/* The first answers of the probe are in: a path that was empty isn't empty any more, or the queue is full. */
static bool is_probe_answered(const srm_bbr *b, const srm_cc_sample *sample) {
    srm_time margin = srm_time_max(b->model.min_rtt / GENTLE_SEEN, SRM_BBR_RTT_NOISE);
    if (b->ack_phase != SRM_BBR_ACKS_FEEDBACK)
        return false;
    return (b->up_rtt > 0 && sample->rtt_smoothed > b->up_rtt + margin) ||
           (sample->lost_bytes > 0 && has_overflowed(b));
}

static bool is_time_to_go_down(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    if (is_probe_answered(b, sample))
        return true;
    if (b->probe_too_high && sample->in_flight >= b->inflight_long) {
        b->probe_precaution = true;
        return true;
    }
    if (!is_window_limited(b) || cc->window < b->inflight_long)
        return b->full_bw_now;
    reset_full_bw(b, sample->rate); /* inflight_long is in the way: this says nothing about bandwidth */
    return false;
}

static void update_probe_bw(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    if (!b->full_bw_reached || adapt_long_term(cc, sample))
        return;
    if (b->state == SRM_BBR_DOWN || b->state == SRM_BBR_CRUISE) {
        if (is_time_to_probe(cc, sample->now))
            start_refill(b, sample->delivered);
        else if (b->state == SRM_BBR_DOWN && is_time_to_cruise(cc, sample->in_flight))
            b->state = SRM_BBR_CRUISE;
    } else if (b->state == SRM_BBR_REFILL && b->model.round_start) {
        b->probe_sample = true;
        start_up(cc, sample);
    } else if (b->state == SRM_BBR_UP && is_time_to_go_down(cc, sample)) {
        b->probe_too_high = false;
        start_down(b, sample->now, sample->delivered);
    }
}

/* ---- ProbeRTT ---- */

static void restore_window(srm_cc *cc) {
    cc->window = srm_u64_max(cc->window, cc->bbr.prior_window);
}

static void check_probe_rtt_done(srm_cc *cc, srm_time now, uint64_t delivered) {
    srm_bbr *b = &cc->bbr;
    if (b->probe_rtt_done == 0 || now <= b->probe_rtt_done)
        return;
    b->model.probe_rtt_min_at = now;
    restore_window(cc);
    reset_short_term(b);
    b->state = SRM_BBR_STARTUP;
    if (b->full_bw_reached) {
        start_down(b, now, delivered);
        b->state = SRM_BBR_CRUISE;
    }
}

static void enter_probe_rtt(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    b->prior_window = b->loss_in_round ? srm_u64_max(b->prior_window, cc->window) : cc->window;
    b->state = SRM_BBR_PROBE_RTT;
    b->probe_rtt_done = 0;
    b->ack_phase = SRM_BBR_ACKS_STOPPING;
    srm_bbr_model_start_round(&b->model, sample->delivered);
}

static void handle_probe_rtt(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    b->ignore_until = sample->delivered + sample->in_flight;
    if (b->probe_rtt_done == 0) {
        if (sample->in_flight > probe_rtt_window(b))
            return;
        b->probe_rtt_done = sample->now + PROBE_RTT_TIME;
        b->probe_rtt_round_done = false;
        srm_bbr_model_start_round(&b->model, sample->delivered);
        return;
    }
    b->probe_rtt_round_done |= b->model.round_start;
    if (b->probe_rtt_round_done)
        check_probe_rtt_done(cc, sample->now, sample->delivered);
}

static void check_probe_rtt(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    if (b->state != SRM_BBR_PROBE_RTT && b->model.probe_rtt_expired && !b->idle_restart)
        enter_probe_rtt(cc, sample);
    if (b->state == SRM_BBR_PROBE_RTT)
        handle_probe_rtt(cc, sample);
    if (sample->rate_delivered > 0)
        b->idle_restart = false;
}

/* ---- what comes out ---- */

static srm_time burst_time(const srm_bbr *b) {
    srm_time rtt = b->model.min_rtt;
    if (rtt < BURST_RTT_MIN || rtt == SRM_TIME_NEVER)
        return SRM_CC_BURST;
    return srm_time_min(SRM_CC_BURST, srm_time_max(rtt / 4, SRM_CC_BURST / 4));
}

static void set_pacing_rate(srm_cc *cc, double gain) {
    const srm_bbr *b = &cc->bbr;
    double repair = srm_bbr_model_repair(&b->model);
    uint64_t rate = scale(b->bw, gain * PACING_MARGIN * repair);
    if (b->full_bw_reached || rate > cc->pacing_rate)
        srm_cc_set_rate(cc, rate, burst_time(b));
}

/* The largest of many rate samples is larger than the rate, by what jitter makes of the best of them; so a
 * queue grows between probes, some milliseconds a second. Random loss takes as much away by itself. */
static double pacing_gain(const srm_bbr *b) {
    double gain = gains_of[b->state].pacing;
    if (b->state != SRM_BBR_CRUISE || b->model.min_rtt < SRM_BBR_RTT_FLOOR ||
        !srm_bbr_model_has_queue(&b->model))
        return gain;
    double emptying = EMPTYING / (1 - srm_bbr_model_random_loss(&b->model));
    return emptying < 1 ? gain * emptying : gain;
}

/* The first RTT tells what the initial window makes a second; before, it was a guess. */
static void init_pacing_rate(srm_cc *cc, srm_time rtt) {
    uint64_t rate = srm_cc_rate_of(SRM_CC_INITIAL_WINDOW, rtt);
    srm_cc_set_rate(cc, scale(rate, gains_of[SRM_BBR_STARTUP].pacing), SRM_CC_BURST);
}

static void bound_window(srm_cc *cc) {
    const srm_bbr *b = &cc->bbr;
    uint64_t cap = SRM_BBR_NO_BOUND;
    if (b->state == SRM_BBR_PROBE_RTT || b->state == SRM_BBR_CRUISE)
        cap = inflight_with_headroom(b);
    else if (in_probe_bw(b))
        cap = b->inflight_long;
    cap = srm_u64_max(srm_u64_min(cap, b->inflight_short), MIN_PIPE);
    if (b->state == SRM_BBR_PROBE_RTT)
        cap = srm_u64_min(cap, probe_rtt_window(b));
    cc->window = srm_u64_min(srm_u64_max(cc->window, MIN_PIPE), cap);
}

static void set_window(srm_cc *cc, const srm_cc_sample *sample) {
    const srm_bbr *b = &cc->bbr;
    uint64_t most = max_inflight(cc), grown = cc->window + sample->acked_bytes;
    if (b->full_bw_reached)
        cc->window = srm_u64_min(grown, most);
    else if (cc->window < most || sample->delivered < SRM_CC_INITIAL_WINDOW)
        cc->window = grown;
    bound_window(cc);
}

/* ---- doors ---- */

static void bbr_init(srm_cc *cc, srm_time now) {
    srm_bbr *b = &cc->bbr;
    *b = (srm_bbr){.state = SRM_BBR_STARTUP,
                   .inflight_long = SRM_BBR_NO_BOUND,
                   .probe_up_per_packet = SRM_BBR_NO_BOUND,
                   .undo = {.state = SRM_BBR_CRUISE},
                   .random = (uint64_t)now | 1};
    srm_bbr_model_init(&b->model, now);
    reset_short_term(b);
    init_pacing_rate(cc, UNMEASURED);
}

static void bbr_on_sent(srm_cc *cc, srm_time now, uint64_t bytes, uint64_t in_flight) {
    (void)now;
    (void)bytes;
    if (in_flight + SRM_CC_PACKET > cc->window)
        cc->bbr.window_limited = true;
}

static void on_acked(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    update_latest_signals(b, sample);
    update_congestion_signals(cc, sample);
    srm_bbr_model_on_extra(&b->model, sample, b->bw, cc->window, b->full_bw_reached);
    check_full_bw(b, sample);
    check_startup_done(b);
    check_drain_done(cc, sample);
    update_probe_bw(cc, sample);
    srm_bbr_model_on_rtt(&b->model, sample);
    check_probe_rtt(cc, sample);
    if (b->loss_round_start)
        learn_loss(b);
    advance_latest_signals(b, sample);
    b->bw = srm_u64_min(srm_bbr_model_max_bw(&b->model), b->bw_short);
}

static void bbr_on_sample(srm_cc *cc, const srm_cc_sample *sample) {
    srm_bbr *b = &cc->bbr;
    b->delivered = sample->delivered;
    b->random ^= (uint64_t)sample->now | 1;
    if (sample->lost_bytes > 0)
        on_lost(cc, sample);
    if (sample->ecn_ce > 0 && sample->acked_bytes > 0)
        on_marked(cc, sample);
    if (sample->rtt > 0 && !b->has_rtt) {
        b->has_rtt = true;
        init_pacing_rate(cc, sample->rtt_smoothed);
    }
    if (sample->acked_bytes > 0)
        on_acked(cc, sample);
    if (b->bw > 0)
        set_pacing_rate(cc, pacing_gain(b));
    set_window(cc, sample);
    if (sample->persistent_congestion) {
        b->prior_window = cc->window;
        cc->window = MIN_PIPE; /* grows back with what is acknowledged, up to the model's bounds */
    }
}

static void bbr_on_spurious_loss(srm_cc *cc, srm_time now, uint64_t bytes) {
    (void)now;
    (void)bytes;
    srm_bbr *b = &cc->bbr;
    restore_window(cc);
    b->loss_in_round = false;
    b->loss_round_lost = 0;
    reset_full_bw(b, 0);
    b->bw_short = srm_u64_max(b->bw_short, b->undo.bw_short);
    b->inflight_short = srm_u64_max(b->inflight_short, b->undo.inflight_short);
    b->inflight_long = srm_u64_max(b->inflight_long, b->undo.inflight_long);
    if (b->undo.state == SRM_BBR_STARTUP && b->state != SRM_BBR_STARTUP) {
        b->full_bw_reached = false;
        if (b->state != SRM_BBR_PROBE_RTT)
            b->state = SRM_BBR_STARTUP;
    } else if (b->undo.state == SRM_BBR_UP && b->state != SRM_BBR_UP && b->state != SRM_BBR_PROBE_RTT) {
        start_refill(b, b->delivered);
    }
    b->undo.state = SRM_BBR_CRUISE;
}

static void bbr_on_idle_restart(srm_cc *cc, srm_time now) {
    srm_bbr *b = &cc->bbr;
    b->idle_restart = true;
    b->model.extra_start = now;
    if (in_probe_bw(b) && b->bw > 0)
        set_pacing_rate(cc, 1);
    else if (b->state == SRM_BBR_PROBE_RTT)
        check_probe_rtt_done(cc, now, b->delivered);
}

const srm_cc_table srm_cc_bbr_table = {.name = "bbr",
                                       .init = bbr_init,
                                       .on_sent = bbr_on_sent,
                                       .on_sample = bbr_on_sample,
                                       .on_spurious_loss = bbr_on_spurious_loss,
                                       .on_idle_restart = bbr_on_idle_restart};
