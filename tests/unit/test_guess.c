#include "guess.h"

#include <sodium.h>

#include "check.h"

#define START (500 * SRM_SECOND)

static void count_up(void *context, uint8_t *out, size_t size) {
    uint8_t *next = context;
    for (size_t i = 0; i < size; i++)
        out[i] = (*next)++;
}

static srm_guess_sources sources;

static void reset(void) {
    uint8_t counter = 3;
    const srm_entropy entropy = {count_up, &counter};
    srm_guess_sources_init(&sources, &entropy);
}

static srmudp_address v4(uint32_t number) {
    return (srmudp_address){
        .ip = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number},
        .port = 1000,
        .family = 4};
}

static srm_guess_payer stranger(srm_bucket *key, const srmudp_address *from) {
    return (srm_guess_payer){.key = key, .sources = &sources, .from = from};
}

/* ---- One bucket ---- */

static void drain(srm_bucket_rate rate) {
    srm_bucket bucket = {0};
    CHECK_EQ(srm_bucket_level(&bucket, rate, START), rate.burst);
    for (uint32_t i = 0; i < rate.burst; i++) {
        CHECK(srm_bucket_take(&bucket, rate, START));
        CHECK_EQ(srm_bucket_level(&bucket, rate, START), rate.burst - 1 - i);
    }
    const srm_bucket empty = bucket;
    CHECK(!srm_bucket_take(&bucket, rate, START));
    CHECK_EQ(bucket.full_at, empty.full_at);
    CHECK(!srm_bucket_take(&bucket, rate, START + rate.every - 1));
    CHECK_EQ(srm_bucket_level(&bucket, rate, START + rate.every), 1);
    CHECK(srm_bucket_take(&bucket, rate, START + rate.every));
    CHECK(!srm_bucket_take(&bucket, rate, START + 2 * rate.every - 1));
    CHECK(srm_bucket_take(&bucket, rate, START + 2 * rate.every));
}

TEST(buckets_hold_their_burst_and_refill_one_by_one) {
    drain(SRM_GUESS_KEY);
    drain(SRM_GUESS_SOURCE);
    drain(SRM_GUESS_DIALLED);
}

TEST(the_rates_are_those_promised) {
    CHECK_EQ(SRM_GUESS_KEY.burst, 16);
    CHECK_EQ(SRM_GUESS_KEY.every, 15 * SRM_SECOND);
    CHECK_EQ(SRM_GUESS_SOURCE.burst, 4);
    CHECK_EQ(SRM_GUESS_SOURCE.every, 60 * SRM_SECOND);
    CHECK_EQ(SRM_GUESS_DIALLED.burst, 64);
    CHECK_EQ(SRM_GUESS_DIALLED.every, 5 * SRM_SECOND);
}

TEST(a_bucket_never_holds_more_than_its_burst) {
    srm_bucket bucket = {0};
    CHECK_EQ(srm_bucket_level(&bucket, SRM_GUESS_KEY, START + 10000 * SRM_SECOND), 16);
    for (int i = 0; i < 5; i++)
        srm_bucket_give(&bucket, SRM_GUESS_KEY, START);
    for (int i = 0; i < 16; i++)
        CHECK(srm_bucket_take(&bucket, SRM_GUESS_KEY, START));
    CHECK(!srm_bucket_take(&bucket, SRM_GUESS_KEY, START));
}

TEST(giving_back_undoes_taking) {
    srm_bucket bucket = {0};
    for (int i = 0; i < 3; i++)
        CHECK(srm_bucket_take(&bucket, SRM_GUESS_KEY, START));
    srm_bucket_give(&bucket, SRM_GUESS_KEY, START + SRM_SECOND);
    CHECK_EQ(srm_bucket_level(&bucket, SRM_GUESS_KEY, START + SRM_SECOND), 14);
    srm_bucket_give(&bucket, SRM_GUESS_KEY, START + SRM_SECOND);
    srm_bucket_give(&bucket, SRM_GUESS_KEY, START + SRM_SECOND);
    CHECK_EQ(srm_bucket_level(&bucket, SRM_GUESS_KEY, START + SRM_SECOND), 16);
}

