/* Links that share one path: what each does to the flight that they have in common. */
#include "sent.h"

#include "sent_host.h"

static srm_flight flight;
static host a, b;

static void start(host *link, srm_flight *of) {
    *link = (host){.sink = {host_acked, host_lost, link}};
    srm_sent_init(&link->sent, of);
    srm_rtt_init(&link->rtt, SRM_RTT_INITIAL, 5 * MS);
    srm_rtt_update(&link->rtt, 0, 20 * MS, 0);
}

static void start_both(void) {
    flight = (srm_flight){.in_flight = 0};
    start(&a, &flight);
    start(&b, &flight);
}

static void end_both(void) {
    srm_sent_fini(&a.sent);
    srm_sent_fini(&b.sent);
    CHECK_EQ(flight.in_flight, 0);
}

static void sends(host *link, srm_time now, size_t bytes, unsigned flags) {
    srm_sent_frame frame = {.number = link->sent.next};
    CHECK(srm_sent_begin(&link->sent));
    CHECK(srm_sent_add_frame(&link->sent, &frame));
    srm_sent_commit(&link->sent, now, bytes, flags);
}

static void sends_many(host *link, srm_time now, int count) {
    for (int i = 0; i < count; i++)
        sends(link, now, 1000, SRM_SENT_ELICITING);
}

static void hears(host *link, srm_time now, uint64_t first, uint64_t last) {
    const uint64_t ranges[1][2] = {{first, last}};
    srm_ack_frame frame = frame_of(ranges, 1);
    CHECK_EQ(srm_sent_on_ack(&link->sent, &frame, now, &link->rtt, &link->sink, &link->event), SRM_SENT_OK);
}

static void waits(host *link, srm_time now) {
    srm_sent_on_timer(&link->sent, now, &link->rtt, &link->sink, &link->event);
}

/* ---- sums ---- */

TEST(in_flight_is_the_sum) {
    start_both();
    sends_many(&a, 0, 3);
    sends_many(&b, 0, 5);
    sends(&b, 0, 700, 0);                                      /* an ACK */
    sends(&a, 0, 600, SRM_SENT_ELICITING | SRM_SENT_OFF_PATH); /* neither of them is in flight */
    sends(&a, 0, 1400, SRM_SENT_ELICITING | SRM_SENT_MTU_PROBE);
    CHECK(a.sent.in_flight == 4400 && b.sent.in_flight == 5000);
    CHECK_EQ(flight.in_flight, 9400);
    hears(&b, 20 * MS, 0, 1);
    CHECK(a.sent.in_flight == 4400 && b.sent.in_flight == 3000);
    CHECK_EQ(flight.in_flight, 7400);
    CHECK_EQ(b.event.sample.in_flight_prior, 9400);
    CHECK_EQ(b.event.sample.in_flight, 7400);
    srm_sent_probe_refused(&a.sent, 20 * MS, 1400);
    CHECK(a.sent.in_flight == 3000 && flight.in_flight == 6000);
    end_both();
}

TEST(delivered_and_lost_are_sums) {
    start_both();
    sends_many(&a, 0, 10);
    sends_many(&b, 0, 10);
    hears(&a, 20 * MS, 4, 5); /* four before it, two of them within the threshold */
    CHECK_EQ(a.event.lost_packets, 3);
    CHECK(flight.delivered == 2000 && flight.lost == 3000);
    CHECK(a.event.sample.delivered == 2000 && a.event.sample.lost == 3000);
    hears(&b, 21 * MS, 1, 3);
    CHECK_EQ(b.event.lost_packets, 1);
    CHECK(flight.delivered == 5000 && flight.lost == 4000);
    CHECK(b.event.sample.delivered == 5000 && b.event.sample.lost == 4000);
    CHECK(b.event.sample.acked_bytes == 3000 && b.event.sample.lost_bytes == 1000);
    CHECK(a.sent.delivered == 2000 && b.sent.delivered == 3000);
    CHECK_EQ(flight.in_flight, 20000 - 5000 - 4000);
    end_both();
}

