#include "cc.h"
#include "check.h"

#define MS SRM_MILLISECOND
#define PACKET SRM_CC_PACKET

static srm_bbr_model m;
static srm_time now;
static uint64_t delivered;

static void begin(void) {
    now = SRM_SECOND;
    delivered = 0;
    srm_bbr_model_init(&m, now);
}

/* One ACK of one packet; with `round` it is the first of a round. */
static void ack(srm_time rtt, bool round) {
    delivered += PACKET;
    srm_cc_sample sample = {.now = now,
                            .acked_bytes = PACKET,
                            .delivered = delivered,
                            .rtt = rtt,
                            .rate_prior_delivered = round ? m.round_end : m.round_end - 1};
    srm_bbr_model_on_round(&m, &sample);
    srm_bbr_model_on_rtt(&m, &sample);
}

/* Rounds of four ACKs, the first of each `rtt`, the others later by `jitter`. */
static void rounds(int count, srm_time rtt, srm_time jitter) {
    for (int i = 0; i < 4 * count; i++) {
        now += rtt / 4;
        ack(i % 4 == 0 ? rtt : rtt + jitter, i % 4 == 0);
    }
}

TEST(a_round_ends_with_the_ack_of_what_was_sent_in_it) {
    begin();
    ack(50 * MS, true);
    CHECK(m.round_start);
    CHECK_EQ(m.rounds, 1);
    CHECK_EQ(m.round_end, PACKET);
    ack(50 * MS, false);
    CHECK(!m.round_start);
    ack(50 * MS, true);
    CHECK_EQ(m.rounds, 2);
}

TEST(bandwidth_is_the_best_of_two_cycles) {
    begin();
    srm_bbr_model_on_rate(&m, 1000, false);
    srm_bbr_model_on_rate(&m, 900, false);
    CHECK_EQ(srm_bbr_model_max_bw(&m), 1000);
    srm_bbr_model_next_cycle(&m);
    srm_bbr_model_on_rate(&m, 500, false);
    CHECK_EQ(srm_bbr_model_max_bw(&m), 1000);
    srm_bbr_model_next_cycle(&m);
    CHECK_EQ(srm_bbr_model_max_bw(&m), 500);
}

TEST(an_idle_application_only_raises_it) {
    begin();
    srm_bbr_model_on_rate(&m, 1000, false);
    srm_bbr_model_next_cycle(&m);
    srm_bbr_model_on_rate(&m, 100, true);
    srm_bbr_model_next_cycle(&m); /* nothing was learned in that one */
    CHECK_EQ(srm_bbr_model_max_bw(&m), 1000);
    srm_bbr_model_on_rate(&m, 2000, true);
    CHECK_EQ(srm_bbr_model_max_bw(&m), 2000);
}

TEST(min_rtt_lives_ten_seconds) {
    begin();
    rounds(2, 50 * MS, 0);
    CHECK_EQ(m.min_rtt, 50 * MS);
    rounds(90, 100 * MS, 0);
    CHECK_EQ(m.min_rtt, 50 * MS);
    rounds(15, 100 * MS, 0);
    CHECK_EQ(m.min_rtt, 100 * MS);
    ack(70 * MS, false);
    CHECK_EQ(m.min_rtt, 70 * MS);
}

TEST(the_time_for_probe_rtt_is_five_seconds_without_a_low_sample) {
    begin();
    rounds(1, 50 * MS, 0);
    now += 5 * SRM_SECOND - 60 * MS;
    ack(80 * MS, false);
    CHECK(!m.probe_rtt_expired);
    now += 60 * MS;
    ack(80 * MS, false);
    CHECK(m.probe_rtt_expired);
}

TEST(a_similar_rtt_confirms_the_minimum) {
    begin();
    rounds(1, 64 * MS, 0);
    for (int i = 0; i < 10; i++) {
        now += 4 * SRM_SECOND;
        ack(66 * MS, false); /* 1/32 more */
        CHECK(!m.probe_rtt_expired);
    }
    CHECK_EQ(m.min_rtt, 64 * MS); /* and doesn't creep up */
    now += 6 * SRM_SECOND;
    ack(66 * MS + 1, false);
    CHECK(m.probe_rtt_expired);
}

