#include "cc_model.h"

#define US SRM_MICROSECOND

static const srm_bbr *bbr_of(const model_flow *f) {
    return &f->cc.bbr;
}

/* One BBR flow with endless data. */
static model *path(double rate, srm_time rtt, double bdps, uint64_t seed) {
    model *m = model_new(rate, rtt, bdps, seed);
    model_add(m, SRM_CC_BBR, 0, SRM_TIME_NEVER);
    return m;
}

/* Runs until the first flow is in `state`, at most until `limit`; looks each millisecond. */
static bool run_to(model *m, srm_bbr_state state, srm_time limit) {
    while (bbr_of(&m->flow[0])->state != state && m->now < limit)
        model_run(m, m->now + MS);
    return bbr_of(&m->flow[0])->state == state;
}

/* Share of the path in the seconds from 2 to 12. */
static double settled_share(model *m) {
    model_run(m, 2 * SRM_SECOND);
    model_mark(m);
    model_run(m, 12 * SRM_SECOND);
    return model_share(m, 0);
}

/* ---- the life of a flow ---- */

TEST(it_starts_with_ten_packets) {
    srm_cc cc;
    srm_cc_init(&cc, SRM_CC_BBR, 0);
    CHECK_EQ(srm_cc_window(&cc), 10 * SRM_CC_PACKET);
    CHECK(srm_cc_pacing_rate(&cc) > 0 && srm_cc_send_quantum(&cc) >= 2 * SRM_CC_PACKET);
    CHECK_EQ(strcmp(cc.table->name, "bbr"), 0);
}

TEST(startup_finds_the_bandwidth_and_drains_its_queue) {
    model *m = path(100 * MBIT, 50 * MS, 2, 1);
    CHECK(run_to(m, SRM_BBR_DRAIN, 2 * SRM_SECOND));
    const srm_bbr *b = bbr_of(&m->flow[0]);
    double bw = (double)srm_bbr_model_max_bw(&b->model) / m->rate;
    CHECK(bw > 0.98 && bw < 1.02);
    CHECK(m->now < 800 * MS); /* about log2(425 packets / 10) doublings and three rounds to be sure */
    CHECK(run_to(m, SRM_BBR_CRUISE, m->now + 400 * MS));
    CHECK(m->free_at - m->now < 5 * MS);
    model_free(m);
}

TEST(cruising_neither_queues_nor_starves) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    CHECK(settled_share(m) > 0.96);
    CHECK(model_delay(m, 0.5) < 5 * MS);
    CHECK(model_waste(m, 0) < 0.002);
    model_free(m);
}

TEST(the_four_states_of_probing_take_turns) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    CHECK(run_to(m, SRM_BBR_CRUISE, 2 * SRM_SECOND));
    srm_time start = m->now;
    CHECK(run_to(m, SRM_BBR_REFILL, start + 4 * SRM_SECOND));
    CHECK(m->now - start >= SRM_SECOND); /* 2 to 3 s after the probe, or 63 rounds */
    CHECK(run_to(m, SRM_BBR_UP, m->now + 200 * MS));
    CHECK(run_to(m, SRM_BBR_DOWN, m->now + 500 * MS));
    CHECK(run_to(m, SRM_BBR_CRUISE, m->now + 500 * MS));
    model_free(m);
}

/* A probe that finds no more bandwidth costs others a quarter of an RTT, and not the whole queue. */
TEST(a_probe_on_an_empty_path_is_gentle) {
    model *m = path(100 * MBIT, 50 * MS, 2, 1);
    model_run(m, 4 * SRM_SECOND);
    model_mark(m);
    CHECK(run_to(m, SRM_BBR_UP, 8 * SRM_SECOND));
    CHECK(bbr_of(&m->flow[0])->up_rtt >= 50 * MS);
    CHECK(run_to(m, SRM_BBR_DOWN, m->now + 150 * MS)); /* after the first answers */
    model_run(m, 16 * SRM_SECOND);
    CHECK(model_delay(m, 0.999) < 22 * MS);
    CHECK(model_share(m, 0) > 0.95);
    model_free(m);
}

