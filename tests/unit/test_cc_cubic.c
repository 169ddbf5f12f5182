#include "cc_model.h"

#include <math.h>

#define PACKET SRM_CC_PACKET

/* A controller fed with samples made by hand: every ACK is of a full window, one RTT apart. */
typedef struct fed {
    srm_cc cc;
    srm_time now;
    srm_time rtt;
    uint64_t delivered;
    uint64_t round; /* what was delivered when the packets now acknowledged were sent */
    uint64_t lost;
} fed;

static fed fed_new(srm_time rtt) {
    fed f = {.now = SRM_SECOND, .rtt = rtt};
    srm_cc_init(&f.cc, SRM_CC_CUBIC, f.now);
    return f;
}

static srm_cc_sample sample_of(fed *f, uint64_t acked, uint64_t lost) {
    f->lost += lost;
    srm_cc_sample sample = {.now = f->now,
                            .acked_bytes = acked,
                            .lost_bytes = lost,
                            .in_flight_prior = f->cc.window,
                            .in_flight = f->cc.window - acked,
                            .largest_acked_sent = f->now - f->rtt,
                            .largest_lost_sent = f->now - f->rtt,
                            .rtt = acked > 0 ? f->rtt : 0,
                            .rtt_min = f->rtt,
                            .rtt_smoothed = f->rtt,
                            .rate_prior_delivered = f->round,
                            .lost = f->lost};
    f->delivered += acked;
    sample.delivered = f->delivered;
    return sample;
}

/* The window was full, and `acked` of it is acknowledged in `parts` ACKs within an RTT. */
static void ack_round(fed *f, uint64_t acked, int parts) {
    srm_cc_on_sent(&f->cc, f->now, PACKET, f->cc.window);
    f->round = f->delivered;
    for (int i = 0; i < parts; i++) {
        f->now += f->rtt / parts;
        srm_cc_sample sample = sample_of(f, acked / (uint64_t)parts, 0);
        srm_cc_on_sample(&f->cc, &sample);
    }
}

static void lose(fed *f, uint64_t bytes) {
    srm_cc_sample sample = sample_of(f, 0, bytes);
    srm_cc_on_sample(&f->cc, &sample);
}

TEST(the_first_window_is_ten_packets) {
    fed f = fed_new(50 * MS);
    CHECK_EQ(srm_cc_window(&f.cc), 10 * PACKET);
    CHECK(srm_cc_pacing_rate(&f.cc) > 0);
    CHECK(srm_cc_send_quantum(&f.cc) >= 2 * PACKET);
    CHECK_EQ(strcmp(f.cc.table->name, "cubic"), 0);
}

TEST(slow_start_doubles_and_paces_at_twice_the_rate) {
    fed f = fed_new(50 * MS);
    for (uint64_t window = 10 * PACKET; window < 1000 * PACKET; window *= 2) {
        ack_round(&f, window, 1);
        CHECK_EQ(srm_cc_window(&f.cc), 2 * window);
        CHECK_EQ(srm_cc_pacing_rate(&f.cc), 2 * 2 * window * 20);
    }
}

TEST(a_loss_takes_three_tenths) {
    fed f = fed_new(50 * MS);
    ack_round(&f, 10 * PACKET, 1);
    uint64_t window = srm_cc_window(&f.cc);
    lose(&f, PACKET);
    CHECK_EQ(srm_cc_window(&f.cc), window * 7 / 10);
    CHECK_EQ(srm_cc_pacing_rate(&f.cc), window * 7 / 10 * 5 / 4 * 20); /* 1.25 windows a round trip */
}

TEST(one_loss_event_counts_once) {
    fed f = fed_new(50 * MS);
    ack_round(&f, 10 * PACKET, 1);
    lose(&f, PACKET);
    uint64_t window = srm_cc_window(&f.cc);
    f.now += 10 * MS; /* sent before the reaction, found lost after it */
    lose(&f, 5 * PACKET);
    CHECK_EQ(srm_cc_window(&f.cc), window);
    f.now += 100 * MS;
    lose(&f, PACKET);
    CHECK(srm_cc_window(&f.cc) < window);
}

