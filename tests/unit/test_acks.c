#include "acks.h"

#include "check.h"

#define MS SRM_MILLISECOND
#define US SRM_MICROSECOND

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void arrive(srm_acks *acks, uint64_t number, srm_time now) {
    srm_acks_on_packet(acks, number, now, true, SRM_ECN_NONE, false);
}

/* Writes into `out`, which must be large enough; the size, 0 when nothing was written. */
static size_t write_into(srm_acks *acks, srm_time now, uint8_t *out, size_t room) {
    srm_writer w = srm_writer_of(out, room);
    uint64_t largest = 0;
    if (!srm_acks_write(acks, now, &w, room, &largest))
        CHECK_EQ(srm_writer_used(&w), 0);
    else
        CHECK(!w.failed && srm_writer_used(&w) <= room);
    return srm_writer_used(&w);
}

static bool read_from(const uint8_t *bytes, size_t size, srm_ack_frame *frame) {
    srm_reader r = srm_reader_of(srm_span_of(bytes + 1, size - 1));
    return srm_ack_read(&r, bytes[0], frame) && srm_reader_left(&r) == 0;
}

/* ---- when ---- */

TEST(nothing_is_due_before_anything_arrives) {
    srm_acks acks;
    uint8_t out[64];
    srm_acks_init(&acks, 5 * MS);
    CHECK_EQ(srm_acks_deadline(&acks), SRM_TIME_NEVER);
    CHECK(!srm_acks_due(&acks, 1000 * SRM_SECOND));
    CHECK(!srm_acks_pending(&acks));
    CHECK_EQ(write_into(&acks, 0, out, sizeof out), 0);
    srm_acks_on_ack_acked(&acks, 7); /* nonsense, but harmless */
    srm_acks_on_packet(&acks, 0, 1, false, SRM_ECN_NONE, false);
    CHECK_EQ(srm_acks_deadline(&acks), SRM_TIME_NEVER); /* not ack-eliciting */
    CHECK(!srm_acks_pending(&acks));
    CHECK(write_into(&acks, 1, out, sizeof out) > 0); /* but can be told */
    srm_acks_fini(&acks);
}

TEST(the_second_packet_is_acknowledged_at_once_the_first_after_the_delay) {
    srm_acks acks;
    uint8_t out[64];
    srm_acks_init(&acks, 5 * MS);
    arrive(&acks, 0, 10 * MS);
    CHECK(srm_acks_pending(&acks));
    CHECK_EQ(srm_acks_deadline(&acks), 15 * MS);
    CHECK(!srm_acks_due(&acks, 15 * MS - 1));
    CHECK(srm_acks_due(&acks, 15 * MS));
    arrive(&acks, 1, 12 * MS);
    CHECK_EQ(srm_acks_deadline(&acks), 12 * MS);
    CHECK(write_into(&acks, 12 * MS, out, sizeof out) > 0);
    CHECK_EQ(srm_acks_deadline(&acks), SRM_TIME_NEVER);
    CHECK(!srm_acks_pending(&acks));
    srm_acks_fini(&acks);
}

TEST(the_delay_is_a_quarter_of_the_rtt_at_most_and_bounded_below) {
    static const srm_time cases[][2] = {
        {100 * MS, 5 * MS}, {20 * MS, 5 * MS}, {8 * MS, 2 * MS}, {4 * MS, MS}, {1, SRM_ACKS_DELAY_MIN}};
    for (size_t i = 0; i < SRM_COUNT_OF(cases); i++) {
        srm_acks acks;
        srm_acks_init(&acks, 5 * MS);
        srm_acks_set_rtt(&acks, cases[i][0]);
        arrive(&acks, 0, SRM_SECOND);
        CHECK_EQ(srm_acks_deadline(&acks), SRM_SECOND + cases[i][1]);
        srm_acks_fini(&acks);
    }
    srm_acks acks;
    srm_acks_init(&acks, 0); /* a promise of no delay is kept */
    arrive(&acks, 0, 3);
    CHECK(srm_acks_due(&acks, 3));
    srm_acks_fini(&acks);
}