TEST(a_probe_in_others_queue_pushes_until_it_is_full) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    model_add(m, SRM_CC_CUBIC, 0, SRM_TIME_NEVER);
    model_run(m, 8 * SRM_SECOND);
    srm_time end = m->now + 12 * SRM_SECOND;
    unsigned pushes = 0;
    while (run_to(m, SRM_BBR_UP, end) && m->now < end) {
        pushes += bbr_of(&m->flow[0])->up_rtt == 0;
        model_run(m, m->now + SRM_SECOND);
    }
    CHECK(pushes > 0);
    CHECK(bbr_of(&m->flow[0])->model.full_rtt > 80 * MS);
    model_free(m);
}

TEST(more_bandwidth_is_found) {
    model *m = path(20 * MBIT, 40 * MS, 2, 1);
    model_run(m, 3 * SRM_SECOND);
    m->rate = 80 * MBIT;
    m->queue *= 4;
    model_run(m, 10 * SRM_SECOND);
    model_mark(m);
    model_run(m, 15 * SRM_SECOND);
    CHECK(model_share(m, 0) > 0.85);
    model_free(m);
}

/* Delays that look like a queue keep the path's own loss from being learned: each probe ends with the first
 * loss of its own, and finds a quarter more all the same. */
TEST(more_bandwidth_is_found_under_delay_and_loss) {
    model *m = path(20 * MBIT, 40 * MS, 2, 1);
    m->sched = 5 * MS;
    m->loss_after = 0.02;
    model_run(m, 4 * SRM_SECOND);
    m->rate = 80 * MBIT;
    m->queue *= 4;
    model_run(m, 30 * SRM_SECOND);
    model_mark(m);
    model_run(m, 35 * SRM_SECOND);
    CHECK(model_share(m, 0) > 0.7);
    model_free(m);
}

TEST(less_bandwidth_is_noticed) {
    model *m = path(80 * MBIT, 40 * MS, 1, 1);
    model_run(m, 3 * SRM_SECOND);
    m->rate = 20 * MBIT;
    m->queue /= 4;
    model_run(m, 8 * SRM_SECOND);
    model_mark(m);
    model_run(m, 14 * SRM_SECOND);
    CHECK(model_share(m, 0) > 0.9);
    CHECK(model_waste(m, 0) < 0.03);
    CHECK(model_delay(m, 0.5) < 30 * MS);
    model_free(m);
}

/* A flow on a path whose other direction became 10 ms longer: the RTT it knows doesn't come again. */
static model *in_probe_rtt(void) {
    model *m = path(50 * MBIT, 20 * MS, 4, 1);
    model_run(m, 2 * SRM_SECOND);
    m->delay = 15 * MS;
    CHECK(run_to(m, SRM_BBR_PROBE_RTT, 9 * SRM_SECOND));
    CHECK(m->now > 5 * SRM_SECOND); /* as long since a packet took the old way */
    return m;
}

TEST(probe_rtt_drains_the_path) {
    model *m = in_probe_rtt();
    srm_time start = m->now;
    double before = (double)srm_cc_window(&m->flow[0].cc);
    model_run(m, start + 100 * MS);
    CHECK((double)m->flow[0].sent.in_flight < 0.55 * model_bdp(m)); /* half of what was the BDP */
    CHECK(m->free_at - m->now < 2 * MS);
    CHECK(run_to(m, SRM_BBR_CRUISE, start + 400 * MS));
    CHECK(m->now - start >= 200 * MS);
    CHECK((double)srm_cc_window(&m->flow[0].cc) > 0.8 * before);
    model_free(m);
}