TEST(acks_of_the_time_before_the_loss_add_nothing) {
    fed f = fed_new(50 * MS);
    ack_round(&f, 10 * PACKET, 1);
    lose(&f, PACKET);
    uint64_t window = srm_cc_window(&f.cc);
    srm_cc_on_sent(&f.cc, f.now, PACKET, window);
    f.now += 20 * MS;
    srm_cc_sample sample = sample_of(&f, window, 0);
    srm_cc_on_sample(&f.cc, &sample);
    CHECK_EQ(srm_cc_window(&f.cc), window);
}

/* RFC 9438 section 4.2: W(t) = 0.4 (t - K)^3 + W_max packets, K = cbrt((W_max - W_0) / 0.4). */
TEST(the_window_follows_the_curve) {
    fed f = fed_new(100 * MS);
    for (int i = 0; i < 7; i++)
        ack_round(&f, srm_cc_window(&f.cc), 1);
    double w_max = (double)srm_cc_window(&f.cc) / (double)PACKET, k = cbrt(w_max * 0.3 / 0.4);
    lose(&f, PACKET);
    f.now += 100 * MS;
    ack_round(&f, srm_cc_window(&f.cc), 20); /* the epoch begins with its first ACK, 5 ms in */
    for (int i = 0; i < 120; i++) {
        ack_round(&f, srm_cc_window(&f.cc), 20);
        double t = 0.1 * (i + 1) + 0.095 + 0.1 - k, want = 0.4 * t * t * t + w_max;
        double have = (double)srm_cc_window(&f.cc) / (double)PACKET;
        CHECK(fabs(have / want - 1) < 0.02);
    }
}

TEST(on_short_paths_it_is_never_slower_than_reno) {
    fed f = fed_new(5 * MS);
    for (int i = 0; i < 3; i++)
        ack_round(&f, srm_cc_window(&f.cc), 1);
    lose(&f, PACKET);
    double start = (double)srm_cc_window(&f.cc);
    f.now += 10 * MS;
    for (int i = 0; i < 100; i++)
        ack_round(&f, srm_cc_window(&f.cc), 4);
    double grown = ((double)srm_cc_window(&f.cc) - start) / (double)PACKET;
    CHECK(grown > 0.52 * 95 && grown < 1.1 * 100); /* 0.53 packets a round at first, then 1 */
}

TEST(a_shrinking_flow_makes_room) {
    fed f = fed_new(50 * MS);
    for (int i = 0; i < 5; i++)
        ack_round(&f, srm_cc_window(&f.cc), 1);
    lose(&f, PACKET);
    double first = f.cc.cubic.curve.w_max;
    f.now += 200 * MS;
    uint64_t window = srm_cc_window(&f.cc);
    lose(&f, PACKET);
    CHECK((double)window < first);
    CHECK(fabs(f.cc.cubic.curve.w_max - (double)window * 0.85) < 1);
}

TEST(the_window_has_a_floor) {
    fed f = fed_new(50 * MS);
    for (int i = 0; i < 50; i++) {
        f.now += 200 * MS;
        lose(&f, PACKET);
    }
    CHECK_EQ(srm_cc_window(&f.cc), 2 * PACKET);
}

TEST(persistent_congestion_leaves_two_packets_and_slow_start) {
    fed f = fed_new(50 * MS);
    for (int i = 0; i < 5; i++)
        ack_round(&f, srm_cc_window(&f.cc), 1);
    uint64_t half = srm_cc_window(&f.cc) * 7 / 10;
    f.now += 3 * SRM_SECOND;
    srm_cc_sample sample = sample_of(&f, 0, 10 * PACKET);
    sample.persistent_congestion = true;
    srm_cc_on_sample(&f.cc, &sample);
    CHECK_EQ(srm_cc_window(&f.cc), 2 * PACKET);
    f.now += 100 * MS;
    for (uint64_t window = 2 * PACKET; window * 2 < half; window *= 2) {
        ack_round(&f, window, 1);
        CHECK_EQ(srm_cc_window(&f.cc), 2 * window);
    }
}

TEST(a_ce_mark_counts_like_a_loss) {
    fed f = fed_new(50 * MS);
    ack_round(&f, 10 * PACKET, 1);
    uint64_t window = srm_cc_window(&f.cc);
    f.now += 100 * MS;
    srm_cc_sample sample = sample_of(&f, PACKET, 0);
    sample.ecn_ce = 1;
    srm_cc_on_sample(&f.cc, &sample);
    CHECK_EQ(srm_cc_window(&f.cc), window * 7 / 10);
    srm_cc_on_spurious_loss(&f.cc, f.now, PACKET); /* there was none */
    CHECK_EQ(srm_cc_window(&f.cc), window * 7 / 10);
}

