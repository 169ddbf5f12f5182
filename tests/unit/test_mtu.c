#include "mtu.h"

#include "check.h"

#define MAX SRM_DATAGRAM_USUAL_MTU
#define HUGE SRM_DATAGRAM_MAX_MTU
#define BASE SRM_DATAGRAM_MIN_MTU

static uint64_t random_state = 88172645463325252u;
static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Lets the search run over a path that carries `limit`; returns how many probes it took. */
static int search(srm_mtu *mtu, srm_time now, size_t limit) {
    int probes = 0;
    for (size_t size; (size = srm_mtu_probe_wanted(mtu, now, HUGE)) != 0; probes++) {
        CHECK(size > srm_mtu_current(mtu) && size <= mtu->max);
        srm_mtu_on_probe_sent(mtu, now, size);
        CHECK_EQ(srm_mtu_probe_wanted(mtu, now, HUGE), 0); /* one at a time */
        if (size <= limit)
            srm_mtu_on_probe_acked(mtu, now, size);
        else
            srm_mtu_on_probe_lost(mtu, now, size);
        CHECK(probes < 100);
    }
    return probes;
}

static srm_mtu settled(srm_time now, size_t limit) {
    srm_mtu mtu;
    srm_mtu_init(&mtu, now, MAX, true);
    search(&mtu, now, limit);
    return mtu;
}

TEST(one_probe_finds_ethernet) {
    srm_mtu mtu;
    srm_mtu_init(&mtu, 0, MAX, true);
    CHECK_EQ(srm_mtu_current(&mtu), BASE);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, HUGE), MAX);
    CHECK_EQ(search(&mtu, 0, MAX), 1);
    CHECK_EQ(srm_mtu_current(&mtu), MAX);
    CHECK_EQ(srm_mtu_deadline(&mtu), SRM_TIME_NEVER);
}

TEST(no_discovery_no_probe) {
    srm_mtu mtu;
    srm_mtu_init(&mtu, 0, MAX, false);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, HUGE), 0);
    CHECK_EQ(srm_mtu_deadline(&mtu), SRM_TIME_NEVER);
    CHECK_EQ(srm_mtu_current(&mtu), BASE);
}

TEST(the_peers_limit_is_the_largest_probe) {
    srm_mtu mtu;
    srm_mtu_init(&mtu, 0, 1300, true);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, HUGE), 1300);
    search(&mtu, 0, MAX);
    CHECK_EQ(srm_mtu_current(&mtu), 1300);
    srm_mtu_init(&mtu, 0, 1300, true);
    search(&mtu, 0, 1299);
    CHECK_EQ(srm_mtu_current(&mtu), 1280);
    srm_mtu_init(&mtu, 0, BASE, true);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, HUGE), 0);
    srm_mtu_init(&mtu, 0, 500, true); /* what a peer must not say is not believed */
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, HUGE), 0);
    CHECK_EQ(srm_mtu_current(&mtu), BASE);
}

TEST(a_size_is_given_up_after_three_probes) {
    srm_mtu mtu;
    srm_mtu_init(&mtu, 0, MAX, true);
    for (int i = 0; i < SRM_MTU_TRIES; i++) {
        CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, HUGE), MAX);
        srm_mtu_on_probe_sent(&mtu, 0, MAX);
        srm_mtu_on_probe_lost(&mtu, 0, MAX);
    }
    size_t next = srm_mtu_probe_wanted(&mtu, 0, HUGE);
    CHECK(next > BASE && next < MAX);
}

TEST(every_limit_is_found_with_few_probes) {
    static const size_t known[] = {BASE, 1232, 1252, 1280, 1350, 1372, 1392, 1444, 1452, 1464, 1472};
    for (size_t limit = BASE; limit <= MAX; limit++) {
        srm_mtu mtu;
        srm_mtu_init(&mtu, 0, MAX, true);
        int probes = search(&mtu, 0, limit);
        size_t best = BASE;
        for (size_t i = 0; i < SRM_COUNT_OF(known); i++)
            if (known[i] <= limit)
                best = known[i];
        CHECK_EQ(srm_mtu_current(&mtu), best);
        CHECK(probes <= SRM_MTU_TRIES * 5);
    }
}

TEST(the_search_is_repeated_while_there_is_room_above) {
    srm_mtu mtu = settled(1000, 1400);
    CHECK_EQ(srm_mtu_current(&mtu), 1392);
    CHECK_EQ(srm_mtu_deadline(&mtu), 1000 + SRM_MTU_RAISE_EACH);
    srm_mtu_on_timer(&mtu, 1000 + SRM_MTU_RAISE_EACH - 1);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 2000, HUGE), 0);
    srm_mtu_on_timer(&mtu, 1000 + SRM_MTU_RAISE_EACH);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 1000 + SRM_MTU_RAISE_EACH, HUGE), MAX);
    CHECK_EQ(srm_mtu_current(&mtu), 1392); /* what is known to work stays in use */
    search(&mtu, 1000 + SRM_MTU_RAISE_EACH, MAX);
    CHECK_EQ(srm_mtu_current(&mtu), MAX);
}