TEST(a_longer_path_is_known_after_ten_seconds) {
    model *m = in_probe_rtt();
    const srm_bbr *b = bbr_of(&m->flow[0]);
    CHECK(b->model.min_rtt < 21 * MS);
    model_run(m, 13 * SRM_SECOND);
    CHECK(b->model.min_rtt >= 30 * MS && b->model.min_rtt < 33 * MS);
    model_mark(m);
    model_run(m, 18 * SRM_SECOND);
    CHECK(model_share(m, 0) > 0.95);
    model_free(m);
}

TEST(an_empty_path_needs_no_probe_rtt) {
    model *m = path(50 * MBIT, 20 * MS, 4, 1);
    CHECK(!run_to(m, SRM_BBR_PROBE_RTT, 30 * SRM_SECOND));
    CHECK(bbr_of(&m->flow[0])->model.min_rtt < 21 * MS);
    model_free(m);
}

TEST(a_standing_queue_is_drained_now_and_then) {
    model *m = path(50 * MBIT, 20 * MS, 8, 1);
    model_add(m, SRM_CC_CUBIC, 2 * SRM_SECOND, SRM_TIME_NEVER); /* never lets it */
    CHECK(run_to(m, SRM_BBR_PROBE_RTT, 10 * SRM_SECOND));
    model_free(m);
}

/* ---- loss that is not congestion ---- */

typedef struct goal {
    double loss;
    double share; /* of what can arrive at best */
} goal;

static const goal goals[] = {{0, 0.955}, {0.01, 0.955}, {0.05, 0.95}, {0.10, 0.94}};

TEST(random_loss_before_the_bottleneck_costs_little) {
    for (size_t i = 0; i < SRM_COUNT_OF(goals); i++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            model *m = path(100 * MBIT, 50 * MS, 1, seed);
            m->loss_before = m->loss_back = goals[i].loss;
            CHECK(settled_share(m) > goals[i].share);
            CHECK(model_delay(m, 0.5) < 20 * MS);
            model_free(m);
        }
}

TEST(random_loss_behind_the_bottleneck_costs_little) {
    for (size_t i = 0; i < SRM_COUNT_OF(goals); i++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            model *m = path(100 * MBIT, 50 * MS, 1, seed);
            m->loss_after = m->loss_back = goals[i].loss;
            CHECK(settled_share(m) > goals[i].share * (1 - goals[i].loss));
            CHECK(model_delay(m, 0.5) < 20 * MS);
            model_free(m);
        }
}

TEST(random_loss_on_a_thin_line) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
        model *m = path(5 * MBIT, 30 * MS, 1, seed);
        m->loss_after = m->loss_back = 0.05;
        CHECK(settled_share(m) > 0.8);
        model_free(m);
    }
}

TEST(the_learned_loss_rate_is_that_of_the_path) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    m->loss_before = 0.05;
    model_run(m, 6 * SRM_SECOND);
    double rate = srm_bbr_model_random_loss(&bbr_of(&m->flow[0])->model);
    CHECK(rate > 0.03 && rate < 0.07);
    m->loss_before = 0;
    model_run(m, 12 * SRM_SECOND);
    CHECK(srm_bbr_model_random_loss(&bbr_of(&m->flow[0])->model) < 0.005);
    model_free(m);
}

TEST(jitter_and_loss_are_no_queue) {
    model *m = path(100 * MBIT, 10 * MS, 1, 1);
    m->sched = 5 * MS;
    m->loss_after = m->loss_back = 0.05;
    CHECK(settled_share(m) > 0.75);
    model_free(m);
}

/* ---- loss that is ---- */

TEST(a_shallow_queue_is_not_overrun) {
    model *m = path(100 * MBIT, 50 * MS, 0.1, 1);
    CHECK(settled_share(m) > 0.9);
    CHECK(model_waste(m, 0) < 0.02);
    model_free(m);
}