TEST(bdp_counts_a_millisecond_at_least) {
    begin();
    CHECK_EQ(srm_bbr_model_bdp(&m, 1000000, 77), 77);
    ack(50 * MS, true);
    CHECK_EQ(srm_bbr_model_bdp(&m, 1000000, 77), 50000);
    ack(SRM_MILLISECOND / 20, true);
    CHECK_EQ(srm_bbr_model_bdp(&m, 1000000, 77), 1000);
}

TEST(a_queue_raises_even_the_lowest_rtt) {
    begin();
    CHECK(!srm_bbr_model_has_queue(&m));
    rounds(4, 64 * MS, 0);
    CHECK(!srm_bbr_model_has_queue(&m));
    rounds(4, 68 * MS, 0); /* 1/16 more */
    CHECK(!srm_bbr_model_has_queue(&m));
    rounds(4, 69 * MS, 0);
    CHECK(srm_bbr_model_has_queue(&m));
    rounds(4, 65 * MS, 0);
    CHECK(!srm_bbr_model_has_queue(&m));
}

TEST(jitter_is_no_queue) {
    begin();
    rounds(20, 20 * MS, 30 * MS);
    CHECK(!srm_bbr_model_has_queue(&m));
    rounds(4, 23 * MS, 30 * MS); /* more than 2 ms above the minimum at best */
    CHECK(srm_bbr_model_has_queue(&m));
}

TEST(more_than_an_eighth_of_queue_is_a_crowd) {
    begin();
    CHECK(!srm_bbr_model_is_crowded(&m));
    rounds(4, 64 * MS, 0);
    rounds(4, 72 * MS, 0);
    CHECK(srm_bbr_model_has_queue(&m) && !srm_bbr_model_is_crowded(&m));
    rounds(4, 72 * MS + 1, 0);
    CHECK(srm_bbr_model_is_crowded(&m));
}

static void ack_bytes(uint64_t bytes, uint64_t bw) {
    srm_cc_sample sample = {.now = now, .acked_bytes = bytes, .rate_prior_delivered = m.round_end};
    srm_bbr_model_on_round(&m, &sample);
    srm_bbr_model_on_extra(&m, &sample, bw, 1000000, true);
}

TEST(bunched_acks_are_extra) {
    begin();
    for (int i = 0; i < 20; i++) { /* 10 kB each 10 ms is what 1 MB/s explains */
        now += 10 * MS;
        ack_bytes(10000, 1000000);
    }
    CHECK_EQ(srm_bbr_model_extra(&m), 10000); /* an ACK itself is a bunch */
    now += 10 * MS;
    ack_bytes(40000, 1000000);
    CHECK_EQ(srm_bbr_model_extra(&m), 40000);
    for (int i = 0; i < 15; i++) { /* forgotten after 10 rounds */
        now += 50 * MS;
        ack_bytes(1000, 1000000);
    }
    CHECK_EQ(srm_bbr_model_extra(&m), 1000);
}

TEST(extra_is_at_most_a_window) {
    begin();
    now += 10 * MS;
    ack_bytes(50000000, 1000000);
    CHECK_EQ(srm_bbr_model_extra(&m), 1000000);
}

/* ---- loss ---- */

TEST(nothing_learned_nothing_repaired) {
    begin();
    CHECK(srm_bbr_model_random_loss(&m) == 0);
    CHECK(srm_bbr_model_repair(&m) == 1);
}

TEST(the_loss_rate_is_learned_and_forgotten_by_rounds) {
    begin();
    for (int i = 0; i < 30; i++)
        srm_bbr_model_learn_loss(&m, 10000, 90000);
    CHECK(srm_bbr_model_random_loss(&m) > 0.0999 && srm_bbr_model_random_loss(&m) < 0.1001);
    CHECK(srm_bbr_model_repair(&m) > 1.09 && srm_bbr_model_repair(&m) < 1.11);
    for (int i = 0; i < 30; i++)
        srm_bbr_model_learn_loss(&m, 0, 100000);
    CHECK(srm_bbr_model_random_loss(&m) < 0.003);
}