TEST(gap_reordering_ce_and_request_are_answered_at_once) {
    srm_acks acks;
    uint8_t out[64];
    srm_acks_init(&acks, 5 * MS);
    arrive(&acks, 1, 1); /* 0 is missing */
    CHECK(srm_acks_due(&acks, 1));
    CHECK(write_into(&acks, 1, out, sizeof out) > 0);
    arrive(&acks, 2, 2);
    CHECK(!srm_acks_due(&acks, 2)); /* the gap was told: no new one */
    CHECK(write_into(&acks, 2, out, sizeof out) > 0);
    arrive(&acks, 0, 3); /* late */
    CHECK(srm_acks_due(&acks, 3));
    CHECK(write_into(&acks, 3, out, sizeof out) > 0);
    srm_acks_on_packet(&acks, 3, 4, true, SRM_ECN_CE, false);
    CHECK(srm_acks_due(&acks, 4));
    CHECK(write_into(&acks, 4, out, sizeof out) > 0);
    srm_acks_on_packet(&acks, 4, 5, true, SRM_ECN_ECT0, true);
    CHECK(srm_acks_due(&acks, 5));
    CHECK(write_into(&acks, 5, out, sizeof out) > 0);
    srm_acks_on_packet(&acks, 6, 6, false, SRM_ECN_NONE, false); /* a gap, but nobody waits for the answer */
    CHECK(!srm_acks_due(&acks, 6));
    srm_acks_fini(&acks);
}

/* ACKs written for `packets` that come evenly, `per_rtt` in each RTT of 40 ms, after two RTTs of the same. */
static uint32_t acks_for(uint32_t per_rtt, uint32_t packets) {
    srm_acks acks;
    uint8_t out[512];
    uint32_t written = 0;
    srm_acks_init(&acks, 1000 * SRM_SECOND);
    srm_acks_set_rtt(&acks, 40 * MS);
    acks.srtt = 40 * MS;
    for (uint32_t i = 0; i < packets + 3 * per_rtt; i++) {
        srm_time now = SRM_SECOND + (srm_time)i * 40 * MS / per_rtt;
        arrive(&acks, i, now);
        bool every = acks.waiting >= acks.every; /* the rule by count alone, without the delay */
        if (every && i >= 3 * per_rtt)
            written++;
        if (every)
            CHECK(write_into(&acks, now, out, sizeof out) > 0);
    }
    srm_acks_fini(&acks);
    return written;
}

TEST(busy_links_get_an_ack_for_an_eighth_of_the_packets_of_an_rtt) {
    CHECK_EQ(acks_for(10, 960), 480);
    CHECK_EQ(acks_for(48, 960), 480);
    CHECK_EQ(acks_for(80, 960), 96);    /* every 10th */
    CHECK_EQ(acks_for(256, 9600), 300); /* every 32nd */
    CHECK_EQ(acks_for(4000, 9600), 300);
}

TEST(the_first_packet_after_a_pause_ends_the_busy_mode) {
    srm_acks acks;
    uint8_t out[64];
    srm_acks_init(&acks, 5 * MS);
    srm_acks_set_rtt(&acks, 40 * MS);
    uint64_t number = 0;
    for (; number < 3000; number++)
        arrive(&acks, number, SRM_SECOND + (srm_time)number * 100 * US);
    CHECK_EQ(acks.every, 32);
    CHECK(write_into(&acks, 2 * SRM_SECOND, out, sizeof out) > 0);
    arrive(&acks, number, 9 * SRM_SECOND);
    CHECK_EQ(acks.every, 2);
    CHECK_EQ(srm_acks_deadline(&acks), 9 * SRM_SECOND + 5 * MS);
    srm_acks_fini(&acks);
}

/* ---- what ---- */