TEST(cruising_leaves_room_below_what_was_too_much) {
    model *m = path(100 * MBIT, 50 * MS, 0.1, 1);
    model_run(m, 2 * SRM_SECOND);
    CHECK(run_to(m, SRM_BBR_CRUISE, 4 * SRM_SECOND));
    model_run(m, m->now + 100 * MS);
    const srm_bbr *b = bbr_of(&m->flow[0]);
    CHECK_EQ(b->state, SRM_BBR_CRUISE);
    CHECK(b->inflight_long != SRM_BBR_NO_BOUND);
    CHECK((double)srm_cc_window(&m->flow[0].cc) < 0.851 * (double)b->inflight_long);
    model_free(m);
}

TEST(startup_ends_by_loss_in_a_shallow_queue) {
    model *m = path(100 * MBIT, 50 * MS, 0.1, 1);
    CHECK(run_to(m, SRM_BBR_DRAIN, 2 * SRM_SECOND));
    CHECK(bbr_of(&m->flow[0])->inflight_long != SRM_BBR_NO_BOUND);
    CHECK((double)bbr_of(&m->flow[0])->inflight_long < 2.2 * model_bdp(m));
    model_free(m);
}

/* No queue at all, and what is above the rate is thrown away: the RTT never tells. */
TEST(a_policer_is_obeyed) {
    model *m = path(100 * MBIT, 50 * MS, 0, 1);
    m->queue = 20 * MODEL_PACKET;
    CHECK(settled_share(m) > 0.85);
    CHECK(model_waste(m, 0) < 0.03);
    model_free(m);
}

TEST(a_drop_to_a_tenth_does_not_drown) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    model_run(m, 3 * SRM_SECOND);
    m->rate /= 10;
    m->queue /= 10;
    model_run(m, 6 * SRM_SECOND);
    model_mark(m);
    model_run(m, 14 * SRM_SECOND);
    CHECK(model_share(m, 0) > 0.9);
    CHECK(model_waste(m, 0) < 0.05);
    model_free(m);
}

/* Queue delay below which 9 of 10 packets of two flows stay, with marks above 5 ms or without. */
static srm_time delay_of_two(bool ecn) {
    model *m = path(100 * MBIT, 50 * MS, 4, 1);
    model_add(m, SRM_CC_BBR, 300 * MS, SRM_TIME_NEVER);
    m->mark_above = (uint64_t)(model_bdp(m) / 10);
    m->flow[0].ecn = m->flow[1].ecn = ecn;
    model_run(m, 3 * SRM_SECOND);
    model_mark(m);
    model_run(m, 13 * SRM_SECOND);
    CHECK(model_share(m, 0) + model_share(m, 1) > 0.9);
    srm_time delay = model_delay(m, 0.9);
    model_free(m);
    return delay;
}

TEST(ce_marks_keep_the_queue_short) {
    srm_time with = delay_of_two(true), without = delay_of_two(false);
    CHECK(2 * with < without);
}

/* ---- together with others ---- */

TEST(two_flows_share) {
    for (int i = 0; i < 3; i++) {
        model *m = path(100 * MBIT, 20 * MS, i == 0 ? 0.5 : i == 1 ? 1 : 4, 1);
        model_add(m, SRM_CC_BBR, 700 * MS, SRM_TIME_NEVER);
        model_run(m, 15 * SRM_SECOND);
        model_mark(m);
        model_run(m, 45 * SRM_SECOND);
        CHECK(model_share(m, 0) + model_share(m, 1) > 0.95);
        CHECK(model_share(m, 0) > 0.35 && model_share(m, 1) > 0.35);
        CHECK(model_waste(m, 0) < 0.03 && model_waste(m, 1) < 0.03);
        model_free(m);
    }
}

/* The last one has never seen the path without a queue. */
TEST(latecomers_neither_starve_nor_take_all) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    for (int i = 1; i < 4; i++)
        model_add(m, SRM_CC_BBR, i * SRM_SECOND, SRM_TIME_NEVER);
    model_run(m, 15 * SRM_SECOND);
    model_mark(m);
    model_run(m, 45 * SRM_SECOND);
    for (int i = 0; i < 4; i++) {
        CHECK(model_share(m, i) > 0.12 && model_share(m, i) < 0.45);
        CHECK(model_waste(m, i) < 0.03);
    }
    model_free(m);
}

