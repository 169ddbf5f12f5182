#include <stdbool.h>
#include <stdlib.h>

/* Memory that runs out on request: sent.c and its ring growth must bear it. */
static bool no_memory;
static void *scarce_malloc(size_t size) {
    return no_memory ? NULL : malloc(size);
}
#define malloc scarce_malloc
#include "sent.c"
#undef malloc

#include "sent_host.h"

/* ---- records ---- */

TEST(an_idle_link_is_small) {
    CHECK(sizeof(srm_sent) + sizeof(srm_rtt) + sizeof(srm_acks) < 900);
    CHECK(sizeof(srm_sent) + sizeof(srm_rtt) + sizeof(srm_acks) + PACKETS_MIN * sizeof(srm_sent_packet) +
              FRAMES_MIN * sizeof(srm_sent_frame) <
          1350);
    host_init(20 * MS);
    CHECK(h.sent.packets == NULL && h.sent.frames == NULL);
    CHECK_EQ(deadline(), SRM_TIME_NEVER);
    CHECK_EQ(srm_sent_oldest(&h.sent), SRM_SENT_NONE);
    CHECK_EQ(srm_sent_oldest_unacked(&h.sent), SRM_TIME_NEVER);
    for (int i = 0; i < 100; i++)
        send_one(i);
    ack(20 * MS, 0, 99);
    CHECK_EQ(h.sent.base, 100);
    srm_sent_trim(&h.sent, 21 * MS);
    CHECK(h.sent.packets == NULL && h.sent.frames == NULL);
    send_one(30 * MS); /* and starts again */
    srm_sent_trim(&h.sent, 31 * MS);
    CHECK(h.sent.packets != NULL);
    CHECK_EQ(h.sent.packet_capacity, PACKETS_MIN);
    srm_sent_fini(&h.sent);
}

TEST(frames_come_back_as_they_went) {
    host_init(20 * MS);
    send_one(0);
    const srm_sent_frame *frame = srm_sent_frame_at(&h.sent, 0, 0);
    CHECK(frame != NULL);
    CHECK(frame->number == 0 && frame->offset == 7 && frame->length == 1000 && frame->kind == 3 &&
          frame->channel == 9);
    CHECK(srm_sent_frame_at(&h.sent, 0, 1) == NULL);
    CHECK(srm_sent_frame_at(&h.sent, 1, 0) == NULL);
    CHECK_EQ(srm_sent_oldest(&h.sent), 0);
    CHECK_EQ(h.sent.in_flight, 1000);
    CHECK_EQ(h.sent.eliciting, 1);
    ack(20 * MS, 0, 0);
    CHECK(srm_sent_frame_at(&h.sent, 0, 0) == NULL);
    CHECK_EQ(h.acked_count, 1);
    CHECK_EQ(h.event.acked_packets, 1);
    CHECK_EQ(h.event.sample.acked_bytes, 1000);
    CHECK_EQ(h.event.sample.in_flight_prior, 1000);
    CHECK_EQ(h.event.sample.in_flight, 0);
    CHECK_EQ(h.event.sample.rtt, 20 * MS);
    CHECK_EQ(h.event.acked_size_max, 1000);
    ack(21 * MS, 0, 0); /* the same again is no news */
    CHECK_EQ(h.acked_count, 1);
    CHECK(!h.event.has_sample);
    CHECK_EQ(h.event.sample.rtt, 0);
    srm_sent_fini(&h.sent);
}

TEST(an_aborted_packet_leaves_nothing) {
    host_init(20 * MS);
    for (int i = 0; i < 20; i++) {
        srm_sent_frame frame = {.number = 999};
        CHECK(srm_sent_begin(&h.sent));
        for (int k = 0; k < i; k++)
            CHECK(srm_sent_add_frame(&h.sent, &frame));
        srm_sent_abort(&h.sent);
        CHECK_EQ(h.sent.next, (uint64_t)i);
        send_one(i);
    }
    ack(20 * MS, 0, 19);
    CHECK_EQ(h.acked_count, 20);
    for (size_t i = 0; i < 20; i++)
        CHECK_EQ(h.acked[i], i);
    srm_sent_fini(&h.sent);
}