TEST(a_frame_has_the_bytes_of_rfc_9000) {
    static const uint64_t numbers[] = {0, 1, 4, 5, 6, 300};
    static const uint8_t expected[] = {0x02,
                                       0x41,
                                       0x2c /* largest 300 */,
                                       0x40,
                                       0x7d /* 1000 us in units of 8 */,
                                       0x02,
                                       0x00,
                                       0x41,
                                       0x24 /* 300 - 6 - 2 */,
                                       0x02 /* 4..6 */,
                                       0x01 /* 2, 3 */,
                                       0x01 /* 0, 1 */};
    srm_acks acks;
    uint8_t out[64];
    srm_acks_init(&acks, 5 * MS);
    for (size_t i = 0; i < SRM_COUNT_OF(numbers); i++)
        arrive(&acks, numbers[i], 5 * MS);
    CHECK_EQ(write_into(&acks, 6 * MS, out, sizeof out), sizeof expected);
    CHECK_MEM(out, expected, sizeof expected);
    srm_ack_frame frame;
    CHECK(read_from(out, sizeof expected, &frame));
    CHECK_EQ(frame.largest, 300);
    CHECK_EQ(frame.delay, 1 * MS);
    CHECK(!frame.has_ecn);
    static const srm_range ranges[] = {{300, 301}, {4, 7}, {0, 2}};
    srm_ack_iter iter = srm_ack_iter_of(&frame);
    srm_range range;
    for (size_t i = 0; i < SRM_COUNT_OF(ranges); i++) {
        CHECK(srm_ack_iter_next(&iter, &range));
        CHECK_EQ(range.start, ranges[i].start);
        CHECK_EQ(range.end, ranges[i].end);
    }
    CHECK(!srm_ack_iter_next(&iter, &range));
    srm_acks_fini(&acks);
}

TEST(ecn_counts_travel_once_there_are_any) {
    srm_acks acks;
    uint8_t out[64];
    srm_ack_frame frame;
    srm_acks_init(&acks, 5 * MS);
    static const srm_ecn marks[] = {SRM_ECN_ECT0, SRM_ECN_ECT0, SRM_ECN_ECT0,
                                    SRM_ECN_ECT1, SRM_ECN_CE,   SRM_ECN_CE};
    for (size_t i = 0; i < SRM_COUNT_OF(marks); i++)
        srm_acks_on_packet(&acks, i, 0, true, marks[i], false);
    size_t size = write_into(&acks, 0, out, sizeof out);
    CHECK_EQ(out[0], SRM_ACK_ECN_TYPE);
    CHECK(read_from(out, size, &frame));
    CHECK(frame.has_ecn);
    CHECK_EQ(frame.ect0, 3);
    CHECK_EQ(frame.ect1, 1);
    CHECK_EQ(frame.ce, 2);
    for (size_t cut = 1; cut < size; cut++)
        CHECK(!read_from(out, cut, &frame));
    srm_acks_fini(&acks);
}

TEST(what_does_not_fit_is_left_out_lowest_first) {
    srm_acks acks;
    uint8_t out[512];
    srm_ack_frame frame;
    srm_acks_init(&acks, 5 * MS);
    for (uint64_t i = 0; i < 40; i++)
        arrive(&acks, i * 3, 0);
    size_t whole = write_into(&acks, 0, out, sizeof out);
    CHECK_EQ(whole, 6 + 39 * 2); /* largest 117 takes two bytes */
    CHECK_EQ(write_into(&acks, 0, out, 5), 0);
    arrive(&acks, 118, 0);
    CHECK_EQ(write_into(&acks, 0, out, 5), 0);
    CHECK(srm_acks_pending(&acks)); /* a failed try changes nothing */
    CHECK(srm_acks_deadline(&acks) != SRM_TIME_NEVER);
    for (size_t room = 6; room <= whole; room++) {
        size_t size = write_into(&acks, 0, out, room);
        CHECK(size >= room - 1);
        CHECK(read_from(out, size, &frame));
        CHECK_EQ(frame.largest, 118);
        CHECK_EQ(frame.range_count, (room - 6) / 2);
    }
    srm_acks_fini(&acks);
}

TEST(the_writer_bounds_the_room_too) {
    srm_acks acks;
    uint8_t out[8];
    srm_acks_init(&acks, 5 * MS);
    arrive(&acks, 0, 0);
    srm_writer w = srm_writer_of(out, 4);
    uint64_t largest;
    CHECK(!srm_acks_write(&acks, 0, &w, 100, &largest));
    CHECK(!w.failed);
    w = srm_writer_of(out, 5);
    CHECK(srm_acks_write(&acks, 0, &w, 100, &largest));
    CHECK_EQ(srm_writer_used(&w), 5);
    CHECK_EQ(largest, 0);
    srm_acks_fini(&acks);
}