TEST(a_late_packet_is_delivered_but_was_not_in_flight_any_more) {
    start_both();
    sends_many(&a, 0, 5);
    sends_many(&b, 0, 5);
    hears(&a, 20 * MS, 3, 4);
    CHECK(a.event.lost_packets == 2 && flight.in_flight == 6000);
    hears(&a, 22 * MS, 0, 0);
    CHECK_EQ(a.event.late_packets, 1);
    CHECK(flight.delivered == 3000 && flight.lost == 2000 && flight.in_flight == 6000);
    CHECK_EQ(flight.delivered_time, 22 * MS);
    end_both();
}

TEST(a_lost_mtu_probe_leaves_without_counting_as_lost) {
    start_both();
    sends(&a, 0, 1400, SRM_SENT_ELICITING | SRM_SENT_MTU_PROBE);
    sends_many(&a, 0, 4);
    sends_many(&b, 0, 1);
    hears(&a, 20 * MS, 1, 4);
    CHECK_EQ(a.event.lost_packets, 1);
    CHECK(flight.lost == 0 && flight.in_flight == 1000);
    end_both();
}

/* ---- rate samples ---- */

TEST(a_sample_of_one_sees_what_the_other_delivered) {
    start_both();
    sends_many(&a, 0, 1);
    sends_many(&b, 1 * MS, 6);
    hears(&b, 21 * MS, 0, 5);
    CHECK_EQ(b.event.sample.rate_delivered, 6000);
    hears(&a, 22 * MS, 0, 0);
    CHECK(a.event.sample.rate_valid);
    CHECK_EQ(a.event.sample.rate_prior_delivered, 0);
    CHECK_EQ(a.event.sample.rate_delivered, 7000);
    CHECK_EQ(a.event.sample.rate_interval, 22 * MS);
    CHECK_EQ(a.event.sample.rate, 7000 * 1000 / 22);
    /* What goes out now has all that behind it. */
    sends_many(&b, 22 * MS, 1);
    sends_many(&a, 23 * MS, 1);
    hears(&a, 43 * MS, 1, 1);
    CHECK_EQ(a.event.sample.rate_prior_delivered, 7000);
    CHECK_EQ(a.event.sample.rate_delivered, 1000);
    end_both();
}

TEST(a_packet_knows_what_all_had_in_flight_and_lost) {
    start_both();
    sends_many(&b, 0, 5);
    hears(&b, 20 * MS, 3, 3); /* 0 is lost */
    sends_many(&a, 20 * MS, 1);
    hears(&a, 40 * MS, 0, 0);
    const srm_cc_send_state *state = &a.event.sample.acked_state;
    CHECK(state->in_flight == 3000 + 1000 && state->lost == 1000 && state->delivered == 1000);
    CHECK_EQ(state->delivered_time, 20 * MS);
    end_both();
}

/* What one sends while another has something in flight belongs to the same window of samples. */
TEST(sending_begins_only_when_nobody_has_anything_in_flight) {
    start_both();
    sends_many(&a, 5 * MS, 1);
    CHECK(flight.first_sent_time == 5 * MS && flight.delivered_time == 5 * MS);
    sends_many(&b, 9 * MS, 1);
    CHECK(flight.first_sent_time == 5 * MS && flight.delivered_time == 5 * MS);
    hears(&a, 25 * MS, 0, 0);
    sends_many(&a, 26 * MS, 1); /* b's is still out */
    CHECK(flight.first_sent_time == 5 * MS && flight.delivered_time == 25 * MS);
    hears(&b, 29 * MS, 0, 0);
    hears(&a, 46 * MS, 1, 1);
    sends_many(&b, 90 * MS, 1);
    CHECK(flight.first_sent_time == 90 * MS && flight.delivered_time == 90 * MS);
    end_both();
}

