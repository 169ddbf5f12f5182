#include "pacer.h"

#include "check.h"

#define MS SRM_MILLISECOND

static uint64_t random_state = 88172645463325252u;
static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static srm_pacer empty_pacer(srm_time now, uint64_t rate, uint64_t quantum) {
    srm_pacer pacer;
    srm_pacer_init(&pacer, now);
    srm_pacer_on_sent(&pacer, now, srm_pacer_allowance(&pacer, now, rate, quantum));
    return pacer;
}

TEST(a_new_pacer_gives_one_full_bucket) {
    srm_pacer pacer;
    srm_pacer_init(&pacer, 7 * MS);
    CHECK_EQ(srm_pacer_deadline(&pacer, 7 * MS, 1000000, 3000), 7 * MS);
    CHECK_EQ(srm_pacer_allowance(&pacer, 7 * MS, 1000000, 3000), 3000 + 5000); /* 5 ms of 1 MB/s */
    srm_pacer_on_sent(&pacer, 7 * MS, 8000);
    CHECK_EQ(srm_pacer_allowance(&pacer, 7 * MS, 1000000, 3000), 0);
}

TEST(the_deadline_is_the_first_nanosecond_with_a_quantum) {
    for (int i = 0; i < 20000; i++) {
        uint64_t rate = 1 + (next_random() >> (24 + next_random() % 40));
        uint64_t quantum = 1 + next_random() % 65536;
        srm_time now = (srm_time)(next_random() % 1000000000000u);
        srm_pacer pacer = empty_pacer(now, rate, quantum);
        srm_time at = srm_pacer_deadline(&pacer, now, rate, quantum);
        CHECK(at > now);
        srm_pacer early = pacer;
        CHECK_EQ(srm_pacer_allowance(&early, at - 1, rate, quantum), 0);
        CHECK(srm_pacer_allowance(&pacer, at, rate, quantum) >= quantum);
    }
}

TEST(asking_often_loses_nothing) {
    srm_pacer pacer = empty_pacer(0, 999999937, 65536);
    srm_pacer once = pacer;
    srm_time at = srm_pacer_deadline(&pacer, 0, 999999937, 65536);
    for (srm_time now = 1; now < at; now += 3)
        CHECK_EQ(srm_pacer_allowance(&pacer, now, 999999937, 65536), 0);
    CHECK_EQ(srm_pacer_deadline(&pacer, at - 1, 999999937, 65536), at);
    CHECK_EQ(srm_pacer_allowance(&pacer, at, 999999937, 65536),
             srm_pacer_allowance(&once, at, 999999937, 65536));
}

/* Bytes sent in one second by a sender whose timer is late by up to `late`. */
static uint64_t bytes_of_a_second(uint64_t rate, uint64_t quantum, srm_time late) {
    srm_pacer pacer = empty_pacer(0, rate, quantum);
    uint64_t total = 0;
    for (srm_time now = 0; now < SRM_SECOND;) {
        now = srm_pacer_deadline(&pacer, now, rate, quantum);
        if (late > 0)
            now += (srm_time)(next_random() % (uint64_t)late);
        uint64_t bytes = srm_pacer_allowance(&pacer, now, rate, quantum);
        CHECK(bytes >= quantum);
        srm_pacer_on_sent(&pacer, now, bytes);
        total += bytes;
    }
    return total;
}

TEST(the_rate_is_kept) {
    uint64_t bytes = bytes_of_a_second(12500000, 12500, 0);
    CHECK(bytes >= 12500000 && bytes <= 12500000 + 12500);
}

TEST(late_timers_are_made_up_for) {
    uint64_t bytes = bytes_of_a_second(12500000, 12500, SRM_PACER_LATE);
    CHECK(bytes >= 12500000 - 12500 && bytes <= 12500000 + 12500 + 62500 + 12500);
}

TEST(very_late_timers_are_not) {
    uint64_t bytes = bytes_of_a_second(12500000, 12500, 40 * MS);
    CHECK(bytes < 12500000 / 2);
}

TEST(silence_is_not_saved_up) {
    srm_pacer pacer = empty_pacer(0, 12500000, 12500);
    CHECK_EQ(srm_pacer_allowance(&pacer, 3600 * SRM_SECOND, 12500000, 12500), 12500 + 12500); /* and 1 ms */
}

TEST(a_debt_is_paid_first) {
    srm_pacer pacer = empty_pacer(0, 1000000, 3000);
    srm_time at = srm_pacer_deadline(&pacer, 0, 1000000, 3000);
    srm_pacer_on_sent(&pacer, 0, 2000); /* probes: 2 ms at 1 MB/s */
    CHECK_EQ(srm_pacer_deadline(&pacer, 0, 1000000, 3000), at + 2 * MS);
}

TEST(a_debt_has_an_end) {
    srm_pacer pacer = empty_pacer(0, 1000000, 3000);
    for (int i = 0; i < 100; i++)
        srm_pacer_on_sent(&pacer, 0, UINT64_MAX);
    CHECK(srm_pacer_deadline(&pacer, 0, 1000000, 3000) < 3600 * SRM_SECOND);
}

TEST(a_new_rate_counts_at_once) {
    srm_pacer pacer = empty_pacer(0, 1000, 3000);
    CHECK_EQ(srm_pacer_deadline(&pacer, 0, 1000, 3000), 3 * SRM_SECOND);
    CHECK_EQ(srm_pacer_deadline(&pacer, 0, 1000000, 3000), 3 * MS);
    CHECK_EQ(srm_pacer_allowance(&pacer, 3 * MS, 1000000, 3000), 3000);
}

TEST(what_is_more_than_a_quantum_comes_all_at_once) {
    srm_pacer pacer = empty_pacer(0, 1000000, 3000);
    CHECK_EQ(srm_pacer_allowance(&pacer, 5 * MS, 1000000, 3000), 5000);
    CHECK_EQ(srm_pacer_allowance(&pacer, 5 * MS, 1000000, 6000), 0); /* a larger quantum waits for the rest */
}

TEST(time_that_stands_still_or_goes_back_gives_nothing) {
    srm_pacer pacer = empty_pacer(5 * MS, 1000000, 3000);
    CHECK_EQ(srm_pacer_allowance(&pacer, 5 * MS, 1000000, 3000), 0);
    CHECK_EQ(srm_pacer_allowance(&pacer, 0, 1000000, 3000), 0);
    CHECK_EQ(srm_pacer_allowance(&pacer, 8 * MS, 1000000, 3000), 3000);
}

TEST(no_rate_overflows) {
    static const uint64_t rates[] = {1, 1000, (uint64_t)1 << 40, INT64_MAX};
    for (size_t i = 0; i < SRM_COUNT_OF(rates); i++) {
        srm_pacer pacer = empty_pacer(0, rates[i], SRM_PACER_CAPACITY_MAX);
        srm_time at = srm_pacer_deadline(&pacer, 0, rates[i], SRM_PACER_CAPACITY_MAX);
        CHECK(at > 0);
        CHECK_EQ(srm_pacer_allowance(&pacer, at, rates[i], SRM_PACER_CAPACITY_MAX), SRM_PACER_CAPACITY_MAX);
        CHECK_EQ(srm_pacer_allowance(&pacer, INT64_MAX - 1, rates[i], SRM_PACER_CAPACITY_MAX),
                 SRM_PACER_CAPACITY_MAX);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
