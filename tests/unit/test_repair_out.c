#include "repair_out.h"

#include "check.h"

#define MS SRM_MILLISECOND
#define RATE ((uint64_t)1000000)

static srm_repair_out fresh(void) {
    srm_repair_out out;
    srm_repair_out_init(&out, 0);
    return out;
}

static srm_repair_out after_loss(uint64_t acked, uint64_t lost) {
    srm_repair_out out = fresh();
    for (int i = 0; i < 100; i++)
        srm_repair_out_on_event(&out, 0, acked, lost);
    return out;
}

static void note(srm_repair_out *out, srm_time now, uint8_t channel, uint64_t number, uint64_t packet) {
    srm_repair_out_note(out, now, channel, number, 100, false, packet, 50 * MS);
}

/* How many repairs go into a packet. */
static unsigned paid(srm_repair_out *out, srm_time now, uint64_t packet) {
    const srm_repair_entry *payer;
    unsigned count = 0;
    while ((payer = srm_repair_out_payer(out, now, packet)) != NULL && ++count < 100)
        srm_repair_out_sent(out, payer, now, packet, 50 * MS);
    return count;
}

static unsigned covered(const srm_repair_out *out, uint8_t channel) {
    const srm_repair_entry payer = {.channel = channel};
    unsigned count = 0;
    for (size_t at = 0; srm_repair_out_covered(out, &payer, &at) != NULL; at++)
        count++;
    return count;
}

TEST(nothing_is_covered_where_nothing_was_lost) {
    srm_repair_out out = fresh();
    srm_repair_out_on_event(&out, 0, 1000, 0);
    CHECK(!srm_repair_out_active(&out, 0));
    note(&out, 0, 1, 5, 7);
    CHECK_EQ(srm_repair_out_deadline(&out), SRM_TIME_NEVER);
    CHECK(out.entries == NULL);
    CHECK_EQ(paid(&out, SRM_SECOND, 8), 0);
    srm_repair_out_fini(&out);
}

TEST(a_loss_is_forgotten_after_its_time) {
    srm_repair_out out = after_loss(95, 5);
    CHECK(srm_repair_out_active(&out, SRM_REPAIR_MEMORY));
    CHECK(!srm_repair_out_active(&out, SRM_REPAIR_MEMORY + 1));
    srm_repair_out_fini(&out);
}

/* Alone, a message pays at once and again when nothing follows; by how much the path loses. */
TEST(the_more_is_lost_the_more_repairs) {
    static const struct {
        uint64_t acked, lost;
        unsigned repairs;
    } cases[] = {{999, 1, 1}, {95, 5, 2}, {80, 20, 3}};
    for (size_t i = 0; i < SRM_COUNT_OF(cases); i++) {
        srm_repair_out out = after_loss(cases[i].acked, cases[i].lost);
        unsigned repairs = 0;
        note(&out, 0, 3, 40, 7);
        CHECK_EQ(paid(&out, 0, 7), 0); /* not in the packet that it is in itself */
        for (uint64_t packet = 8; packet < 20; packet++) {
            unsigned now = paid(&out, (srm_time)packet * SRM_SECOND, packet);
            CHECK(now <= 1);
            repairs += now;
        }
        CHECK_EQ(repairs, cases[i].repairs);
        CHECK_EQ(srm_repair_out_deadline(&out), SRM_TIME_NEVER);
        srm_repair_out_fini(&out);
    }
}

TEST(in_a_flow_each_packet_carries_one_repair) {
    srm_repair_out out = after_loss(95, 5);
    for (uint64_t n = 0; n < 100; n++) {
        srm_time now = (srm_time)n * 5 * MS;
        CHECK_EQ(paid(&out, now, n), n > 0);
        note(&out, now, 0, n, n);
        CHECK_EQ(covered(&out, 0), srm_u64_min(n + 1, SRM_REPAIR_WINDOW));
    }
    srm_repair_out_fini(&out);
}

/* Three messages in one packet that is lost: three repairs are needed. */
TEST(each_message_of_a_packet_pays_for_itself) {
    srm_repair_out out = after_loss(95, 5);
    for (uint64_t n = 0; n < 3; n++)
        note(&out, 0, 0, n, 7);
    CHECK_EQ(paid(&out, 0, 8), 3);
    CHECK_EQ(paid(&out, 0, 9), 0);
    CHECK_EQ(paid(&out, SRM_SECOND, 10), 3); /* nothing followed */
    srm_repair_out_fini(&out);
}

TEST(channels_are_covered_apart) {
    srm_repair_out out = after_loss(95, 5);
    note(&out, 0, 1, 0, 7);
    note(&out, 0, 2, 0, 8);
    note(&out, 0, 2, 1, 8);
    CHECK_EQ(covered(&out, 1), 1);
    CHECK_EQ(covered(&out, 2), 2);
    CHECK_EQ(paid(&out, 0, 9), 3);
    CHECK_EQ(paid(&out, SRM_SECOND, 10), 3); /* nothing followed on either channel */
    srm_repair_out_fini(&out);
}

TEST(what_was_acknowledged_is_neither_covered_nor_paid_for) {
    srm_repair_out out = after_loss(95, 5);
    note(&out, 0, 0, 1, 1);
    note(&out, 0, 0, 2, 2);
    const srm_repair_entry *payer = srm_repair_out_payer(&out, 0, 9);
    size_t at = 0;
    srm_repair_out_covered(&out, payer, &at)->gone = true;
    srm_repair_out_waive(&out, payer);
    CHECK_EQ(covered(&out, 0), 1);
    CHECK_EQ(paid(&out, 0, 9), 1);
    srm_repair_out_fini(&out);
}

