/* What sent tells the congestion controller: delivery rate, ECN, and what a change of path leaves of both. */
#include "sent.h"

#include "sent_host.h"

/* A packet of 1000 bytes each millisecond, acknowledged 20 ms later: 1 MB/s. */
TEST(the_delivery_rate_is_what_arrived_over_the_longer_of_sending_and_acknowledging) {
    host_init(20 * MS);
    for (int i = 0; i < 60; i++) {
        send_one(i * MS);
        if (i < 20)
            continue;
        uint64_t number = (uint64_t)i - 20;
        ack(i * MS, number, number);
        CHECK_EQ(h.event.sample.largest_acked_sent, (i - 20) * MS);
        if (number < 21) /* sent before the first ACK */
            continue;
        CHECK(h.event.sample.rate_valid);
        CHECK_EQ(h.event.sample.rate_interval, 21 * MS);
        CHECK_EQ(h.event.sample.rate_delivered, 21000);
        CHECK_EQ(h.event.sample.rate, 1000000);
        CHECK_EQ(h.event.sample.rate_prior_delivered, (number - 20) * 1000);
        CHECK_EQ(h.event.sample.acked_state.delivered, h.event.sample.rate_prior_delivered);
        CHECK(!h.event.sample.rate_app_limited);
    }
    srm_sent_fini(&h.sent);
}

TEST(an_interval_shorter_than_the_rtt_makes_no_rate) {
    host_init(20 * MS);
    for (int i = 0; i < 3; i++)
        send_one(i);
    ack(20 * MS + 2, 2, 2);
    CHECK(h.event.sample.rate_valid);
    h.rtt.min = 21 * MS; /* no sample can tell otherwise: the largest is no news in the next ACK */
    ack(20 * MS + 3, 1, 2);
    CHECK_EQ(h.event.sample.acked_bytes, 1000);
    CHECK(!h.event.sample.rate_valid);
    CHECK_EQ(h.event.sample.rate, 0);
    h.rtt.min = 20 * MS + 4;
    ack(20 * MS + 4, 0, 2);
    CHECK(h.event.sample.rate_valid);
    srm_sent_fini(&h.sent);
}

TEST(app_limited_packets_are_marked_until_they_are_delivered) {
    host_init(20 * MS);
    send_one(0);
    srm_sent_app_limited(&h.sent, true);
    send_one(1 * MS);
    send_one(1 * MS);
    ack(20 * MS, 0, 0);
    CHECK(!h.event.sample.rate_app_limited);
    send_one(20 * MS); /* `delivered` must pass the mark of 1000 */
    ack(21 * MS, 1, 1);
    CHECK(h.event.sample.rate_app_limited);
    send_one(21 * MS);
    ack(41 * MS, 2, 3);
    CHECK(h.event.sample.rate_app_limited);
    CHECK(h.event.sample.acked_state.app_limited);
    ack(42 * MS, 4, 4);
    CHECK(!h.event.sample.rate_app_limited);
    srm_sent_app_limited(&h.sent, true); /* with nothing in flight or delivered it counts too */
    CHECK(h.sent.app_limited_until > 0);
    srm_sent_fini(&h.sent);
}

TEST(after_idling_the_rate_starts_afresh) {
    host_init(20 * MS);
    send_one(0);
    ack(20 * MS, 0, 0);
    send_one(10 * SRM_SECOND);
    ack(10 * SRM_SECOND + 20 * MS, 1, 1);
    CHECK(h.event.sample.rate_valid);
    CHECK_EQ(h.event.sample.rate_interval, 20 * MS);
    CHECK_EQ(h.event.sample.rate, 50000);
    srm_sent_fini(&h.sent);
}

static bool ecn_after(uint64_t ect0, uint64_t ect1, uint64_t ce, srm_time now, uint64_t last) {
    const uint64_t ranges[1][2] = {{0, last}};
    srm_ack_frame frame = frame_of(ranges, 1);
    frame.has_ecn = true;
    frame.ect0 = ect0;
    frame.ect1 = ect1;
    frame.ce = ce;
    CHECK_EQ(srm_sent_on_ack(&h.sent, &frame, now, &h.rtt, &h.sink, &h.event), SRM_SENT_OK);
    return !h.event.ecn_failed;
}