TEST(a_spurious_loss_is_taken_back) {
    fed f = fed_new(50 * MS);
    for (int i = 0; i < 5; i++)
        ack_round(&f, srm_cc_window(&f.cc), 1);
    srm_cubic_curve before = f.cc.cubic.curve;
    lose(&f, 3 * PACKET);
    srm_cc_on_spurious_loss(&f.cc, f.now, 3 * PACKET);
    CHECK_EQ(srm_cc_window(&f.cc), before.window);
    CHECK_EQ(f.cc.cubic.curve.threshold, before.threshold);
    ack_round(&f, srm_cc_window(&f.cc), 1);
    CHECK_EQ(srm_cc_window(&f.cc), 2 * before.window); /* slow start goes on */
    srm_cc_on_spurious_loss(&f.cc, f.now, 3 * PACKET); /* only once */
    CHECK_EQ(srm_cc_window(&f.cc), 2 * before.window);
}

TEST(an_undo_never_shrinks_the_window) {
    fed f = fed_new(50 * MS);
    ack_round(&f, 10 * PACKET, 1);
    uint64_t before = srm_cc_window(&f.cc);
    lose(&f, PACKET);
    f.now += 100 * MS;
    for (int i = 0; i < 300; i++)
        ack_round(&f, srm_cc_window(&f.cc), 1);
    uint64_t grown = srm_cc_window(&f.cc);
    CHECK(grown > before);
    srm_cc_on_spurious_loss(&f.cc, f.now, PACKET);
    CHECK_EQ(srm_cc_window(&f.cc), grown);
}

TEST(a_window_that_is_not_used_does_not_grow) {
    fed f = fed_new(50 * MS);
    for (int i = 0; i < 20; i++) {
        srm_cc_on_sent(&f.cc, f.now, PACKET, 3 * PACKET);
        f.now += 50 * MS;
        srm_cc_sample sample = sample_of(&f, 3 * PACKET, 0);
        srm_cc_on_sample(&f.cc, &sample);
    }
    CHECK_EQ(srm_cc_window(&f.cc), 10 * PACKET);
}

TEST(idle_time_is_not_on_the_curve) {
    fed f = fed_new(50 * MS);
    for (int i = 0; i < 5; i++)
        ack_round(&f, srm_cc_window(&f.cc), 1);
    lose(&f, PACKET);
    f.now += 100 * MS;
    for (int i = 0; i < 5; i++)
        ack_round(&f, srm_cc_window(&f.cc), 4);
    fed busy = f;
    f.now += 60 * SRM_SECOND;
    srm_cc_on_idle_restart(&f.cc, f.now);
    for (int i = 0; i < 5; i++) {
        ack_round(&busy, srm_cc_window(&busy.cc), 4);
        ack_round(&f, srm_cc_window(&f.cc), 4);
    }
    double ratio = (double)srm_cc_window(&f.cc) / (double)srm_cc_window(&busy.cc);
    CHECK(ratio > 0.97 && ratio < 1.01);
}

static void ack_with_rtt(fed *f, srm_time rtt, int count) {
    uint64_t window = srm_cc_window(&f->cc);
    f->rtt = rtt;
    srm_cc_on_sent(&f->cc, f->now, PACKET, window);
    f->now += rtt;
    f->round = f->delivered;
    for (int i = 0; i < count; i++) {
        srm_cc_sample sample = sample_of(f, window / (uint64_t)count, 0);
        srm_cc_on_sample(&f->cc, &sample);
    }
}

/* RFC 9406 section 4.2: the RTT rose by an eighth, eight samples say so: a quarter of the growth, for five
 * rounds, then no slow start any more. */
TEST(slow_start_ends_before_the_queue_is_full) {
    fed f = fed_new(64 * MS);
    ack_with_rtt(&f, 64 * MS, 10);
    ack_with_rtt(&f, 64 * MS, 10);
    CHECK(!f.cc.cubic.curve.conservative);
    ack_with_rtt(&f, 73 * MS, 10);
    CHECK(f.cc.cubic.curve.conservative);
    uint64_t window = srm_cc_window(&f.cc);
    ack_with_rtt(&f, 73 * MS, 10);
    CHECK(srm_cc_window(&f.cc) <= window + window / 4 + PACKET);
    for (int i = 0; i < 5; i++)
        ack_with_rtt(&f, 73 * MS, 10);
    CHECK(f.cc.cubic.curve.threshold <= srm_cc_window(&f.cc));
}

