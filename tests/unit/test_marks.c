#include "marks.h"

#include "check.h"

static srm_sent sent;
static srm_flight flight;
static srm_marks marks;

static void start(void) {
    srm_sent_fini(&sent);
    srm_sent_init(&sent, &flight);
    srm_marks_start(&marks, &sent);
}

/* Sends as many marked packets as are wanted, at most `most`. */
static unsigned send(unsigned most) {
    unsigned count = 0;
    for (; count < most && srm_marks_wanted(&marks, &sent); count++)
        srm_marks_on_sent(&marks);
    return count;
}

/* The peer reports so many since the beginning. */
static void report(uint64_t ect0, uint64_t ce, bool failed) {
    const srm_sent_event event = {.ecn_failed = failed};
    sent.ecn_ect0 = ect0;
    sent.ecn_ce = ce;
    srm_marks_on_ack(&marks, &sent, &event);
}

TEST(a_test_is_ten_packets) {
    start();
    CHECK_EQ(send(100), SRM_MARKS_TEST);
    report(0, 0, false); /* an ACK of something else */
    CHECK(!srm_marks_wanted(&marks, &sent));
}

TEST(one_mark_that_arrived_proves_the_path) {
    start();
    CHECK_EQ(send(5), 5);
    report(1, 4, false);
    CHECK_EQ(send(1000), 1000);
}

TEST(a_late_answer_proves_it_too) {
    start();
    CHECK_EQ(send(100), SRM_MARKS_TEST);
    report(3, 0, false);
    CHECK_EQ(send(100), 100);
}

TEST(counts_that_do_not_fit_end_it_for_good) {
    start();
    CHECK_EQ(send(2), 2);
    report(0, 0, true);
    CHECK_EQ(send(10), 0);
    report(2, 0, false);
    CHECK_EQ(send(10), 0);
    start();
    CHECK_EQ(send(2), 2);
    report(2, 0, false);
    CHECK_EQ(send(100), 100);
    report(2, 0, true); /* the path changed under us */
    CHECK_EQ(send(10), 0);
}

TEST(a_path_that_turns_all_to_ce_fails) {
    start();
    CHECK_EQ(send(100), SRM_MARKS_TEST);
    report(0, SRM_MARKS_TEST - 1, false);
    CHECK(!marks.failed);
    report(0, SRM_MARKS_TEST, false);
    CHECK(marks.failed);
}

TEST(a_proved_path_may_mark_all_of_a_flight) {
    start();
    CHECK_EQ(send(4), 4);
    report(4, 0, false);
    report(4, 500, false);
    CHECK_EQ(send(10), 10);
}

TEST(probes_of_a_test_go_without) {
    start();
    sent.pto_count = 1;
    CHECK_EQ(send(10), 0);
    sent.pto_count = 0;
    CHECK_EQ(send(3), 3);
    report(3, 0, false);
    sent.pto_count = 1;
    CHECK_EQ(send(3), 3); /* on a proved path a lost packet has nothing to do with marks */
}

TEST(a_new_path_is_tested_on_its_own_counts) {
    start();
    CHECK_EQ(send(4), 4);
    report(4, 0, false);
    srm_marks_start(&marks, &sent);
    CHECK_EQ(send(100), SRM_MARKS_TEST);
    report(4, 0, false);
    CHECK_EQ(send(100), 0); /* what the old one carried proves nothing */
    report(5, 0, false);
    CHECK_EQ(send(100), 100);
}

int main(int argc, char **argv) {
    srm_sent_init(&sent, &flight);
    return check_main(argc, argv);
}
