#include "rtt.h"

#include "check.h"

#define MS SRM_MILLISECOND

TEST(before_the_first_sample_the_initial_value_counts) {
    srm_rtt rtt;
    srm_rtt_init(&rtt, SRM_RTT_INITIAL, 5 * MS);
    CHECK(!srm_rtt_has_sample(&rtt));
    CHECK_EQ(rtt.smoothed, 333 * MS);
    CHECK_EQ(rtt.variance, 333 * MS / 2);
    CHECK_EQ(rtt.min, 0);
    CHECK_EQ(srm_rtt_pto(&rtt), 333 * MS + 666 * MS + 5 * MS);
}

TEST(the_first_sample_sets_all_and_ignores_the_ack_delay) {
    srm_rtt rtt;
    srm_rtt_init(&rtt, SRM_RTT_INITIAL, 5 * MS);
    srm_rtt_update(&rtt, 7 * MS, 40 * MS, 4 * MS);
    CHECK(srm_rtt_has_sample(&rtt));
    CHECK_EQ(rtt.first_sample_at, 7 * MS);
    CHECK_EQ(rtt.latest, 40 * MS);
    CHECK_EQ(rtt.min, 40 * MS);
    CHECK_EQ(rtt.smoothed, 40 * MS);
    CHECK_EQ(rtt.variance, 20 * MS);
    CHECK_EQ(srm_rtt_pto(&rtt), 125 * MS);
}

/* RFC 9002 section 5.3, by hand: adjusted 56 - 4 = 52, rttvar 3/4 20 + 1/4 12 = 18, srtt 7/8 40 + 1/8 52
 * = 41.5 */
TEST(later_samples_are_smoothed) {
    srm_rtt rtt;
    srm_rtt_init(&rtt, SRM_RTT_INITIAL, 5 * MS);
    srm_rtt_update(&rtt, 0, 40 * MS, 0);
    srm_rtt_update(&rtt, 1 * MS, 56 * MS, 4 * MS);
    CHECK_EQ(rtt.latest, 56 * MS);
    CHECK_EQ(rtt.min, 40 * MS);
    CHECK_EQ(rtt.variance, 18 * MS);
    CHECK_EQ(rtt.smoothed, 41500 * SRM_MICROSECOND);
    CHECK_EQ(rtt.first_sample_at, 0);
}

TEST(the_ack_delay_is_capped_by_what_the_peer_promised) {
    srm_rtt rtt;
    srm_rtt_init(&rtt, SRM_RTT_INITIAL, 5 * MS);
    srm_rtt_update(&rtt, 0, 40 * MS, 0);
    srm_rtt_update(&rtt, 0, 61 * MS, 1000 * MS); /* counts as 61 - 5 = 56 */
    CHECK_EQ(rtt.smoothed, 42 * MS);
}

TEST(the_ack_delay_never_leads_below_the_minimum) {
    srm_rtt rtt;
    srm_rtt_init(&rtt, SRM_RTT_INITIAL, 5 * MS);
    srm_rtt_update(&rtt, 0, 40 * MS, 0);
    srm_rtt_update(&rtt, 0, 44 * MS, 5 * MS); /* 39 would be below 40: the delay is not taken off */
    CHECK_EQ(rtt.smoothed, 40500 * SRM_MICROSECOND);
    srm_rtt_update(&rtt, 0, 32 * MS, 5 * MS); /* the minimum is always the raw sample */
    CHECK_EQ(rtt.min, 32 * MS);
}

TEST(the_variance_part_of_the_pto_is_at_least_the_granularity) {
    srm_rtt rtt;
    srm_rtt_init(&rtt, SRM_RTT_INITIAL, 5 * MS);
    for (int i = 0; i < 200; i++)
        srm_rtt_update(&rtt, i, 20 * MS, 0);
    CHECK(rtt.variance < MS / 4);
    CHECK_EQ(srm_rtt_pto(&rtt), 26 * MS);
}

TEST(samples_of_nothing_and_of_ages_are_bounded) {
    srm_rtt rtt;
    srm_rtt_init(&rtt, SRM_RTT_INITIAL, 5 * MS);
    srm_rtt_update(&rtt, 0, 0, 0);
    CHECK_EQ(rtt.latest, 1); /* 0 would read as "none" */
    srm_rtt_update(&rtt, 0, -5, 0);
    CHECK_EQ(rtt.min, 1);
    srm_rtt_update(&rtt, 0, SRM_RTT_SAMPLE_MAX + 1, 0);
    CHECK_EQ(rtt.latest, SRM_RTT_SAMPLE_MAX);
}

TEST(the_minimum_can_start_again) {
    srm_rtt rtt;
    srm_rtt_init(&rtt, SRM_RTT_INITIAL, 5 * MS);
    srm_rtt_update(&rtt, 0, 10 * MS, 0);
    srm_rtt_restart_min(&rtt);
    CHECK_EQ(rtt.min, 10 * MS);
    srm_rtt_update(&rtt, 0, 90 * MS, 0);
    CHECK_EQ(rtt.min, 90 * MS);
    srm_rtt_update(&rtt, 0, 100 * MS, 0);
    CHECK_EQ(rtt.min, 90 * MS);
}

TEST(a_new_path_forgets_the_samples_but_not_the_peer) {
    srm_rtt rtt;
    srm_rtt_init(&rtt, 100 * MS, 7 * MS);
    srm_rtt_update(&rtt, 0, 10 * MS, 0);
    srm_rtt_restart_min(&rtt);
    srm_rtt_reset(&rtt);
    CHECK(!srm_rtt_has_sample(&rtt));
    CHECK_EQ(rtt.smoothed, 100 * MS);
    CHECK_EQ(rtt.max_ack_delay, 7 * MS);
    CHECK(!rtt.min_restarts);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