TEST(a_day_of_guessing_is_bounded) {
    const srm_bucket_rate rates[] = {SRM_GUESS_KEY, SRM_GUESS_DIALLED};
    const int day[] = {5760 + 16, 17280 + 64};
    for (size_t i = 0; i < SRM_COUNT_OF(rates); i++) {
        srm_bucket bucket = {0};
        int taken = 0;
        for (srm_time now = START; now <= START + 86400 * SRM_SECOND; now += SRM_SECOND / 2)
            taken += srm_bucket_take(&bucket, rates[i], now);
        CHECK_EQ(taken, day[i]);
    }
}

/* ---- Who pays ---- */

TEST(a_stranger_pays_from_key_and_source) {
    reset();
    srm_bucket key = {0};
    const srmudp_address a = v4(0x01020304), b = v4(0x01020305);
    const srm_guess_payer from_a = stranger(&key, &a), from_b = stranger(&key, &b);
    CHECK_EQ(srm_guess_left(&from_a, START), 4);
    for (int i = 0; i < 4; i++)
        CHECK(srm_guess_charge(&from_a, START));
    CHECK(!srm_guess_charge(&from_a, START));
    CHECK_EQ(srm_bucket_level(&key, SRM_GUESS_KEY, START), 12); /* the refused one cost nothing */
    CHECK_EQ(srm_guess_left(&from_a, START), 0);
    CHECK_EQ(srm_guess_left(&from_b, START), 4);
    CHECK(srm_guess_charge(&from_b, START));
    CHECK(!srm_guess_charge(&from_a, START + 60 * SRM_SECOND - 1));
    CHECK(srm_guess_charge(&from_a, START + 60 * SRM_SECOND));
}

TEST(an_empty_key_refuses_every_stranger_and_charges_none) {
    reset();
    srm_bucket key = {0}, other_key = {0};
    for (uint32_t i = 0; i < 16; i++) {
        const srmudp_address from = v4(i);
        const srm_guess_payer payer = stranger(&key, &from);
        CHECK(srm_guess_charge(&payer, START));
    }
    const srmudp_address from = v4(99);
    const srm_guess_payer payer = stranger(&key, &from), elsewhere = stranger(&other_key, &from);
    CHECK_EQ(srm_guess_left(&payer, START), 0);
    CHECK(!srm_guess_charge(&payer, START));
    CHECK_EQ(srm_guess_left(&elsewhere, START), 4);
}

TEST(one_source_has_one_budget_over_all_keys) {
    reset();
    srm_bucket keys[5] = {{0}};
    const srmudp_address from = v4(7);
    for (int i = 0; i < 5; i++) {
        const srm_guess_payer payer = stranger(&keys[i], &from);
        CHECK_EQ(srm_guess_charge(&payer, START), i < 4);
    }
    CHECK_EQ(srm_bucket_level(&keys[4], SRM_GUESS_KEY, START), 16);
}

TEST(a_dialled_address_has_a_bucket_of_its_own) {
    reset();
    srm_bucket key = {0}, dialled = {0};
    const srmudp_address from = v4(7);
    const srm_guess_payer payer = {.dialled = &dialled, .key = &key, .sources = &sources, .from = &from};
    for (int i = 0; i < 64; i++)
        CHECK(srm_guess_charge(&payer, START));
    CHECK(!srm_guess_charge(&payer, START));
    CHECK_EQ(srm_bucket_level(&key, SRM_GUESS_KEY, START), 16); /* and the others' are untouched */
    const srm_guess_payer as_stranger = stranger(&key, &from);
    CHECK_EQ(srm_guess_left(&as_stranger, START), 4);
    CHECK(srm_guess_charge(&payer, START + 5 * SRM_SECOND));
    srm_guess_give_back(&payer, START + 5 * SRM_SECOND);
    CHECK_EQ(srm_bucket_level(&dialled, SRM_GUESS_DIALLED, START + 5 * SRM_SECOND), 1);
    CHECK_EQ(srm_guess_left(&payer, START + 5 * SRM_SECOND), 2); /* and one on credit */
}