TEST(the_first_sent_time_never_goes_back) {
    start_both();
    sends_many(&a, 0, 1);
    sends_many(&b, 10 * MS, 1);
    hears(&b, 30 * MS, 0, 0);
    CHECK_EQ(flight.first_sent_time, 10 * MS);
    hears(&a, 35 * MS, 0, 0); /* sent before it, heard of after it */
    CHECK_EQ(flight.first_sent_time, 10 * MS);
    CHECK_EQ(flight.delivered_time, 35 * MS);
    end_both();
}

/* ---- application-limited ---- */

TEST(one_without_data_does_not_limit_the_path) {
    start_both();
    sends_many(&a, 0, 2);
    srm_sent_app_limited(&a.sent, false);
    CHECK_EQ(a.sent.app_limited_until, 2000);
    CHECK_EQ(flight.app_limited_until, 0);
    sends_many(&a, 1 * MS, 1);
    sends_many(&b, 1 * MS, 1);
    hears(&a, 21 * MS, 0, 2);
    CHECK(!a.event.sample.rate_app_limited);
    CHECK_EQ(a.sent.app_limited_until, 0); /* its own is over */
    hears(&b, 21 * MS, 0, 0);
    CHECK(!b.event.sample.rate_app_limited);
    end_both();
}

TEST(all_without_data_limit_the_path) {
    start_both();
    sends_many(&a, 0, 2);
    sends_many(&b, 0, 3);
    srm_sent_app_limited(&a.sent, true);
    CHECK_EQ(a.sent.app_limited_until, 2000);
    CHECK_EQ(b.sent.app_limited_until, 0);
    CHECK_EQ(flight.app_limited_until, 5000);
    sends_many(&b, 1 * MS, 1); /* whoever sends: its sample tells the applications' rate */
    hears(&b, 21 * MS, 0, 3);
    CHECK(b.event.sample.rate_app_limited);
    CHECK_EQ(flight.app_limited_until, 5000); /* 4000 were delivered */
    hears(&a, 21 * MS, 0, 1);
    CHECK_EQ(flight.app_limited_until, 0);
    sends_many(&a, 22 * MS, 1);
    hears(&a, 42 * MS, 2, 2);
    CHECK(!a.event.sample.rate_app_limited);
    end_both();
}

TEST(a_limit_is_noted_although_nothing_was_ever_sent) {
    start_both();
    srm_sent_app_limited(&a.sent, true);
    CHECK(a.sent.app_limited_until == 1 && flight.app_limited_until == 1);
    end_both();
}

/* ---- standing aside ---- */

TEST(who_stands_aside_takes_its_bytes_out_and_back_in) {
    start_both();
    sends_many(&a, 0, 3);
    sends_many(&b, 0, 2);
    for (int i = 0; i < 2; i++) { /* twice is as once */
        srm_sent_stand_aside(&a.sent, true);
        CHECK(a.sent.in_flight == 3000 && flight.in_flight == 2000);
    }
    sends_many(&a, 1 * MS, 1); /* its probes don't count either */
    CHECK(a.sent.in_flight == 4000 && flight.in_flight == 2000);
    sends_many(&b, 1 * MS, 1);
    CHECK_EQ(flight.in_flight, 3000);
    for (int i = 0; i < 2; i++) {
        srm_sent_stand_aside(&a.sent, false);
        CHECK_EQ(flight.in_flight, 7000);
    }
    end_both();
}

TEST(what_is_acknowledged_aside_does_not_come_back) {
    start_both();
    sends_many(&a, 0, 4);
    sends_many(&b, 0, 2);
    srm_sent_stand_aside(&a.sent, true);
    hears(&a, 20 * MS, 0, 2);
    CHECK(a.sent.in_flight == 1000 && flight.in_flight == 2000);
    CHECK_EQ(flight.delivered, 3000); /* it did arrive */
    srm_sent_stand_aside(&a.sent, false);
    CHECK_EQ(flight.in_flight, 3000);
    end_both();
}