TEST(a_packet_never_sent_cannot_be_acknowledged) {
    host_init(20 * MS);
    srm_ack_frame frame = {.largest = 0};
    CHECK_EQ(srm_sent_on_ack(&h.sent, &frame, 1, &h.rtt, &h.sink, &h.event), SRM_SENT_NEVER_SENT);
    send_one(0);
    send_one(0);
    frame = (srm_ack_frame){.largest = 2, .first = 2};
    CHECK_EQ(srm_sent_on_ack(&h.sent, &frame, 1, &h.rtt, &h.sink, &h.event), SRM_SENT_NEVER_SENT);
    CHECK_EQ(h.acked_count, 0);
    CHECK_EQ(h.sent.in_flight, 2000);
    CHECK_EQ(h.sent.acked_end, 0);
    ack(20 * MS, 0, 1);
    CHECK_EQ(h.acked_count, 2);
    frame = (srm_ack_frame){.largest = SRM_VARINT_MAX};
    CHECK_EQ(srm_sent_on_ack(&h.sent, &frame, 1, &h.rtt, &h.sink, &h.event), SRM_SENT_NEVER_SENT);
    srm_sent_fini(&h.sent);
}

/* Window sizes up and down, frame positions across 2^32: everything is reported once, in order. */
TEST(rings_grow_and_wrap) {
    host_init(20 * MS);
    h.sent.frame_base = h.sent.frame_next = h.sent.frame_head = UINT32_MAX - 1000;
    uint64_t done = 0;
    for (uint64_t round = 0; done < 4000; round++) {
        for (uint64_t i = 0; i < 1 + round * 7 % 150; i++)
            send_one((srm_time)round * MS);
        uint64_t last = h.sent.next - 1 - (round % 3 == 0 ? 0 : (h.sent.next - done) / 2);
        if (last < done || last >= 4000)
            break;
        ack((srm_time)round * MS, 0, last);
        done = last + 1;
        CHECK_EQ(h.acked_count, done);
        CHECK_EQ(h.sent.base, done);
        CHECK_EQ(h.sent.in_flight, (h.sent.next - done) * 1000);
    }
    CHECK(done > 3000);
    for (uint64_t i = 0; i < done; i++)
        CHECK_EQ(h.acked[i], i);
    CHECK(h.sent.frame_next < UINT32_MAX - 1000);
    CHECK(h.sent.packet_capacity <= 512);
    srm_sent_fini(&h.sent);
}

TEST(without_memory_nothing_breaks) {
    host_init(20 * MS);
    no_memory = true;
    CHECK(!srm_sent_begin(&h.sent));
    no_memory = false;
    srm_sent_frame frame = {.number = 1};
    CHECK(srm_sent_begin(&h.sent));
    no_memory = true;
    CHECK(!srm_sent_add_frame(&h.sent, &frame));
    srm_sent_commit(&h.sent, 0, 100, SRM_SENT_ELICITING);
    no_memory = false;
    for (int i = 1; i < PACKETS_MIN; i++)
        send_one(i);
    no_memory = true;
    CHECK(!srm_sent_begin(&h.sent));
    ack(20 * MS, 0, 0);
    CHECK(srm_sent_begin(&h.sent)); /* the ring has room again */
    for (int i = 0; i < FRAMES_MIN - (PACKETS_MIN - 1); i++)
        CHECK(srm_sent_add_frame(&h.sent, &frame));
    CHECK(!srm_sent_add_frame(&h.sent, &frame));
    srm_sent_commit(&h.sent, 21 * MS, 100, SRM_SENT_ELICITING);
    no_memory = false;
    ack(40 * MS, 0, 4);
    CHECK_EQ(h.acked_count, FRAMES_MIN);
    srm_sent_fini(&h.sent);
}

TEST(a_packet_has_a_most_frames) {
    host_init(20 * MS);
    srm_sent_frame frame = {.number = 1};
    CHECK(srm_sent_begin(&h.sent));
    for (int i = 0; i < SRM_SENT_PACKET_FRAMES_MAX; i++)
        CHECK(srm_sent_add_frame(&h.sent, &frame));
    CHECK(!srm_sent_add_frame(&h.sent, &frame));
    srm_sent_commit(&h.sent, 0, SRM_SENT_PACKET_BYTES_MAX, SRM_SENT_ELICITING);
    CHECK_EQ(h.sent.in_flight, SRM_SENT_PACKET_BYTES_MAX);
    ack(20 * MS, 0, 0);
    CHECK_EQ(h.acked_count, SRM_SENT_PACKET_FRAMES_MAX);
    srm_sent_fini(&h.sent);
}