TEST(strangers_cannot_touch_a_dialled_bucket) {
    reset();
    srm_bucket key = {0}, dialled = {0};
    for (uint32_t i = 0; i < 100; i++) {
        const srmudp_address from = v4(i);
        const srm_guess_payer payer = stranger(&key, &from);
        (void)srm_guess_charge(&payer, START);
    }
    const srm_guess_payer payer = {.dialled = &dialled};
    CHECK_EQ(srm_guess_left(&payer, START), 64);
}

TEST(the_right_passphrase_costs_nothing) {
    reset();
    srm_bucket key = {0};
    const srmudp_address from = v4(7);
    const srm_guess_payer payer = stranger(&key, &from);
    for (int i = 0; i < 100; i++) {
        CHECK(srm_guess_charge(&payer, START + i));
        srm_guess_give_back(&payer, START + i);
    }
    CHECK_EQ(srm_guess_left(&payer, START + 100 * SRM_SECOND), 4);
    CHECK_EQ(srm_bucket_level(&key, SRM_GUESS_KEY, START + 100), 16);
}

/* ---- Credit ---- */

static void prove(const srm_guess_payer *payer, int count, srm_time now) {
    for (int i = 0; i < count; i++) {
        CHECK(srm_guess_charge(payer, now));
        srm_guess_give_back(payer, now);
    }
}

static int charge_all(const srm_guess_payer *payer, srm_time now) {
    int given = 0;
    while (srm_guess_charge(payer, now))
        given++;
    return given;
}

TEST(each_success_makes_room_for_two_up_to_a_bound) {
    reset();
    srm_bucket key = {0};
    const srmudp_address from = v4(7);
    const srm_guess_payer payer = stranger(&key, &from);
    int under_way = charge_all(&payer, START), rounds = 0;
    CHECK_EQ(under_way, 4);
    for (; under_way < 4 + SRM_GUESS_CREDIT; rounds++) {
        for (int i = 0; i < under_way; i++)
            srm_guess_give_back(&payer, START);
        int before = under_way;
        under_way = charge_all(&payer, START);
        CHECK_EQ(under_way,
                 before + (before < SRM_GUESS_CREDIT + 4 - before ? before : SRM_GUESS_CREDIT + 4 - before));
    }
    CHECK_EQ(rounds, 5); /* 4, 8, 16, 32, 64, 68 */
    for (int i = 0; i < under_way; i++)
        srm_guess_give_back(&payer, START);
    CHECK_EQ(charge_all(&payer, START), 4 + SRM_GUESS_CREDIT);
}

TEST(credit_fades) {
    reset();
    srm_bucket key = {0};
    const srmudp_address from = v4(7);
    const srm_guess_payer payer = stranger(&key, &from);
    prove(&payer, 10, START);
    CHECK_EQ(srm_guess_left(&payer, START), 14);
    CHECK(srm_guess_proved(&sources, &from, START));
    CHECK_EQ(srm_guess_left(&payer, START + SRM_GUESS_CREDIT_FADES), 13);
    CHECK_EQ(srm_guess_left(&payer, START + 10 * SRM_GUESS_CREDIT_FADES - 1), 5);
    CHECK_EQ(srm_guess_left(&payer, START + 10 * SRM_GUESS_CREDIT_FADES), 4);
    CHECK(!srm_guess_proved(&sources, &from, START + 10 * SRM_GUESS_CREDIT_FADES));
}

/* What was taken on credit is paid off like any other debt, also when credit is earned again and again. */
TEST(credit_is_no_gift) {
    reset();
    srm_bucket key = {0};
    const srmudp_address from = v4(7);
    const srm_guess_payer payer = stranger(&key, &from);
    int unanswered = 0;
    for (srm_time now = START; now <= START + 3600 * SRM_SECOND; now += SRM_SECOND) {
        for (int i = 0; i < 100 && srm_guess_charge(&payer, now); i++)
            srm_guess_give_back(&payer, now); /* neighbours who know the key */
        unanswered += charge_all(&payer, now);
    }
    CHECK_EQ(unanswered, 4 + SRM_GUESS_CREDIT); /* an hour's worth, only sooner */
}