/* BBR's share of what both get; CUBIC joins `later` than BBR, or BBR later than CUBIC if that is negative. */
static double share_beside_cubic(double queue, srm_time later) {
    model *m = model_new(100 * MBIT, 40 * MS, queue, 1);
    model_add(m, SRM_CC_BBR, later < 0 ? -later : 0, SRM_TIME_NEVER);
    model_add(m, SRM_CC_CUBIC, later > 0 ? later : 0, SRM_TIME_NEVER);
    model_run(m, 12 * SRM_SECOND);
    model_mark(m);
    model_run(m, 52 * SRM_SECOND);
    double ours = model_share(m, 0), both = ours + model_share(m, 1);
    CHECK(both > 0.93);
    model_free(m);
    return ours / both;
}

TEST(beside_cubic_both_live) {
    static const double queues[] = {0.5, 1, 2, 4};
    for (size_t i = 0; i < SRM_COUNT_OF(queues); i++)
        for (int later = -1; later <= 1; later++) {
            double share = share_beside_cubic(queues[i], later * 3 * SRM_SECOND);
            CHECK(share > 0.25 && share < (queues[i] < 1 ? 0.8 : 0.75));
        }
}

/* ---- applications that pause ---- */

TEST(a_slow_application_inflates_nothing) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    m->flow[0].app_rate = 5 * MBIT;
    model_run(m, 10 * SRM_SECOND);
    const srm_bbr *b = bbr_of(&m->flow[0]);
    CHECK(model_share(m, 0) > 0.047 && model_share(m, 0) < 0.051);
    CHECK((double)srm_bbr_model_max_bw(&b->model) < 30 * MBIT);
    CHECK_EQ(b->state, SRM_BBR_STARTUP); /* the path's end was never seen */
    CHECK_EQ(m->flow[0].dropped, 0);
    CHECK(model_delay(m, 0.95) < 5 * MS);
    model_free(m);
}

TEST(a_slow_application_does_not_lower_the_estimate) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    model_flow *f = &m->flow[0];
    model_run(m, 3 * SRM_SECOND);
    f->app_rate = 2 * MBIT;
    f->app_given = f->app_rate * 3;
    model_run(m, 8 * SRM_SECOND);
    CHECK((double)srm_bbr_model_max_bw(&bbr_of(f)->model) > 0.9 * m->rate);
    model_free(m);
}

TEST(after_a_pause_it_goes_on_at_the_old_rate) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    model_flow *f = &m->flow[0];
    f->stop = 3 * SRM_SECOND;
    model_run(m, 20 * SRM_SECOND);
    CHECK_EQ(f->sent.in_flight, 0);
    f->start = m->now;
    f->stop = SRM_TIME_NEVER;
    model_mark(m);
    model_run(m, m->now + MS);
    CHECK((double)srm_cc_pacing_rate(&f->cc) < 1.01 * m->rate); /* no faster than the path */
    model_run(m, m->since + 50 * MS);
    CHECK(bbr_of(f)->state != SRM_BBR_PROBE_RTT); /* the pause drained the path well enough */
    CHECK(model_delay(m, 0.95) < 8 * MS);         /* the burst of a late timer */
    model_run(m, m->since + SRM_SECOND);
    CHECK(model_share(m, 0) > 0.9);
    model_free(m);
}

TEST(a_pause_in_probe_rtt_ends_it) {
    model *m = in_probe_rtt();
    model_run(m, m->now + 50 * MS);
    m->flow[0].stop = m->now;
    model_run(m, m->now + SRM_SECOND);
    CHECK_EQ(bbr_of(&m->flow[0])->state, SRM_BBR_PROBE_RTT);
    m->flow[0].start = m->now;
    m->flow[0].stop = SRM_TIME_NEVER;
    model_run(m, m->now + MS);
    CHECK(bbr_of(&m->flow[0])->state != SRM_BBR_PROBE_RTT);
    model_free(m);
}