TEST(what_is_lost_aside_does_not_come_back) {
    start_both();
    sends_many(&a, 0, 5);
    sends_many(&b, 0, 2);
    srm_sent_stand_aside(&a.sent, true);
    hears(&a, 20 * MS, 4, 4); /* 0 and 1 by count */
    CHECK(a.sent.in_flight == 2000 && flight.in_flight == 2000);
    waits(&a, 100 * MS); /* 2 and 3 by time */
    CHECK(a.sent.in_flight == 0 && flight.in_flight == 2000);
    CHECK_EQ(flight.lost, 4000);
    srm_sent_stand_aside(&a.sent, false);
    CHECK_EQ(flight.in_flight, 2000);
    end_both();
}

/* ---- leaving ---- */

static void leaves_by_fini(void) {
    srm_sent_fini(&a.sent);
    start(&a, &flight);
}
static void leaves_by_discard(void) {
    srm_sent_discard(&a.sent, &a.sink);
}
static void leaves_by_move(void) {
    static srm_flight other;
    other = (srm_flight){.in_flight = 77};
    srm_sent_move(&a.sent, &other, false);
    CHECK_EQ(other.in_flight, 77); /* what it had is of no path now */
    srm_sent_move(&a.sent, &flight, false);
}

static void (*const leaves[])(void) = {leaves_by_fini, leaves_by_discard, leaves_by_move};

TEST(who_leaves_takes_its_bytes_out) {
    for (size_t i = 0; i < SRM_COUNT_OF(leaves); i++) {
        start_both();
        sends_many(&a, 0, 3);
        sends_many(&b, 0, 2);
        leaves[i]();
        CHECK(a.sent.in_flight == 0 && flight.in_flight == 2000);
        sends_many(&a, 1 * MS, 1); /* a new beginning */
        CHECK(a.sent.in_flight == 1000 && flight.in_flight == 3000);
        end_both();
    }
}

TEST(who_leaves_from_aside_takes_nothing_out_twice) {
    for (size_t i = 0; i < SRM_COUNT_OF(leaves); i++) {
        start_both();
        sends_many(&a, 0, 3);
        sends_many(&b, 0, 2);
        srm_sent_stand_aside(&a.sent, true);
        leaves[i]();
        CHECK(a.sent.in_flight == 0 && flight.in_flight == 2000);
        sends_many(&a, 1 * MS, 1); /* and counts again */
        CHECK_EQ(flight.in_flight, 3000);
        end_both();
    }
}

TEST(an_old_path_hears_nothing_more_and_a_new_one_nothing_of_it) {
    srm_flight other = {.in_flight = 0};
    start_both();
    sends_many(&a, 0, 8);
    sends_many(&b, 0, 1);
    srm_sent_move(&a.sent, &other, false);
    hears(&a, 20 * MS, 5, 7); /* the last three, and losses before them */
    CHECK(a.event.acked_packets == 3 && a.event.lost_packets == 5);
    CHECK(!a.event.has_sample && !a.event.sample.rate_valid);
    CHECK(flight.in_flight == 1000 && flight.delivered == 0 && flight.lost == 0);
    CHECK(other.in_flight == 0 && other.delivered == 0 && other.lost == 0 && other.delivered_time == 0);
    sends_many(&a, 21 * MS, 1);
    CHECK(flight.in_flight == 1000 && other.in_flight == 1000);
    hears(&a, 41 * MS, 8, 8);
    CHECK(a.event.sample.rate_delivered == 1000 && other.delivered == 1000 && flight.delivered == 0);
    end_both();
}

/* ---- the same path under another address ---- */

static srm_flight copy_with(uint64_t in_flight) {
    srm_flight copy = flight;
    copy.in_flight = in_flight;
    return copy;
}

TEST(the_same_path_goes_on_under_another_address) {
    start_both();
    sends_many(&a, 0, 5);
    sends_many(&b, 0, 2);
    hears(&a, 20 * MS, 0, 1);
    srm_flight copy = copy_with(a.sent.in_flight);
    srm_sent_move(&a.sent, &copy, true);
    CHECK(a.sent.in_flight == 3000 && copy.in_flight == 3000 && flight.in_flight == 2000);
    hears(&a, 21 * MS, 2, 3); /* sent there, but the way is the same */
    CHECK(a.event.has_sample && a.event.sample.rate_valid);
    CHECK_EQ(a.event.sample.rate_delivered, 4000);
    CHECK(copy.delivered == 4000 && copy.in_flight == 1000 && copy.delivered_time == 21 * MS);
    CHECK(flight.delivered == 2000 && flight.in_flight == 2000 && flight.delivered_time == 20 * MS);
    end_both();
    CHECK_EQ(copy.in_flight, 0);
}