TEST(packets_that_ask_for_no_ack_hold_nothing_back) {
    host_init(20 * MS);
    for (int i = 0; i < 100000; i++)
        send_flags(i * US, 40, 0);
    CHECK_EQ(h.sent.packet_capacity, PACKETS_MIN);
    CHECK_EQ(h.sent.frame_capacity, FRAMES_MIN);
    CHECK_EQ(h.sent.in_flight, 0);
    CHECK_EQ(deadline(), SRM_TIME_NEVER);
    uint64_t data = send_one(100 * MS);
    send_flags(100 * MS, 40, 0);
    ack(120 * MS, data - 2, data + 1); /* those before `data` are forgotten, the one behind it is reported */
    CHECK_EQ(h.acked_count, 2);
    CHECK_EQ(h.acked[1], data + 1);
    CHECK_EQ(h.event.sample.acked_bytes, 1000);
    CHECK_EQ(h.event.sample.rtt, 20 * MS); /* the largest asked for nothing, but one did */
    send_flags(130 * MS, 40, 0);
    ack(150 * MS, data + 2, data + 2);
    CHECK_EQ(h.event.sample.rtt, 0); /* nobody asked: the peer may have taken its time */
    CHECK_EQ(h.lost_count, 0);
    srm_sent_fini(&h.sent);
}

TEST(discard_reports_what_is_unresolved_once) {
    host_init(20 * MS);
    for (int i = 0; i < 10; i++)
        send_one(i * MS);
    ack_two(25 * MS, 5, 6, 1, 1); /* 0, 2, 3 lost by count */
    CHECK_EQ(h.lost_count, 3);
    srm_sent_discard(&h.sent, &h.sink);
    CHECK_EQ(h.acked_count, 3);
    CHECK_EQ(h.lost_count, 7);
    CHECK_EQ(h.sent.in_flight, 0);
    CHECK_EQ(h.sent.eliciting, 0);
    CHECK_EQ(deadline(), SRM_TIME_NEVER);
    srm_sent_discard(&h.sent, &h.sink);
    CHECK_EQ(h.lost_count, 7);
    ack(30 * MS, 0, 9);
    CHECK_EQ(h.acked_count, 3);
    srm_sent_fini(&h.sent);
}

/* ---- loss ---- */

TEST(three_later_packets_make_a_loss) {
    host_init(100 * MS);
    for (int i = 0; i < 5; i++)
        send_one(i * MS);
    ack(102 * MS, 1, 2);
    CHECK_EQ(h.lost_count, 0);
    /* max(9/8 rtt, rtt + max(min_rtt / 4, 1 ms)) after it was sent; smoothed and latest are a hair above 100
     */
    CHECK_EQ(deadline(), 0 + srm_time_max(h.rtt.latest, h.rtt.smoothed) + 25 * MS);
    ack(103 * MS, 1, 3);
    CHECK_EQ(h.lost_count, 1);
    CHECK_EQ(h.lost[0], 0);
    CHECK_EQ(h.event.lost_packets, 1);
    CHECK_EQ(h.event.lost_size_min, 1000);
    CHECK_EQ(h.event.sample.lost_bytes, 1000);
    CHECK_EQ(h.event.sample.largest_lost_sent, 0);
    CHECK_EQ(h.event.sample.lost_state.in_flight, 1000);
    CHECK_EQ(h.event.sample.in_flight_prior, 3000);
    CHECK_EQ(h.event.sample.in_flight, 1000);
    CHECK(h.event.has_sample);
    srm_sent_fini(&h.sent);
}

TEST(time_makes_a_loss) {
    host_init(100 * MS);
    send_one(0);
    send_one(1 * MS);
    ack(101 * MS, 1, 1);
    CHECK_EQ(h.lost_count, 0);
    CHECK_EQ(deadline(), 125 * MS);
    timer(125 * MS - 1);
    CHECK_EQ(h.lost_count, 0);
    CHECK(!h.event.has_sample);
    timer(125 * MS);
    CHECK_EQ(h.lost_count, 1);
    CHECK_EQ(h.event.probes, 0);
    CHECK_EQ(h.event.sample.lost_bytes, 1000);
    CHECK_EQ(h.event.sample.rtt, 0);
    CHECK_EQ(deadline(), SRM_TIME_NEVER);
    srm_sent_fini(&h.sent);
}