TEST(a_probe_that_arrives_late_still_proves_its_size) {
    srm_mtu mtu = settled(0, 1300);
    CHECK_EQ(srm_mtu_current(&mtu), 1280);
    srm_mtu_on_probe_acked(&mtu, 5, 1372);
    CHECK_EQ(srm_mtu_current(&mtu), 1372);
    srm_mtu_on_probe_acked(&mtu, 6, 1252); /* and a smaller one takes nothing back */
    CHECK_EQ(srm_mtu_current(&mtu), 1372);
    srm_mtu_on_probe_acked(&mtu, 7, MAX + 1);
    CHECK_EQ(srm_mtu_current(&mtu), 1372);
}

TEST(a_stale_loss_counts_for_nothing) {
    srm_mtu mtu;
    srm_mtu_init(&mtu, 0, MAX, true);
    srm_mtu_on_probe_sent(&mtu, 0, MAX);
    srm_mtu_on_probe_lost(&mtu, 0, 1350);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, HUGE), 0);
    srm_mtu_on_probe_acked(&mtu, 0, MAX);
    for (int i = 0; i < 10; i++)
        srm_mtu_on_probe_lost(&mtu, 0, MAX);
    CHECK_EQ(srm_mtu_current(&mtu), MAX);
}

/* One flight in a hole: full packets are lost, and a small probe of the timer brings the news. */
static void lose_flight(srm_mtu *mtu, srm_time now) {
    srm_mtu_on_packets_acked(mtu, now, BASE);
    srm_mtu_on_packets_lost(mtu, now, MAX);
}

TEST(a_black_hole_is_found) {
    srm_mtu mtu = settled(0, MAX);
    srm_mtu_on_packets_acked(&mtu, 1, MAX);
    srm_mtu_on_packets_lost(&mtu, 1, MAX); /* this one is excused: the same ACK proved the size */
    for (int i = 0; i < SRM_MTU_HOLE_BURSTS; i++) {
        lose_flight(&mtu, 2);
        CHECK_EQ(srm_mtu_current(&mtu), MAX);
    }
    srm_mtu_on_packets_acked(&mtu, 9, BASE); /* the fifth burst is over */
    CHECK_EQ(srm_mtu_current(&mtu), BASE);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 9, HUGE), 0);
    CHECK_EQ(srm_mtu_deadline(&mtu), 9 + SRM_MTU_HOLE_WAIT);
    srm_mtu_on_timer(&mtu, 9 + SRM_MTU_HOLE_WAIT);
    search(&mtu, 9 + SRM_MTU_HOLE_WAIT, 1400);
    CHECK_EQ(srm_mtu_current(&mtu), 1392);
}

TEST(a_packet_of_equal_size_disproves_the_hole) {
    srm_mtu mtu = settled(0, MAX);
    for (int i = 0; i < 100; i++) {
        lose_flight(&mtu, 1);
        if (i % 4 == 3)
            srm_mtu_on_packets_acked(&mtu, 1, MAX);
    }
    CHECK_EQ(srm_mtu_current(&mtu), MAX);
}

TEST(losses_without_an_ack_between_are_one_burst) {
    srm_mtu mtu = settled(0, MAX);
    for (int i = 0; i < SRM_MTU_HOLE_BURSTS; i++)
        srm_mtu_on_packets_lost(&mtu, 1, MAX);
    srm_mtu_on_packets_acked(&mtu, 2, BASE);
    CHECK_EQ(srm_mtu_current(&mtu), MAX);
}

TEST(a_small_packet_in_the_burst_speaks_for_congestion) {
    srm_mtu mtu = settled(0, MAX);
    for (int i = 0; i < 50; i++) {
        lose_flight(&mtu, 1);
        srm_mtu_on_packets_lost(&mtu, 1, BASE);
    }
    srm_mtu_on_packets_acked(&mtu, 2, BASE);
    CHECK_EQ(srm_mtu_current(&mtu), MAX);
}

TEST(at_the_base_there_is_no_hole) {
    srm_mtu mtu = settled(0, BASE);
    for (int i = 0; i < 50; i++) {
        srm_mtu_on_packets_acked(&mtu, 1, 60);
        srm_mtu_on_packets_lost(&mtu, 1, BASE);
    }
    CHECK_EQ(srm_mtu_current(&mtu), BASE);
    CHECK(srm_mtu_deadline(&mtu) > SRM_MTU_HOLE_WAIT); /* no search was begun by it */
}

/* Flights of 20 packets at 13 % loss, one small packet in ten, one ACK for each flight. */
TEST(random_loss_is_no_hole) {
    srm_mtu mtu = settled(0, MAX);
    for (int flight = 0; flight < 20000; flight++) {
        size_t acked = 0, lost = 0;
        for (int i = 0; i < 20; i++) {
            size_t size = next_random() % 10 == 0 ? 100 : MAX;
            if (next_random() % 100 < 13)
                lost = lost == 0 ? size : srm_size_min(lost, size);
            else
                acked = srm_size_max(acked, size);
        }
        if (acked > 0)
            srm_mtu_on_packets_acked(&mtu, flight, acked);
        if (lost > 0)
            srm_mtu_on_packets_lost(&mtu, flight, lost);
        CHECK_EQ(srm_mtu_current(&mtu), MAX);
    }
}