TEST(sixty_four_ranges_are_kept) {
    srm_acks acks;
    uint8_t out[1024];
    srm_ack_frame frame;
    srm_acks_init(&acks, 5 * MS);
    for (uint64_t i = 0; i < 100; i++)
        arrive(&acks, i * 2, 0);
    arrive(&acks, 1, 0); /* below all that is remembered: forgotten at once */
    CHECK(read_from(out, write_into(&acks, 0, out, sizeof out), &frame));
    CHECK_EQ(frame.range_count, SRM_ACKS_RANGES_MAX - 1);
    CHECK_EQ(frame.largest, 198);
    srm_ack_iter iter = srm_ack_iter_of(&frame);
    srm_range range = {0, 0};
    while (srm_ack_iter_next(&iter, &range))
        ;
    CHECK_EQ(range.start, (100 - SRM_ACKS_RANGES_MAX) * 2);
    srm_acks_fini(&acks);
}

TEST(confirmed_acks_shorten_the_next_but_the_largest_stays) {
    srm_acks acks;
    uint8_t out[64];
    srm_ack_frame frame;
    srm_acks_init(&acks, 5 * MS);
    for (uint64_t i = 0; i < 10; i++)
        arrive(&acks, i * 2, 0);
    CHECK(write_into(&acks, 0, out, sizeof out) > 0);
    arrive(&acks, 19, 0);
    arrive(&acks, 21, 0);
    srm_acks_on_ack_acked(&acks, 18);
    CHECK(read_from(out, write_into(&acks, 0, out, sizeof out), &frame));
    CHECK_EQ(frame.largest, 21);
    CHECK_EQ(frame.range_count, 1);
    srm_acks_on_ack_acked(&acks, 21);
    arrive(&acks, 3, 8 * MS); /* late and old: told with the largest, whose delay is known */
    CHECK(read_from(out, write_into(&acks, 8 * MS, out, sizeof out), &frame));
    CHECK_EQ(frame.largest, 21);
    CHECK_EQ(frame.delay, 8 * MS);
    CHECK_EQ(frame.range_count, 1);
    srm_acks_trim(&acks);
    CHECK(acks.ranges.heap == NULL);
    srm_acks_fini(&acks);
}

TEST(a_receiver_that_only_acknowledges_asks_for_a_ping_now_and_then) {
    srm_acks acks;
    uint8_t out[512];
    srm_acks_init(&acks, 5 * MS);
    for (uint64_t i = 0; i < SRM_ACKS_UNCONFIRMED_MAX; i++) {
        arrive(&acks, i * 2, 0);
        CHECK(!srm_acks_take_elicit(&acks));
        CHECK(write_into(&acks, 0, out, sizeof out) > 0);
    }
    CHECK(srm_acks_take_elicit(&acks));
    CHECK(!srm_acks_take_elicit(&acks)); /* once */
    srm_acks_fini(&acks);

    srm_acks_init(&acks, 5 * MS);
    for (uint64_t i = 0; i < 1000; i++) {
        arrive(&acks, i, 0);
        CHECK(write_into(&acks, 0, out, sizeof out) > 0);
        CHECK(!srm_acks_take_elicit(&acks)); /* one range: nothing to cut */
    }
    srm_acks_fini(&acks);
}