TEST(nine_eighths_count_when_the_queue_is_long) {
    host_init(10 * MS);
    for (int i = 0; i < 200; i++)
        srm_rtt_update(&h.rtt, 0, 160 * MS, 0);
    srm_time round_trip = h.rtt.smoothed;
    send_one(0);
    send_one(0);
    ack(160 * MS, 1, 1);
    CHECK_EQ(deadline(), srm_time_max(round_trip, 160 * MS) + 160 * MS / 8);
    srm_sent_fini(&h.sent);
}

TEST(a_late_ack_shows_the_loss_to_be_spurious_and_undoes_it) {
    host_init(100 * MS);
    for (int i = 0; i < 8; i++)
        send_one(i * MS);
    ack(108 * MS, 2, 7); /* 0 and 1 lost by count */
    CHECK_EQ(h.lost_count, 2);
    CHECK_EQ(h.flight.lost, 2000);
    ack_two(109 * MS, 2, 7, 0, 0);
    CHECK_EQ(h.event.late_packets, 1);
    CHECK(!h.event.undo);
    CHECK_EQ(h.event.sample.acked_bytes, 0);
    CHECK_EQ(h.event.sample.delivered, 7000);
    ack(110 * MS, 0, 7);
    CHECK_EQ(h.event.late_packets, 1);
    CHECK(h.event.undo);
    CHECK_EQ(h.event.undo_bytes, 2000);
    CHECK_EQ(h.acked_count, 8); /* late packets' frames did arrive */
    CHECK_EQ(h.sent.packets_lost, 2);
    CHECK_EQ(h.sent.packets_late, 2);
    CHECK_EQ(h.sent.in_flight, 0);
    CHECK_EQ(h.sent.base, 8);
    for (int i = 0; i < 30; i++) /* from now on only time counts */
        send_one(200 * MS);
    ack(300 * MS, 9, 37);
    CHECK_EQ(h.lost_count, 2);
    CHECK(deadline() > 300 * MS);
    timer(deadline());
    CHECK_EQ(h.lost_count, 3);
    srm_sent_fini(&h.sent);
}

TEST(a_real_loss_among_spurious_ones_is_not_undone) {
    host_init(100 * MS);
    for (int i = 0; i < 8; i++)
        send_one(i * MS);
    ack(108 * MS, 2, 7);
    ack_two(109 * MS, 2, 7, 0, 0);
    send_one(110 * MS);
    ack_two(210 * MS, 2, 8, 0, 0);
    CHECK(!h.event.undo);
    CHECK_EQ(h.sent.base, 1);
    srm_time pto = srm_rtt_pto(&h.rtt);
    srm_sent_trim(&h.sent, 108 * MS + SRM_SENT_KEEP_PTOS * pto - 1);
    CHECK_EQ(h.sent.base, 1);
    srm_sent_trim(&h.sent, 108 * MS + SRM_SENT_KEEP_PTOS * pto);
    CHECK_EQ(h.sent.base, 9); /* forgotten: too late to be known as spurious */
    ack(2 * SRM_SECOND, 0, 8);
    CHECK_EQ(h.event.late_packets, 0);
    srm_sent_fini(&h.sent);
}

TEST(a_new_loss_event_forgets_the_old_one) {
    host_init(100 * MS);
    for (int i = 0; i < 5; i++)
        send_one(i * MS);
    ack(105 * MS, 1, 4); /* 0 lost: first event */
    for (int i = 5; i < 10; i++)
        send_one(110 * MS);
    ack_two(215 * MS, 6, 9, 1, 4); /* 5 lost: second event */
    CHECK_EQ(h.lost_count, 2);
    const uint64_t zero_too[2][2] = {{6, 9}, {0, 4}};
    ack_ranges(216 * MS, zero_too, 2);
    CHECK_EQ(h.event.late_packets, 1);
    CHECK(!h.event.undo); /* of the first event only */
    ack(217 * MS, 0, 9);
    CHECK(h.event.undo);
    CHECK_EQ(h.event.undo_bytes, 1000);
    srm_sent_fini(&h.sent);
}