TEST(a_fifth_is_the_most_that_is_believed) {
    begin();
    srm_bbr_model_learn_loss(&m, 50000, 50000);
    CHECK(srm_bbr_model_random_loss(&m) == SRM_BBR_RANDOM_LOSS_MAX);
}

TEST(beside_a_queue_two_percent_is_congestion) {
    begin();
    rounds(4, 50 * MS, 0);
    CHECK(!srm_bbr_model_congested(&m, 140 * PACKET, 1000 * PACKET, SRM_BBR_LOSS_FAR));
    rounds(4, 60 * MS, 0);
    CHECK(!srm_bbr_model_congested(&m, 20 * PACKET, 1000 * PACKET, SRM_BBR_LOSS_FAR));
    CHECK(srm_bbr_model_congested(&m, 21 * PACKET, 1000 * PACKET, SRM_BBR_LOSS_FAR));
}

TEST(without_a_queue_it_takes_far_more) {
    begin();
    rounds(4, 50 * MS, 0);
    CHECK(!srm_bbr_model_congested(&m, 150 * PACKET, 1000 * PACKET, SRM_BBR_LOSS_FAR));
    CHECK(srm_bbr_model_congested(&m, 151 * PACKET, 1000 * PACKET, SRM_BBR_LOSS_FAR));
    CHECK(!srm_bbr_model_congested(&m, 151 * PACKET, 1000 * PACKET, SRM_BBR_LOSS_FAR_STARTUP));
}

TEST(a_few_packets_are_no_rate) {
    begin();
    CHECK(!srm_bbr_model_congested(&m, 7 * PACKET, 10 * PACKET, SRM_BBR_LOSS_FAR));
    CHECK(srm_bbr_model_congested(&m, 8 * PACKET, 10 * PACKET, SRM_BBR_LOSS_FAR));
}

TEST(what_the_path_loses_anyway_is_not_counted) {
    begin();
    rounds(4, 50 * MS, 0);
    for (int i = 0; i < 30; i++)
        srm_bbr_model_learn_loss(&m, 10000, 90000);
    rounds(4, 60 * MS, 0); /* beyond 1.5 * 10 % it takes 2 % or 15 % */
    CHECK(!srm_bbr_model_congested(&m, 165 * PACKET, 1000 * PACKET, SRM_BBR_LOSS_FAR));
    CHECK(srm_bbr_model_congested(&m, 175 * PACKET, 1000 * PACKET, SRM_BBR_LOSS_FAR));
    CHECK(srm_bbr_model_repair(&m) == 1); /* a queue stands: no more than the bandwidth */
    rounds(4, 50 * MS, 0);
    CHECK(!srm_bbr_model_congested(&m, 295 * PACKET, 1000 * PACKET, SRM_BBR_LOSS_FAR));
    CHECK(srm_bbr_model_congested(&m, 305 * PACKET, 1000 * PACKET, SRM_BBR_LOSS_FAR));
}

/* ---- how long a queue is ---- */

static bool near(double value, double expected) {
    return value > expected - 0.001 && value < expected + 0.001;
}

TEST(a_queue_that_loses_was_full) {
    begin();
    rounds(4, 50 * MS, 0);
    CHECK(!srm_bbr_model_overflowed(&m, PACKET, 1000 * PACKET)); /* no queue */
    srm_bbr_model_learn_loss(&m, 10 * PACKET, 990 * PACKET);
    rounds(4, 60 * MS, 0);
    CHECK(!srm_bbr_model_overflowed(&m, 15 * PACKET, 1000 * PACKET)); /* the path's own loss */
    CHECK(srm_bbr_model_overflowed(&m, 16 * PACKET, 1000 * PACKET));
}