TEST(a_passing_delay_does_not_end_slow_start) {
    fed f = fed_new(64 * MS);
    ack_with_rtt(&f, 64 * MS, 10);
    ack_with_rtt(&f, 73 * MS, 10);
    CHECK(f.cc.cubic.curve.conservative);
    ack_with_rtt(&f, 66 * MS, 10);
    ack_with_rtt(&f, 66 * MS, 10);
    CHECK(!f.cc.cubic.curve.conservative);
    CHECK_EQ(f.cc.cubic.curve.threshold, UINT64_MAX);
}

/* ---- on the modelled network ---- */

TEST(alone_it_fills_the_path) {
    model *m = model_new(100 * MBIT, 50 * MS, 1, 1);
    model_add(m, SRM_CC_CUBIC, 0, SRM_TIME_NEVER);
    model_run(m, 3 * SRM_SECOND);
    model_mark(m);
    model_run(m, 13 * SRM_SECOND);
    CHECK(model_share(m, 0) > 0.97);
    CHECK(model_waste(m, 0) < 0.005);
    model_free(m);
}

TEST(hystart_stops_before_a_deep_queue_overflows) {
    model *m = model_new(100 * MBIT, 50 * MS, 12, 1);
    model_flow *f = model_add(m, SRM_CC_CUBIC, 0, SRM_TIME_NEVER);
    model_run(m, 3 * SRM_SECOND);
    CHECK_EQ(f->dropped, 0);
    CHECK(srm_cc_window(&f->cc) >= f->cc.cubic.curve.threshold);
    CHECK(model_share(m, 0) > 0.8);
    model_free(m);
}

TEST(two_flows_share) {
    model *m = model_new(100 * MBIT, 20 * MS, 1, 1);
    model_add(m, SRM_CC_CUBIC, 0, SRM_TIME_NEVER);
    model_add(m, SRM_CC_CUBIC, 2 * SRM_SECOND, SRM_TIME_NEVER);
    model_run(m, 10 * SRM_SECOND);
    model_mark(m);
    model_run(m, 40 * SRM_SECOND);
    CHECK(model_share(m, 0) + model_share(m, 1) > 0.97);
    CHECK(model_share(m, 0) > 0.25 && model_share(m, 1) > 0.25);
    model_free(m);
}

TEST(a_narrower_path_is_noticed) {
    model *m = model_new(100 * MBIT, 50 * MS, 1, 1);
    model_flow *f = model_add(m, SRM_CC_CUBIC, 0, SRM_TIME_NEVER);
    model_run(m, 5 * SRM_SECOND);
    m->rate = 20 * MBIT;
    model_run(m, 7 * SRM_SECOND);
    model_mark(m);
    model_run(m, 12 * SRM_SECOND);
    CHECK(model_share(m, 0) > 0.95 && model_waste(m, 0) < 0.03);
    CHECK((double)srm_cc_window(&f->cc) < 1.1 * (model_bdp(m) + (double)m->queue));
    model_free(m);
}

TEST(a_late_packet_costs_no_window) {
    model *m = model_new(100 * MBIT, 50 * MS, 4, 1);
    model_flow *f = model_add(m, SRM_CC_CUBIC, 0, SRM_TIME_NEVER);
    model_run(m, 300 * MS);
    uint64_t window = srm_cc_window(&f->cc);
    f->hold = 30 * MS;
    model_run(m, 500 * MS);
    CHECK_EQ(f->undone, 1);
    CHECK_EQ(f->dropped, 0);
    CHECK(srm_cc_window(&f->cc) >= window);
    model_free(m);
}

TEST(a_busy_machine_keeps_its_speed) {
    model *m = model_new(8000 * MBIT, 50 * SRM_MICROSECOND, 200, 1);
    model_add(m, SRM_CC_CUBIC, 0, SRM_TIME_NEVER);
    m->sched = MS;
    model_run(m, 100 * MS);
    model_mark(m);
    model_run(m, 400 * MS);
    CHECK(model_share(m, 0) > 0.9);
    model_free(m);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