TEST(malformed_frames_are_refused) {
    static const struct {
        uint8_t bytes[24];
        size_t size;
        bool good;
    } cases[] = {
        {{0x02, 5, 0, 0, 5}, 5, true},
        {{0x02, 5, 0, 0, 6}, 5, false}, /* first range below zero */
        {{0x02, 5, 0, 0}, 4, false},    /* cut off */
        {{0x02}, 1, false},
        {{0x02, 9, 0, 1, 0, 0, 7}, 7, true},  /* 9, then 0..7 */
        {{0x02, 9, 0, 1, 0, 0, 8}, 7, false}, /* length below zero */
        {{0x02, 9, 0, 1, 0, 7, 0}, 7, true},  /* 9 and 0 */
        {{0x02, 9, 0, 1, 0, 8, 0}, 7, false}, /* gap below zero */
        {{0x02, 1, 0, 1, 0, 0, 0}, 7, false}, /* 1, then 0 is the gap: nothing left */
        {{0x02, 9, 0, 1, 9, 0, 0}, 7, false}, /* a range below a range that reaches 0 */
        {{0x02, 9, 0, 2, 0, 0, 0}, 7, false}, /* fewer ranges than announced */
        {{0x02, 9, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0}, 14, false},
        {{0x02, 9, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, 14, false},
        {{0x02, 9, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 14, false},
        {{0x03, 5, 0, 0, 5, 1, 2, 3}, 8, true},
        {{0x03, 5, 0, 0, 5, 1, 2}, 7, false},
    };
    for (size_t i = 0; i < SRM_COUNT_OF(cases); i++) {
        srm_ack_frame frame;
        CHECK_EQ(read_from(cases[i].bytes, cases[i].size, &frame) ? (int)i : -1, cases[i].good ? (int)i : -1);
    }
}

TEST(an_absurd_delay_saturates) {
    static const uint8_t bytes[] = {0x02, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0};
    srm_ack_frame frame;
    CHECK(read_from(bytes, sizeof bytes, &frame));
    CHECK_EQ(frame.delay, SRM_ACK_DELAY_LIMIT);
}

TEST(the_largest_numbers_fit) {
    srm_acks acks;
    uint8_t out[64];
    srm_ack_frame frame;
    srm_acks_init(&acks, 5 * MS);
    arrive(&acks, 0, 0);
    arrive(&acks, SRM_VARINT_MAX, 0);
    CHECK(read_from(out, write_into(&acks, 0, out, sizeof out), &frame));
    CHECK_EQ(frame.largest, SRM_VARINT_MAX);
    srm_ack_iter iter = srm_ack_iter_of(&frame);
    srm_range range;
    CHECK(srm_ack_iter_next(&iter, &range) && srm_ack_iter_next(&iter, &range));
    CHECK_EQ(range.start, 0);
    CHECK_EQ(range.end, 1);
    srm_acks_fini(&acks);
}

/* Random arrivals, random prunings, random room: what is read is exactly the top of what is held. */
TEST(random_traces_survive_writing_and_reading) {
    for (uint64_t trace = 1; trace <= 200; trace++) {
        uint64_t seed = trace * UINT64_C(0x2545f4914f6cdd1d);
        srm_acks acks;
        srm_acks_init(&acks, 5 * MS);
        uint64_t top = 0;
        for (srm_time now = 0; now < 400 * US; now += US) {
            top += random_next(&seed) % 3;
            uint64_t number =
                top - srm_u64_min(top, random_next(&seed) % 4 == 0 ? random_next(&seed) % 50 : 0);
            srm_acks_on_packet(&acks, number, now, random_next(&seed) % 4 > 0,
                               (srm_ecn)(random_next(&seed) % 4), false);
            if (random_next(&seed) % 50 == 0)
                srm_acks_on_ack_acked(&acks, random_next(&seed) % (top + 1));
            uint8_t out[256];
            srm_ack_frame frame;
            size_t size = write_into(&acks, now, out, 30 + random_next(&seed) % 200);
            CHECK(size > 0 && read_from(out, size, &frame));
            CHECK_EQ(frame.largest, acks.end - 1);
            CHECK_EQ(frame.ce, acks.ce);
            srm_ack_iter iter = srm_ack_iter_of(&frame);
            uint32_t position = srm_rangeset_count(&acks.ranges);
            for (srm_range range; srm_ack_iter_next(&iter, &range);) {
                srm_range held = srm_rangeset_at(&acks.ranges, --position);
                CHECK(range.start == held.start && range.end == held.end);
            }
        }
        srm_acks_fini(&acks);
    }
}

/* Random bytes: whatever is accepted never leaves the numbers that exist. */
TEST(random_bytes_never_give_a_wrong_range) {
    uint64_t seed = 20260101, accepted = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[24];
        size_t size = 1 + random_next(&seed) % sizeof bytes;
        for (size_t k = 0; k < size; k++)
            bytes[k] = (uint8_t)(random_next(&seed) % (random_next(&seed) % 4 == 0 ? 256 : 16));
        srm_ack_frame frame;
        srm_reader r = srm_reader_of(srm_span_of(bytes, size));
        if (!srm_ack_read(&r, i % 2 == 0 ? SRM_ACK_TYPE : SRM_ACK_ECN_TYPE, &frame))
            continue;
        accepted++;
        srm_ack_iter iter = srm_ack_iter_of(&frame);
        uint64_t above = SRM_VARINT_MAX + 2;
        for (srm_range range; srm_ack_iter_next(&iter, &range); above = range.start)
            CHECK(range.start < range.end && range.end < above);
    }
    CHECK(accepted > 1000);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