TEST(a_key_gives_so_much_on_credit_over_all_sources) {
    reset();
    srm_bucket key = {0};
    int given = 0;
    for (uint32_t i = 0; i < 100; i++) {
        const srmudp_address from = v4(i);
        const srm_guess_payer payer = stranger(&key, &from);
        for (int j = 0; j < 100 && srm_guess_charge(&payer, START); j++)
            srm_guess_give_back(&payer, START);
        given += charge_all(&payer, START);
    }
    CHECK(given > 16 && given <= 16 + SRM_GUESS_CREDIT);
}

TEST(proving_one_key_buys_no_guess_at_another) {
    reset();
    srm_bucket mine = {0}, other = {0};
    const srmudp_address from = v4(7);
    const srm_guess_payer payer = stranger(&mine, &from), guesser = stranger(&other, &from);
    prove(&payer, 100, START);
    CHECK_EQ(srm_guess_left(&payer, START), 4 + SRM_GUESS_CREDIT);
    CHECK_EQ(charge_all(&guesser, START), 4);
}

/* Credit stands for a source, not for the slot of the table that it had. */
TEST(credit_is_not_inherited) {
    reset();
    for (uint32_t i = 0; i < 3000; i++) {
        srm_bucket key = {0};
        const srmudp_address from = v4(i);
        const srm_guess_payer payer = stranger(&key, &from);
        CHECK_EQ(srm_guess_left(&payer, START), 4);
        prove(&payer, 50, START);
    }
}

TEST(who_has_credit_shows_a_cookie) {
    reset();
    srm_bucket key = {0};
    const srmudp_address from = v4(7);
    const srm_guess_payer payer = stranger(&key, &from);
    prove(&payer, 50, START);
    CHECK(!srm_guess_wants_cookie(&payer, START));
    CHECK(srm_guess_charge(&payer, START));
    CHECK(srm_guess_charge(&payer, START));
    for (int i = 0; i < 50; i++) {
        CHECK(srm_guess_wants_cookie(&payer, START));
        CHECK(srm_guess_charge(&payer, START));
    }
}

TEST(ipv6_sources_are_prefixes_of_64_bits) {
    reset();
    srm_bucket key = {0};
    srmudp_address from = {.ip = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1}, .port = 1, .family = 6};
    const srm_guess_payer payer = stranger(&key, &from);
    for (uint8_t i = 0; i < 4; i++) {
        from.ip[15] = i, from.ip[8] = i, from.port = i;
        CHECK(srm_guess_charge(&payer, START));
    }
    from.ip[15] = 200;
    CHECK(!srm_guess_charge(&payer, START));
    from.ip[7] = 2;
    CHECK(srm_guess_charge(&payer, START));
}

TEST(a_mapped_ipv4_address_is_that_ipv4_source) {
    reset();
    srm_bucket key = {0};
    const srmudp_address plain = v4(0x01020304);
    const srmudp_address mapped = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 1, [13] = 2, [14] = 3, [15] = 4},
                                   .family = 6};
    const srm_guess_payer a = stranger(&key, &plain), b = stranger(&key, &mapped);
    for (int i = 0; i < 4; i++)
        CHECK(srm_guess_charge(i % 2 ? &a : &b, START));
    CHECK(!srm_guess_charge(&a, START));
    CHECK(!srm_guess_charge(&b, START));
}

/* ---- Cookies ---- */

TEST(a_cookie_is_wanted_when_half_of_the_key_is_gone) {
    reset();
    srm_bucket key = {0};
    const srmudp_address fresh = v4(1000);
    const srm_guess_payer newcomer = stranger(&key, &fresh);
    for (uint32_t i = 0; i < 8; i++) {
        CHECK(!srm_guess_wants_cookie(&newcomer, START));
        const srmudp_address from = v4(i);
        const srm_guess_payer payer = stranger(&key, &from);
        CHECK(srm_guess_charge(&payer, START));
    }
    CHECK(srm_guess_wants_cookie(&newcomer, START));
    CHECK(!srm_guess_wants_cookie(&newcomer, START + 15 * SRM_SECOND));
}