TEST(who_moves_from_aside_is_still_aside) {
    start_both();
    sends_many(&a, 0, 3);
    sends_many(&b, 0, 2);
    srm_sent_stand_aside(&a.sent, true);
    srm_flight copy = copy_with(0);
    srm_sent_move(&a.sent, &copy, true);
    CHECK(copy.in_flight == 0 && flight.in_flight == 2000);
    srm_sent_stand_aside(&a.sent, false);
    CHECK(copy.in_flight == 3000 && flight.in_flight == 2000);
    end_both();
    CHECK_EQ(copy.in_flight, 0);
}

/* ---- everything at random ---- */

#define LINKS 5
#define PATHS 3

static uint64_t random_state = 88172645463325252u;
static uint64_t next_random(uint64_t below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static void check_sums(const host links[LINKS], const srm_flight paths[PATHS]) {
    for (int p = 0; p < PATHS; p++) {
        uint64_t sum = 0;
        for (int i = 0; i < LINKS; i++)
            if (links[i].sent.flight == &paths[p] && !links[i].sent.aside)
                sum += links[i].sent.in_flight;
        CHECK_EQ(paths[p].in_flight, sum);
    }
}

static void moves(host *link, srm_flight *to, bool joins) {
    bool same = !joins && link->sent.flight != to;
    if (same) {
        *to = *link->sent.flight;
        to->in_flight = link->sent.aside ? 0 : link->sent.in_flight;
    }
    srm_sent_move(&link->sent, to, same);
}

static bool is_used(const host links[LINKS], const srm_flight *path) {
    for (int i = 0; i < LINKS; i++)
        if (links[i].sent.flight == path)
            return true;
    return false;
}

static void does_something(host links[LINKS], srm_flight paths[PATHS], srm_time now) {
    host *link = &links[next_random(LINKS)];
    srm_flight *path = &paths[next_random(PATHS)];
    uint64_t first = link->sent.base, end = link->sent.next;
    switch (next_random(16)) {
    case 0:
        srm_sent_stand_aside(&link->sent, next_random(2) == 0);
        break;
    case 1:
        moves(link, path, is_used(links, path));
        break;
    case 2:
        if (next_random(4) == 0)
            srm_sent_discard(&link->sent, &link->sink);
        break;
    case 3:
        if (next_random(4) != 0)
            break;
        srm_sent_fini(&link->sent);
        start(link, path);
        break;
    case 4:
    case 5:
        waits(link, now);
        break;
    case 6:
    case 7:
    case 8:
        if (first < end) {
            uint64_t last = first + next_random(end - first);
            hears(link, now, last - next_random(last - first + 1), last);
        }
        break;
    case 9:
        srm_sent_app_limited(&link->sent, next_random(2) == 0);
        break;
    default:
        sends(link, now, 1 + next_random(1400), (unsigned)next_random(16));
        break;
    }
}

TEST(whatever_happens_the_sums_are_right) {
    static host links[LINKS];
    srm_flight paths[PATHS];
    memset(paths, 0, sizeof paths);
    for (int i = 0; i < LINKS; i++)
        start(&links[i], &paths[i % PATHS]);
    srm_time now = 0;
    for (int i = 0; i < 200000; i++) {
        now += (srm_time)next_random(MS);
        does_something(links, paths, now);
        check_sums(links, paths);
    }
    for (int i = 0; i < LINKS; i++)
        srm_sent_fini(&links[i].sent);
    for (int p = 0; p < PATHS; p++)
        CHECK_EQ(paths[p].in_flight, 0);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