/* ---- mistakes taken back ---- */

TEST(an_outage_is_survived) {
    model *m = path(50 * MBIT, 30 * MS, 1, 1);
    model_run(m, 3 * SRM_SECOND);
    m->loss_before = 1;
    model_run(m, 8 * SRM_SECOND);
    m->loss_before = 0;
    model_run(m, 10 * SRM_SECOND); /* the probe timer asks every 2 s */
    model_mark(m);
    model_run(m, 14 * SRM_SECOND);
    CHECK(model_share(m, 0) > 0.9);
    model_free(m);
}

TEST(persistent_congestion_empties_the_window) {
    model *m = path(50 * MBIT, 30 * MS, 1, 1);
    model_flow *f = &m->flow[0];
    model_run(m, 3 * SRM_SECOND);
    uint64_t window = srm_cc_window(&f->cc);
    srm_cc_sample sample = {.now = m->now,
                            .lost_bytes = 20 * MODEL_PACKET,
                            .lost = f->flight.lost + 20 * MODEL_PACKET,
                            .delivered = f->flight.delivered,
                            .in_flight = f->sent.in_flight,
                            .persistent_congestion = true};
    srm_cc_on_sample(&f->cc, &sample);
    CHECK_EQ(srm_cc_window(&f->cc), 4 * SRM_CC_PACKET);
    model_run(m, m->now + SRM_SECOND);
    CHECK(srm_cc_window(&f->cc) > window / 2);
    model_free(m);
}

TEST(a_spurious_loss_changes_nothing) {
    model *m = path(100 * MBIT, 50 * MS, 4, 1);
    model_flow *f = &m->flow[0];
    model_run(m, 300 * MS);
    CHECK_EQ(bbr_of(f)->state, SRM_BBR_STARTUP);
    f->hold = 30 * MS;
    model_run(m, 500 * MS);
    CHECK_EQ(f->undone, 1);
    CHECK_EQ(bbr_of(f)->inflight_long, SRM_BBR_NO_BOUND);
    CHECK_EQ(bbr_of(f)->bw_short, SRM_BBR_NO_BOUND);
    model_run(m, 2 * SRM_SECOND);
    model_mark(m);
    model_run(m, 4 * SRM_SECOND);
    CHECK(model_share(m, 0) > 0.95);
    model_free(m);
}

TEST(a_spurious_loss_lifts_the_short_term_bounds) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    model_flow *f = &m->flow[0];
    CHECK(run_to(m, SRM_BBR_CRUISE, 2 * SRM_SECOND));
    m->rate /= 4;
    m->queue /= 4;
    while (bbr_of(f)->bw_short == SRM_BBR_NO_BOUND && m->now < 4 * SRM_SECOND)
        model_run(m, m->now + MS);
    CHECK(bbr_of(f)->bw_short != SRM_BBR_NO_BOUND);
    uint64_t window = srm_cc_window(&f->cc);
    srm_cc_on_spurious_loss(&f->cc, m->now, 10 * MODEL_PACKET);
    CHECK_EQ(bbr_of(f)->bw_short, SRM_BBR_NO_BOUND);
    CHECK_EQ(bbr_of(f)->inflight_short, SRM_BBR_NO_BOUND);
    CHECK(srm_cc_window(&f->cc) > window);
    model_free(m);
}

TEST(a_startup_ended_by_a_spurious_loss_goes_on) {
    model *m = path(100 * MBIT, 50 * MS, 1, 1);
    model_flow *f = &m->flow[0];
    CHECK(run_to(m, SRM_BBR_DRAIN, 2 * SRM_SECOND));
    CHECK_EQ(bbr_of(f)->undo.state, SRM_BBR_STARTUP);
    uint64_t window = srm_cc_window(&f->cc);
    srm_cc_on_spurious_loss(&f->cc, m->now, 10 * MODEL_PACKET);
    CHECK_EQ(bbr_of(f)->state, SRM_BBR_STARTUP);
    CHECK_EQ(bbr_of(f)->inflight_long, SRM_BBR_NO_BOUND);
    CHECK(srm_cc_window(&f->cc) >= window);
    model_free(m);
}