TEST(a_cookie_is_wanted_when_half_of_the_source_is_gone) {
    reset();
    srm_bucket key = {0};
    const srmudp_address from = v4(1);
    const srm_guess_payer payer = stranger(&key, &from);
    CHECK(srm_guess_charge(&payer, START));
    CHECK(!srm_guess_wants_cookie(&payer, START));
    CHECK(srm_guess_charge(&payer, START));
    CHECK(srm_guess_wants_cookie(&payer, START));
}

TEST(a_cookie_is_wanted_when_half_of_a_dialled_bucket_is_gone) {
    srm_bucket dialled = {0};
    const srm_guess_payer payer = {.dialled = &dialled};
    for (int i = 0; i < 32; i++) {
        CHECK(!srm_guess_wants_cookie(&payer, START));
        CHECK(srm_guess_charge(&payer, START));
    }
    CHECK(srm_guess_wants_cookie(&payer, START));
}

/* ---- The bounded table ---- */

/* Whoever owes four can't get a guess by filling the table with others, however many. */
TEST(a_debt_cannot_be_washed_off) {
    reset();
    const srmudp_address debtor = v4(0xc0000201);
    srm_bucket first = {0};
    const srm_guess_payer payer = stranger(&first, &debtor);
    for (int i = 0; i < 4; i++)
        CHECK(srm_guess_charge(&payer, START));
    for (uint32_t i = 0; i < 20000; i++) {
        srm_bucket key = {0}; /* as many keys as it likes */
        const srmudp_address helper = v4(i);
        const srm_guess_payer other = stranger(&key, &helper);
        (void)srm_guess_charge(&other, START);
        if (i % 64 == 0)
            CHECK_EQ(srm_guess_left(&payer, START), 0);
    }
    CHECK_EQ(srm_guess_left(&payer, START), 0);
    CHECK_EQ(srm_guess_left(&payer, START + 60 * SRM_SECOND), 1);
}

/* All guesses together can't be more than the table's slots hold. */
TEST(the_whole_table_gives_at_most_its_slots) {
    reset();
    int given = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        srm_bucket key = {0};
        const srmudp_address from = v4(i * 2654435761u);
        const srm_guess_payer payer = stranger(&key, &from);
        given += srm_guess_charge(&payer, START);
    }
    CHECK_EQ(given, SRM_GUESS_SOURCES * 4);
    for (uint32_t i = 0; i < 1000; i++) { /* and a minute later one a slot again */
        srm_bucket key = {0};
        const srmudp_address from = v4(i);
        const srm_guess_payer payer = stranger(&key, &from);
        CHECK(srm_guess_left(&payer, START + 59 * SRM_SECOND) == 0);
        CHECK(srm_guess_left(&payer, START + 240 * SRM_SECOND) == 4);
    }
}

TEST(a_few_sources_have_slots_of_their_own) {
    reset();
    for (uint32_t i = 0; i < 200; i++) {
        srm_bucket key = {0};
        const srmudp_address from = v4(i);
        const srm_guess_payer payer = stranger(&key, &from);
        CHECK(srm_guess_charge(&payer, START));
    }
    for (uint32_t i = 0; i < 200; i++) {
        srm_bucket key = {0};
        const srmudp_address from = v4(i);
        const srm_guess_payer payer = stranger(&key, &from);
        CHECK_EQ(srm_guess_left(&payer, START), 3);
    }
}

TEST(the_hash_is_keyed) {
    reset();
    uint8_t before[16], counter = 99;
    memcpy(before, sources.hash_key, sizeof before);
    const srm_entropy entropy = {count_up, &counter};
    srm_guess_sources_init(&sources, &entropy);
    CHECK(memcmp(before, sources.hash_key, sizeof before) != 0);
}

int main(int argc, char **argv) {
    if (sodium_init() < 0)
        return 1;
    return check_main(argc, argv);
}
