#include "copies.h"

#include "check.h"

#define MS SRM_MILLISECOND
#define RATE ((uint64_t)1000000)

static srm_copies fresh(void) {
    srm_copies copies;
    srm_copies_init(&copies, 0);
    return copies;
}

static srm_copies after_loss(uint64_t acked, uint64_t lost) {
    srm_copies copies = fresh();
    for (int i = 0; i < 100; i++)
        srm_copies_on_event(&copies, 0, acked, lost);
    return copies;
}

TEST(nothing_is_copied_where_nothing_was_lost) {
    srm_copies copies = fresh();
    srm_copies_on_event(&copies, 0, 1000, 0);
    CHECK_EQ(srm_copies_wanted(&copies, 0), 0);
    srm_copies_note(&copies, 0, 1, 5, 100, 7, 50 * MS);
    CHECK_EQ(srm_copies_deadline(&copies), SRM_TIME_NEVER);
    srm_copies_fini(&copies);
}

TEST(the_more_is_lost_the_more_copies) {
    srm_copies copies = after_loss(999, 1);
    CHECK_EQ(srm_copies_wanted(&copies, 0), 1);
    srm_copies_fini(&copies);
    copies = after_loss(95, 5);
    CHECK_EQ(srm_copies_wanted(&copies, 0), 2);
    srm_copies_fini(&copies);
    copies = after_loss(80, 20);
    CHECK_EQ(srm_copies_wanted(&copies, 0), 3);
    srm_copies_fini(&copies);
}

TEST(a_loss_is_forgotten_after_its_time) {
    srm_copies copies = after_loss(95, 5);
    CHECK_EQ(srm_copies_wanted(&copies, SRM_COPIES_MEMORY), 2);
    CHECK_EQ(srm_copies_wanted(&copies, SRM_COPIES_MEMORY + 1), 0);
    srm_copies_fini(&copies);
}

TEST(copies_go_into_later_packets_only_and_so_often) {
    srm_copies copies = after_loss(95, 5);
    srm_copies_note(&copies, 0, 3, 40, 100, 7, 50 * MS);
    size_t at = 0;
    CHECK(srm_copies_next(&copies, 7, &at) == NULL);
    for (uint64_t packet = 8; packet < 10; packet++) {
        at = 0;
        const srm_copy *copy = srm_copies_next(&copies, packet, &at);
        CHECK(copy != NULL);
        CHECK_EQ(copy->channel, 3);
        CHECK_EQ(copy->number, 40);
        srm_copies_sent(&copies, 0, &at, packet, 50 * MS);
        at = 0;
        CHECK(srm_copies_next(&copies, packet, &at) == NULL);
    }
    at = 0;
    CHECK(srm_copies_next(&copies, 10, &at) == NULL);
    srm_copies_fini(&copies);
}

TEST(all_that_wait_ride_on_one_packet) {
    srm_copies copies = after_loss(95, 5);
    for (uint64_t number = 0; number < 3; number++)
        srm_copies_note(&copies, 0, 0, number, 100, number, 50 * MS);
    size_t at = 0;
    for (uint64_t number = 0; number < 3; number++) {
        CHECK_EQ(srm_copies_next(&copies, 9, &at)->number, number);
        srm_copies_sent(&copies, 0, &at, 9, 50 * MS);
    }
    CHECK(srm_copies_next(&copies, 9, &at) == NULL);
    srm_copies_fini(&copies);
}

TEST(what_was_acknowledged_is_dropped) {
    srm_copies copies = after_loss(95, 5);
    srm_copies_note(&copies, 0, 0, 1, 100, 1, 50 * MS);
    srm_copies_note(&copies, 0, 0, 2, 100, 2, 50 * MS);
    size_t at = 0;
    CHECK_EQ(srm_copies_next(&copies, 9, &at)->number, 1);
    srm_copies_drop(&copies, at);
    CHECK_EQ(srm_copies_next(&copies, 9, &at)->number, 2);
    srm_copies_drop(&copies, at);
    CHECK(srm_copies_next(&copies, 9, &at) == NULL);
    CHECK_EQ(srm_copies_deadline(&copies), SRM_TIME_NEVER);
    srm_copies_fini(&copies);
}

TEST(large_messages_and_too_many_do_without) {
    srm_copies copies = after_loss(95, 5);
    srm_copies_note(&copies, 0, 0, 1, SRM_COPIES_SIZE_MAX + 1, 1, 50 * MS);
    CHECK_EQ(srm_copies_deadline(&copies), SRM_TIME_NEVER);
    for (uint64_t number = 0; number < SRM_COPIES_WAITING_MAX + 5; number++)
        srm_copies_note(&copies, 0, 0, number, SRM_COPIES_SIZE_MAX, 1, 50 * MS);
    size_t at = 0, count = 0;
    while (srm_copies_next(&copies, 2, &at) != NULL) {
        srm_copies_drop(&copies, at);
        count++;
    }
    CHECK_EQ(count, SRM_COPIES_WAITING_MAX);
    srm_copies_fini(&copies);
}

TEST(a_packet_of_its_own_when_none_follows_in_time) {
    srm_copies copies = after_loss(95, 5);
    srm_copies_note(&copies, 100 * MS, 0, 1, 100, 1, 40 * MS);
    CHECK_EQ(srm_copies_deadline(&copies), 105 * MS);
    srm_copies_fini(&copies);
    copies = after_loss(95, 5);
    srm_copies_note(&copies, 0, 0, 1, 100, 1, MS);
    CHECK_EQ(srm_copies_deadline(&copies), SRM_COPIES_WAIT_MIN);
    srm_copies_fini(&copies);
    copies = after_loss(95, 5);
    srm_copies_note(&copies, 0, 0, 1, 100, 1, SRM_SECOND);
    CHECK_EQ(srm_copies_deadline(&copies), SRM_COPIES_WAIT_MAX);
    srm_copies_fini(&copies);
}

TEST(the_budget_is_bytes_and_refills) {
    srm_copies copies = fresh();
    CHECK(srm_copies_afford(&copies, 0, RATE, SRM_COPIES_BURST));
    CHECK(!srm_copies_afford(&copies, 0, RATE, 1));
    CHECK(!srm_copies_afford(&copies, MS, RATE, SRM_COPIES_RATE_MIN / 1000 + 1));
    CHECK(srm_copies_afford(&copies, MS, RATE, SRM_COPIES_RATE_MIN / 1000));
    CHECK(!srm_copies_afford(&copies, 3600 * SRM_SECOND, RATE, SRM_COPIES_BURST + 1));
    CHECK(srm_copies_afford(&copies, 3600 * SRM_SECOND, RATE, SRM_COPIES_BURST));
    /* A fast path may spend its share. */
    CHECK(srm_copies_afford(&copies, 3600 * SRM_SECOND + MS, 16 * SRM_COPIES_RATE_SHARE * RATE,
                            16 * RATE / 1000));
    srm_copies_fini(&copies);
}

TEST(asking_often_loses_nothing_of_the_budget) {
    srm_copies copies = fresh();
    CHECK(srm_copies_afford(&copies, 0, RATE, SRM_COPIES_BURST));
    for (srm_time now = 0; now < 10 * MS; now += 100)
        CHECK(!srm_copies_afford(&copies, now, RATE, 4000));
    CHECK(srm_copies_afford(&copies, 20 * MS, RATE, SRM_COPIES_RATE_MIN / 50 - 200));
    srm_copies_fini(&copies);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