/* ---- other scales ---- */

TEST(long_fat_path) {
    model *m = path(500 * MBIT, 200 * MS, 1, 1);
    model_run(m, 5 * SRM_SECOND);
    model_mark(m);
    model_run(m, 9 * SRM_SECOND);
    CHECK(model_share(m, 0) > 0.9);
    model_free(m);
}

TEST(a_short_queue_on_a_short_path_is_not_overrun) {
    static const double rates[] = {1, 10, 100};
    for (size_t i = 0; i < SRM_COUNT_OF(rates); i++) {
        model *m = path(rates[i] * MBIT, i == 0 ? 10 * MS : MS, 1, 1); /* 1, 1 and 9 packets */
        CHECK(settled_share(m) > 0.85);
        model_free(m);
    }
}

TEST(a_burst_is_a_quarter_of_the_rtt) {
    static const struct {
        srm_time rtt, burst;
    } paths[] = {{50 * US, MS}, {499 * US, MS}, {600 * US, 250 * US}, {2 * MS, 500 * US}, {9 * MS, MS}};
    for (size_t i = 0; i < SRM_COUNT_OF(paths); i++) {
        srm_cc cc;
        srm_cc_init(&cc, SRM_CC_BBR, 0);
        for (int ack = 1; ack <= 40; ack++) {
            srm_cc_sample sample = {.now = ack * paths[i].rtt,
                                    .acked_bytes = 10 * SRM_CC_PACKET,
                                    .delivered = (uint64_t)ack * 10 * SRM_CC_PACKET,
                                    .rtt = paths[i].rtt,
                                    .rtt_min = paths[i].rtt,
                                    .rtt_smoothed = paths[i].rtt,
                                    .rate_valid = true,
                                    .rate = 10000000,
                                    .rate_prior_delivered = (uint64_t)(ack - 1) * 10 * SRM_CC_PACKET};
            srm_cc_on_sample(&cc, &sample);
        }
        uint64_t burst = srm_cc_bytes_of(srm_cc_pacing_rate(&cc), paths[i].burst);
        CHECK_EQ(srm_cc_send_quantum(&cc), srm_u64_max(burst, SRM_CC_PACKET));
    }
}

TEST(a_modem) {
    model *m = path(0.25 * MBIT, 100 * MS, 10, 1);
    CHECK(settled_share(m) > 0.9);
    CHECK(model_delay(m, 0.95) < 600 * MS); /* four packets are 190 ms */
    model_free(m);
}

TEST(within_one_machine_scheduling_does_not_starve_the_pipe) {
    static const srm_time lateness[] = {0, 200 * SRM_MICROSECOND, MS, 3 * MS};
    for (size_t i = 0; i < SRM_COUNT_OF(lateness); i++) {
        model *m = path(8000 * MBIT, 50 * US, 200, 1);
        m->sched = lateness[i];
        model_run(m, 100 * MS);
        model_mark(m);
        model_run(m, 400 * MS);
        CHECK(model_share(m, 0) > 0.9);
        CHECK_EQ(srm_cc_send_quantum(&m->flow[0].cc), SRM_CC_QUANTUM_MAX);
        model_free(m);
    }
}

TEST(within_one_machine_probe_rtt_is_not_felt) {
    model *m = path(2000 * MBIT, 50 * US, 200, 1);
    m->sched = 200 * US;
    CHECK(run_to(m, SRM_BBR_PROBE_RTT, 8 * SRM_SECOND));
    model_run(m, m->now + 20 * MS);
    model_mark(m);
    model_run(m, m->now + 100 * MS);
    CHECK_EQ(bbr_of(&m->flow[0])->state, SRM_BBR_PROBE_RTT);
    CHECK(model_share(m, 0) > 0.5);
    model_free(m);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