TEST(a_lost_mtu_probe_is_no_congestion) {
    host_init(100 * MS);
    send_flags(0, 1472, SRM_SENT_ELICITING | SRM_SENT_MTU_PROBE);
    for (int i = 1; i < 5; i++)
        send_one(i * MS);
    ack(104 * MS, 1, 4);
    CHECK_EQ(h.lost_count, 1);
    CHECK_EQ(h.event.lost_packets, 1);
    CHECK_EQ(h.event.sample.lost_bytes, 0);
    CHECK_EQ(h.event.sample.lost, 0);
    CHECK_EQ(h.event.lost_size_min, 0);
    CHECK_EQ(h.sent.in_flight, 0);
    ack(105 * MS, 0, 4);
    CHECK_EQ(h.event.late_packets, 1);
    CHECK_EQ(h.event.acked_size_max, 1472);
    CHECK(!h.event.undo);
    srm_sent_fini(&h.sent);
}

TEST(a_refused_mtu_probe_never_was) {
    host_init(100 * MS);
    send_one(0);
    send_flags(1 * MS, 60000, SRM_SENT_ELICITING | SRM_SENT_MTU_PROBE);
    srm_sent_probe_refused(&h.sent, 1 * MS, 1472); /* another size: not that one */
    CHECK_EQ(h.sent.in_flight, 61000);
    send_one(2 * MS);
    srm_sent_probe_refused(&h.sent, 2 * MS, 60000);
    srm_sent_probe_refused(&h.sent, 2 * MS, 60000); /* once */
    CHECK(h.sent.in_flight == 2000 && h.sent.eliciting == 2);
    for (int i = 3; i < 8; i++)
        send_one(i * MS);
    static const uint64_t both[2][2] = {{2, 7}, {0, 0}};
    ack_ranges(107 * MS, both, 2);
    CHECK(h.event.lost_packets == 0 && h.lost_count == 0 && h.sent.packets_lost == 0);
    CHECK(h.sent.in_flight == 0 && h.sent.eliciting == 0);
    CHECK_EQ(deadline(), SRM_TIME_NEVER);
    srm_sent_probe_refused(&h.sent, 108 * MS, 60000);
    send_flags(110 * MS, 60000, SRM_SENT_ELICITING | SRM_SENT_MTU_PROBE); /* alone, and before an old path */
    srm_sent_move(&h.sent, &h.flight, false);
    srm_sent_probe_refused(&h.sent, 111 * MS, 60000);
    CHECK(h.sent.in_flight == 0 && h.sent.eliciting == 0);
    CHECK_EQ(deadline(), SRM_TIME_NEVER);
    srm_sent_fini(&h.sent);
}

/* RFC 9002 section 7.6.3: srtt 1 s, rttvar 0, max_ack_delay such that a PTO is 2 s. Packets 1 to 7 (the RFC
 * counts from 1: 2 to 8) are lost when the ACK of the last comes. `skip` is left out, `also` is acknowledged.
 */
static bool persistent(size_t skip, uint64_t also, srm_time first_sample) {
    static const srm_time at[] = {0, 1, 2, 3, 4, 5, 6, 8, 12};
    host_init(SRM_SECOND);
    h.rtt.max_ack_delay = SRM_SECOND - SRM_RTT_GRANULARITY;
    h.rtt.first_sample_at = first_sample;
    for (size_t i = 0; i < SRM_COUNT_OF(at); i++) {
        if (i != skip)
            send_one(at[i] * SRM_SECOND);
        if (i == 1)
            ack(1 * SRM_SECOND, 0, 0);
    }
    uint64_t last = h.sent.next - 1;
    ack_two(13 * SRM_SECOND, last, last, also, also);
    CHECK_EQ(srm_rtt_pto(&h.rtt), 2 * SRM_SECOND);
    CHECK_EQ(h.lost_count, last - 1 - (also > 0));
    CHECK_EQ(h.rtt.min_restarts, h.event.sample.persistent_congestion);
    srm_sent_fini(&h.sent);
    return h.event.sample.persistent_congestion;
}