TEST(a_refused_probe_is_not_repeated) {
    srm_mtu mtu;
    srm_mtu_init(&mtu, 0, MAX, true);
    srm_mtu_on_probe_sent(&mtu, 0, MAX);
    srm_mtu_on_too_large(&mtu, 0, MAX);
    size_t next = srm_mtu_probe_wanted(&mtu, 0, HUGE);
    CHECK(next > BASE && next < MAX);
    srm_mtu_on_probe_sent(&mtu, 0, next);
    srm_mtu_on_probe_lost(&mtu, 0, MAX); /* the record of the refused one ends later */
    srm_mtu_on_probe_acked(&mtu, 0, next);
    CHECK_EQ(srm_mtu_current(&mtu), next);
}

TEST(a_refused_packet_starts_a_search_below_its_size) {
    srm_mtu mtu = settled(0, MAX);
    srm_mtu_on_too_large(&mtu, 5, MAX);
    CHECK_EQ(srm_mtu_current(&mtu), BASE);
    search(&mtu, 5, 1400);
    CHECK_EQ(srm_mtu_current(&mtu), 1392);
    srm_mtu_on_too_large(&mtu, 6, BASE); /* nothing smaller is left */
    CHECK_EQ(srm_mtu_current(&mtu), 1392);
    srm_mtu_on_too_large(&mtu, 6, 60000);
    CHECK_EQ(srm_mtu_current(&mtu), 1392);
}

TEST(what_most_paths_carry_is_tried_before_the_largest) {
    srm_mtu mtu;
    srm_mtu_init(&mtu, 0, HUGE, true);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, HUGE), MAX);
    srm_mtu_on_probe_sent(&mtu, 0, MAX);
    srm_mtu_on_probe_acked(&mtu, 0, MAX);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, HUGE), HUGE);
    srm_mtu_on_probe_sent(&mtu, 0, HUGE);
    srm_mtu_on_probe_acked(&mtu, 0, HUGE);
    CHECK_EQ(srm_mtu_current(&mtu), HUGE);
    CHECK_EQ(srm_mtu_deadline(&mtu), SRM_TIME_NEVER);
}

TEST(nothing_larger_than_it_is_worth_is_tried) {
    srm_mtu mtu;
    srm_mtu_init(&mtu, 0, HUGE, true);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, 0), MAX);
    srm_mtu_on_probe_sent(&mtu, 0, MAX);
    srm_mtu_on_probe_acked(&mtu, 0, MAX);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, 0), 0);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, 4043), 0);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, 10000), 8972);
    srm_mtu_on_probe_sent(&mtu, 0, 8972);
    srm_mtu_on_probe_acked(&mtu, 0, 8972);
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, 10000), 0);
    CHECK_EQ(srm_mtu_deadline(&mtu), SRM_TIME_NEVER); /* the search waits, whatever the time */
    CHECK_EQ(srm_mtu_probe_wanted(&mtu, 0, HUGE), HUGE);
}

/* An interface refuses, and so does a path, only later: both leave what they carry. */
TEST(jumbo_frames_are_found) {
    for (int refused = 0; refused < 2; refused++) {
        srm_mtu mtu;
        srm_mtu_init(&mtu, 0, HUGE, true);
        int probes = 0;
        for (size_t size; (size = srm_mtu_probe_wanted(&mtu, 0, HUGE)) != 0; probes++) {
            srm_mtu_on_probe_sent(&mtu, 0, size);
            if (size <= 8972)
                srm_mtu_on_probe_acked(&mtu, 0, size);
            else if (refused)
                srm_mtu_on_too_large(&mtu, 0, size);
            else
                srm_mtu_on_probe_lost(&mtu, 0, size);
        }
        CHECK_EQ(srm_mtu_current(&mtu), 8972);
        CHECK(probes <= (refused ? 5 : 3 + 2 * SRM_MTU_TRIES));
    }
}

TEST(an_interface_of_ethernet_refuses_a_few_times) {
    srm_mtu mtu;
    int refusals = 0;
    srm_mtu_init(&mtu, 0, HUGE, true);
    for (size_t size; (size = srm_mtu_probe_wanted(&mtu, 0, HUGE)) != 0;) {
        srm_mtu_on_probe_sent(&mtu, 0, size);
        if (size <= MAX)
            srm_mtu_on_probe_acked(&mtu, 0, size);
        else
            srm_mtu_on_too_large(&mtu, 0, size);
        refusals += size > MAX;
    }
    CHECK_EQ(srm_mtu_current(&mtu), MAX);
    CHECK(refusals <= 4);
    CHECK_EQ(srm_mtu_deadline(&mtu), SRM_MTU_RAISE_EACH);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