TEST(without_a_queue_the_gain_is_what_was_asked) {
    begin();
    CHECK(near(srm_bbr_model_queue_gain(&m, 2), 2)); /* nothing known */
    rounds(4, 50 * MS, 0);
    srm_bbr_model_on_overflow(&m, now, 60 * MS);
    CHECK(near(srm_bbr_model_queue_gain(&m, 2), 2));
}

TEST(a_queue_of_unknown_length_gets_half_a_bdp) {
    begin();
    rounds(4, 50 * MS, 0);
    rounds(4, 60 * MS, 0);
    CHECK(near(srm_bbr_model_queue_gain(&m, 2), SRM_BBR_UNKNOWN_GAIN));
    CHECK(near(srm_bbr_model_queue_gain(&m, 1.25), 1.25));
}

TEST(the_gain_follows_the_length_of_a_full_queue) {
    begin();
    rounds(4, 50 * MS, 0);
    rounds(4, 60 * MS, 0);
    srm_bbr_model_on_overflow(&m, now, 100 * MS);
    CHECK(near(srm_bbr_model_queue_gain(&m, 2), 2 * SRM_BBR_FULL_SHARE));
    srm_bbr_model_on_overflow(&m, now, 150 * MS);
    CHECK(near(srm_bbr_model_queue_gain(&m, 2), 3 * SRM_BBR_FULL_SHARE));
    srm_bbr_model_on_overflow(&m, now, 500 * MS);
    CHECK(near(srm_bbr_model_queue_gain(&m, 2), 2));
}

TEST(a_shorter_full_queue_is_believed_after_ten_seconds) {
    begin();
    rounds(4, 50 * MS, 0);
    rounds(4, 60 * MS, 0);
    srm_bbr_model_on_overflow(&m, now, 140 * MS);
    srm_bbr_model_on_overflow(&m, now + SRM_BBR_FULL_LIFE, 100 * MS);
    CHECK_EQ(m.full_rtt, 140 * MS);
    srm_bbr_model_on_overflow(&m, now + SRM_BBR_FULL_LIFE + 1, 100 * MS);
    CHECK_EQ(m.full_rtt, 100 * MS);
}

TEST(the_pipe_as_it_was_at_its_emptiest_stays_full) {
    begin();
    rounds(4, 50 * MS, 0);
    rounds(4, 70 * MS, 0);
    srm_bbr_model_on_rate(&m, 1000, false);
    srm_bbr_model_next_cycle(&m);
    rounds(4, 70 * MS, 0);
    rounds(4, 80 * MS, 0);
    srm_bbr_model_on_overflow(&m, now, 80 * MS);
    CHECK(near(srm_bbr_model_queue_gain(&m, 2), 0.65 * 80 / 50)); /* the cycle before was empty */
    srm_bbr_model_on_rate(&m, 1000, false);
    srm_bbr_model_next_cycle(&m);
    CHECK(near(srm_bbr_model_queue_gain(&m, 2), 70.0 / 50));
}

TEST(no_gain_is_below_one) {
    begin();
    rounds(4, 50 * MS, 0);
    rounds(4, 60 * MS, 0);
    srm_bbr_model_on_overflow(&m, now, 60 * MS);
    CHECK(near(srm_bbr_model_queue_gain(&m, 2), 1));
}

TEST(within_a_machine_a_queue_changes_nothing) {
    begin();
    rounds(40, SRM_MILLISECOND / 2, 0);
    rounds(40, 5 * MS, 0);
    CHECK(srm_bbr_model_has_queue(&m));
    CHECK(near(srm_bbr_model_queue_gain(&m, 2), 2));
}

/* A flow that came late took the others' queue for the path, and their losses for the path's. */
TEST(a_much_lower_rtt_shows_that_the_loss_was_not_random) {
    begin();
    rounds(4, 90 * MS, 0);
    srm_bbr_model_learn_loss(&m, 10000, 90000);
    ack(88 * MS, false);
    CHECK(srm_bbr_model_random_loss(&m) > 0.09);
    ack(50 * MS, false);
    CHECK(srm_bbr_model_random_loss(&m) == 0);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