TEST(persistent_congestion_as_in_the_example) {
    CHECK(persistent(99, 0, 0));               /* 8 - 1 = 7 s > 6 s */
    CHECK(!persistent(7, 0, 0));               /* 6 - 1 = 5 s */
    CHECK(!persistent(99, 4, 0));              /* an ACK in between */
    CHECK(persistent(99, 0, SRM_SECOND));      /* RTT known when the first of them was sent */
    CHECK(!persistent(99, 0, 2 * SRM_SECOND)); /* 8 - 2 = 6 s is not more than 6 s */
}

TEST(a_run_of_losses_is_followed_across_events_and_ended_by_an_ack) {
    for (int broken = 0; broken < 2; broken++) {
        host_init(100 * MS);
        srm_time late = MS + SRM_SENT_PERSISTENT_PTOS * srm_rtt_pto(&h.rtt) + 1;
        send_one(MS);
        send_one(2 * MS);
        if (broken)
            ack(102 * MS, 1, 1);
        send_one(late);
        uint64_t last = send_one(late + MS);
        ack(late + 101 * MS, last, last);
        CHECK_EQ(h.sent.packets_lost, broken ? 1 : 2);
        timer(deadline()); /* 2 is lost in an event of its own */
        CHECK_EQ(h.sent.packets_lost, broken ? 2 : 3);
        CHECK_EQ(h.event.sample.persistent_congestion, !broken);
        srm_sent_fini(&h.sent);
    }
}

/* ---- the probe timer ---- */

TEST(the_first_probe_of_a_flight_is_early_then_it_backs_off_up_to_two_seconds) {
    host_init(100 * MS);
    h.rtt.variance = 50 * MS; /* PTO 100 + 200 + 5, TLP 200 + 5 */
    send_one(0);
    send_one(10 * MS);
    CHECK_EQ(deadline(), 10 * MS + 205 * MS);
    timer(215 * MS - 1);
    CHECK_EQ(h.event.probes, 0);
    timer(215 * MS);
    CHECK_EQ(h.event.probes, SRM_SENT_PROBES);
    CHECK_EQ(h.sent.pto_count, 1);
    CHECK_EQ(h.lost_count, 0); /* it declares nothing lost */
    CHECK_EQ(h.sent.in_flight, 2000);
    CHECK_EQ(deadline(), 215 * MS + 610 * MS); /* even if no probe could be sent */
    send_flags(220 * MS, 1000, SRM_SENT_ELICITING | SRM_SENT_PTO_PROBE);
    CHECK_EQ(h.sent.probes_sent, 1);
    CHECK_EQ(deadline(), 220 * MS + 610 * MS);
    timer(deadline());
    CHECK_EQ(deadline(), 830 * MS + 1220 * MS);
    timer(deadline());
    CHECK_EQ(deadline(), 2050 * MS + SRM_SENT_PTO_MAX);
    for (int i = 0; i < 100; i++) {
        srm_time before = deadline();
        timer(before);
        CHECK_EQ(h.event.probes, SRM_SENT_PROBES);
        CHECK_EQ(deadline(), before + SRM_SENT_PTO_MAX);
    }
    ack(deadline(), 2, 2);
    CHECK_EQ(h.sent.pto_count, 0);
    CHECK_EQ(h.lost_count, 2); /* by time, now that something later arrived */
    CHECK_EQ(deadline(), SRM_TIME_NEVER);
    srm_sent_fini(&h.sent);
}

TEST(the_probe_timer_without_variance_is_the_pto) {
    host_init(20 * MS);
    send_one(0);
    CHECK_EQ(deadline(), 26 * MS);
    send_flags(9 * MS, 40, 0); /* asks for nothing: does not move it */
    CHECK_EQ(deadline(), 26 * MS);
    srm_sent_fini(&h.sent);
}

TEST(an_rtt_beyond_the_cap_is_still_waited_for) {
    host_init(3 * SRM_SECOND);
    send_one(0);
    timer(deadline());
    CHECK_EQ(h.event.probes, SRM_SENT_PROBES);
    CHECK_EQ(deadline() - h.sent.pto_from, srm_rtt_pto(&h.rtt));
    srm_sent_fini(&h.sent);
}

TEST(an_ack_of_packets_that_asked_for_nothing_keeps_the_back_off) {
    host_init(20 * MS);
    send_one(0);
    send_flags(1 * MS, 40, 0);
    timer(deadline());
    ack(30 * MS, 1, 1);
    CHECK_EQ(h.sent.pto_count, 1);
    srm_sent_fini(&h.sent);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