TEST(ecn_counts_are_checked_against_what_was_sent) {
    for (int kind = 0; kind < 7; kind++) {
        host_init(20 * MS);
        for (int i = 0; i < 10; i++)
            send_flags(i, 1000, SRM_SENT_ELICITING | SRM_SENT_ECT0);
        CHECK(ecn_after(3, 0, 1, 20 * MS, 3));
        CHECK_EQ(h.event.sample.ecn_ce, 1);
        CHECK(ecn_after(0, 0, 0, 20 * MS, 3)); /* an old ACK that came late proves nothing */
        switch (kind) {
        case 0: /* good */
            CHECK(ecn_after(4, 0, 3, 21 * MS, 6));
            CHECK_EQ(h.event.sample.ecn_ce, 2);
            break;
        case 1: /* marks were erased on the way */
            CHECK(!ecn_after(5, 0, 1, 21 * MS, 6));
            break;
        case 2: /* counts went back */
            CHECK(!ecn_after(7, 0, 0, 21 * MS, 6));
            break;
        case 3: /* a mark we never send */
            CHECK(!ecn_after(6, 1, 1, 21 * MS, 6));
            break;
        case 4: /* more than were sent */
            CHECK(!ecn_after(10, 0, 1, 21 * MS, 9));
            break;
        case 5: /* none reported at all */
            ack(21 * MS, 0, 6);
            CHECK(h.event.ecn_failed);
            break;
        default: /* absurd numbers */
            CHECK(!ecn_after(SRM_VARINT_MAX, 0, SRM_VARINT_MAX, 21 * MS, 9));
            CHECK_EQ(h.event.sample.ecn_ce, 0);
        }
        srm_sent_fini(&h.sent);
    }
    host_init(20 * MS);
    send_one(0);
    ack(20 * MS, 0, 0); /* unmarked: nothing to prove */
    CHECK(!h.event.ecn_failed);
    srm_sent_fini(&h.sent);
}

/* ---- a new path ---- */

TEST(packets_of_an_old_path_say_nothing_about_the_new_one) {
    host_init(20 * MS);
    for (int i = 0; i < 6; i++)
        send_one(i * MS);
    srm_sent_move(&h.sent, &h.flight, false);
    srm_rtt_reset(&h.rtt);
    CHECK_EQ(h.sent.in_flight, 0);
    CHECK_EQ(h.sent.eliciting, 6);
    CHECK(deadline() != SRM_TIME_NEVER); /* but they are still owed */
    ack(10 * MS, 0, 1);
    CHECK_EQ(h.acked_count, 2);
    CHECK(!h.event.has_sample);
    CHECK(!srm_rtt_has_sample(&h.rtt));
    for (int i = 6; i < 10; i++)
        send_one(11 * MS);
    CHECK_EQ(h.sent.in_flight, 4000);
    ack(61 * MS, 9, 9); /* 2 to 6 lost by count; 6 alone was sent on this path */
    CHECK_EQ(h.lost_count, 5);
    CHECK_EQ(h.event.lost_packets, 5);
    CHECK_EQ(h.event.sample.lost_bytes, 1000);
    CHECK_EQ(h.event.sample.acked_bytes, 1000);
    CHECK_EQ(h.event.sample.rtt, 50 * MS);
    CHECK_EQ(h.rtt.min, 50 * MS);
    CHECK_EQ(h.sent.in_flight, 2000);
    ack_two(62 * MS, 9, 9, 0, 5); /* late, but two paths reorder by nature */
    CHECK_EQ(h.event.late_packets, 4);
    CHECK(!h.event.undo);
    CHECK(!h.sent.reordering_seen);
    srm_sent_fini(&h.sent);
}

TEST(packets_sent_elsewhere_are_neither_in_flight_nor_measured) {
    host_init(20 * MS);
    send_one(0);
    uint64_t probe = send_flags(1 * MS, 1200, SRM_SENT_ELICITING | SRM_SENT_OFF_PATH);
    CHECK_EQ(h.sent.in_flight, 1000);
    CHECK_EQ(h.sent.eliciting, 1);
    ack(300 * MS, 0, probe);
    CHECK_EQ(h.acked_count, 2);
    CHECK_EQ(h.event.sample.rtt, 0);
    CHECK_EQ(h.event.sample.acked_bytes, 1000);
    CHECK_EQ(h.event.acked_size_max, 1000);
    srm_sent_fini(&h.sent);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