TEST(large_messages_do_without) {
    srm_repair_out out = after_loss(95, 5);
    srm_repair_out_note(&out, 0, 0, 1, SRM_REPAIR_SIZE_MAX + 1, false, 1, 50 * MS);
    CHECK_EQ(srm_repair_out_deadline(&out), SRM_TIME_NEVER);
    srm_repair_out_note(&out, 0, 0, 1, SRM_REPAIR_SIZE_MAX, false, 1, 50 * MS);
    CHECK(srm_repair_out_deadline(&out) != SRM_TIME_NEVER);
    srm_repair_out_fini(&out);
}

TEST(a_message_that_is_sent_again_is_covered_once) {
    srm_repair_out out = after_loss(95, 5);
    note(&out, 0, 0, 1, 1);
    CHECK_EQ(paid(&out, 0, 2), 1);
    srm_repair_out_note(&out, MS, 0, 1, 100, true, 3, 50 * MS);
    CHECK_EQ(covered(&out, 0), 1);
    CHECK_EQ(paid(&out, MS, 3), 0);
    CHECK_EQ(paid(&out, MS, 4), 1);
    srm_repair_out_fini(&out);
}

TEST(a_packet_of_its_own_when_none_follows_in_time) {
    static const srm_time rtts[][2] = {
        {40 * MS, 5 * MS}, {MS, SRM_REPAIR_WAIT_MIN}, {SRM_SECOND, SRM_REPAIR_WAIT_MAX}};
    for (size_t i = 0; i < SRM_COUNT_OF(rtts); i++) {
        srm_repair_out out = after_loss(95, 5);
        srm_repair_out_note(&out, 100 * MS, 0, 1, 100, false, 1, rtts[i][0]);
        CHECK_EQ(srm_repair_out_deadline(&out), 100 * MS + rtts[i][1]);
        srm_repair_out_fini(&out);
    }
}

TEST(a_new_path_is_taken_for_a_lossy_one_until_it_has_told) {
    srm_repair_out out;
    srm_repair_out_init(&out, 0);
    srm_repair_out_on_event(&out, 0, SRM_REPAIR_TRIAL - 1, 0);
    CHECK(srm_repair_out_active(&out, 0));
    CHECK(srm_repair_out_on_trial(&out, 0)); /* what stands in a stream shows its loss by itself */
    srm_repair_out_on_event(&out, 0, 1, 0);
    CHECK(!srm_repair_out_active(&out, 0));
    srm_repair_out_on_event(&out, 0, 0, 1);
    CHECK(srm_repair_out_active(&out, SRM_REPAIR_MEMORY));
    CHECK(!srm_repair_out_active(&out, SRM_REPAIR_MEMORY + 1));
    srm_repair_out_fini(&out);
}

TEST(the_index_goes_round_and_outlives_a_path) {
    srm_repair_out out = after_loss(95, 5);
    for (uint64_t n = 0; n <= SRM_REPAIR_INDEXES; n++) {
        CHECK_EQ(out.index, n % SRM_REPAIR_INDEXES);
        note(&out, 0, 0, n, 2 * n);
        CHECK_EQ(paid(&out, 0, 2 * n + 1), 1);
    }
    srm_repair_out_reset(&out, SRM_SECOND);
    CHECK_EQ(out.index, 1);
    CHECK(out.heard == 0 && out.loss == 0 && out.lost_at == SRM_TIME_NEVER);
    srm_repair_out_fini(&out);
}

TEST(an_idle_link_keeps_nothing) {
    srm_repair_out out = after_loss(95, 5);
    note(&out, 0, 0, 1, 1);
    srm_repair_out_trim(&out);
    CHECK(out.entries == NULL);
    CHECK_EQ(srm_repair_out_deadline(&out), SRM_TIME_NEVER);
    note(&out, 0, 0, 2, 2);
    CHECK_EQ(covered(&out, 0), 1);
    srm_repair_out_fini(&out);
}

TEST(the_budget_is_bytes_and_refills) {
    srm_repair_out out = fresh();
    CHECK(srm_repair_out_afford(&out, 0, RATE, SRM_REPAIR_BURST));
    CHECK(!srm_repair_out_afford(&out, 0, RATE, 1));
    CHECK(!srm_repair_out_afford(&out, MS, RATE, SRM_REPAIR_RATE_MIN / 1000 + 1));
    CHECK(srm_repair_out_afford(&out, MS, RATE, SRM_REPAIR_RATE_MIN / 1000));
    CHECK(!srm_repair_out_afford(&out, 3600 * SRM_SECOND, RATE, SRM_REPAIR_BURST + 1));
    CHECK(srm_repair_out_afford(&out, 3600 * SRM_SECOND, RATE, SRM_REPAIR_BURST));
    /* A fast path may spend its share. */
    CHECK(srm_repair_out_afford(&out, 3600 * SRM_SECOND + MS, 16 * SRM_REPAIR_RATE_SHARE * RATE,
                                16 * RATE / 1000));
    srm_repair_out_fini(&out);
}

TEST(asking_often_loses_nothing_of_the_budget) {
    srm_repair_out out = fresh();
    CHECK(srm_repair_out_afford(&out, 0, RATE, SRM_REPAIR_BURST));
    for (srm_time now = 0; now < 10 * MS; now += 100)
        CHECK(!srm_repair_out_afford(&out, now, RATE, 4000));
    CHECK(srm_repair_out_afford(&out, 20 * MS, RATE, SRM_REPAIR_RATE_MIN / 50 - 200));
    srm_repair_out_fini(&out);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
