#include "cookie.h"

#include <sodium.h>

#include "check.h"

static void count_up(void *context, uint8_t *out, size_t size) {
    uint8_t *next = context;
    for (size_t i = 0; i < size; i++)
        out[i] = (*next)++;
}

#define START (1000 * SRM_SECOND)

static uint8_t counter;
static const uint8_t nonce[SRM_NONCE_SIZE] = {1}, share[SRM_SHARE_SIZE] = {2};
static const srmudp_address v4 = {.ip = {192, 0, 2, 1}, .port = 4000, .family = 4};

static srm_cookie fresh(void) {
    const srm_entropy entropy = {count_up, &counter};
    srm_cookie cookie;
    counter = 0;
    srm_cookie_init(&cookie, &entropy, START);
    return cookie;
}

TEST(a_cookie_is_taken_back) {
    srm_cookie cookie = fresh();
    uint8_t out[SRM_COOKIE_SIZE];
    srm_cookie_make(&cookie, START, &v4, nonce, share, out);
    CHECK(srm_cookie_check(&cookie, START, &v4, nonce, share, out));
    CHECK(srm_cookie_check(&cookie, START, &v4, nonce, share, out)); /* as often as it comes */
}

/* The formula itself, so that it can't change unseen. */
TEST(a_cookie_is_blake2b_of_what_it_is_bound_to) {
    srm_cookie cookie = fresh();
    uint8_t out[SRM_COOKIE_SIZE], expected[SRM_COOKIE_SIZE];
    const uint8_t head[7] = {4, 192, 0, 2, 1, 4000 >> 8, 4000 & 0xff};
    uint8_t text[7 + 16 + 32];
    memcpy(text, head, 7), memcpy(text + 7, nonce, 16), memcpy(text + 23, share, 32);
    srm_cookie_make(&cookie, START, &v4, nonce, share, out);
    CHECK_EQ(crypto_generichash(expected, sizeof expected, text, sizeof text, cookie.secret[0], 32), 0);
    CHECK_MEM(out, expected, sizeof out);
}

TEST(a_cookie_lives_one_to_two_periods) {
    srm_cookie cookie = fresh();
    uint8_t early[SRM_COOKIE_SIZE], late[SRM_COOKIE_SIZE];
    srm_cookie_make(&cookie, START, &v4, nonce, share, early);
    srm_cookie_make(&cookie, START + SRM_COOKIE_LIFE - 1, &v4, nonce, share, late);
    CHECK_MEM(early, late, sizeof early);
    CHECK(srm_cookie_check(&cookie, START + SRM_COOKIE_LIFE, &v4, nonce, share, early));
    CHECK(srm_cookie_check(&cookie, START + 2 * SRM_COOKIE_LIFE - 1, &v4, nonce, share, early));
    CHECK(!srm_cookie_check(&cookie, START + 2 * SRM_COOKIE_LIFE, &v4, nonce, share, early));
}

TEST(each_period_has_its_own_cookie) {
    srm_cookie cookie = fresh();
    uint8_t first[SRM_COOKIE_SIZE], second[SRM_COOKIE_SIZE], third[SRM_COOKIE_SIZE];
    srm_cookie_make(&cookie, START, &v4, nonce, share, first);
    srm_cookie_make(&cookie, START + SRM_COOKIE_LIFE, &v4, nonce, share, second);
    CHECK(memcmp(first, second, sizeof first) != 0);
    srm_cookie_make(&cookie, START + 2 * SRM_COOKIE_LIFE, &v4, nonce, share, third);
    CHECK(memcmp(second, third, sizeof first) != 0);
    CHECK(!srm_cookie_check(&cookie, START + 2 * SRM_COOKIE_LIFE, &v4, nonce, share, first));
    CHECK(srm_cookie_check(&cookie, START + 2 * SRM_COOKIE_LIFE, &v4, nonce, share, second));
    CHECK(srm_cookie_check(&cookie, START + 2 * SRM_COOKIE_LIFE, &v4, nonce, share, third));
}

TEST(nothing_survives_two_silent_periods) {
    const srm_time silences[] = {2 * SRM_COOKIE_LIFE, 3 * SRM_COOKIE_LIFE, 1000 * SRM_COOKIE_LIFE + 5};
    for (size_t i = 0; i < SRM_COUNT_OF(silences); i++) {
        srm_cookie cookie = fresh();
        uint8_t out[SRM_COOKIE_SIZE];
        srm_cookie_make(&cookie, START, &v4, nonce, share, out);
        CHECK(!srm_cookie_check(&cookie, START + silences[i], &v4, nonce, share, out));
        CHECK_EQ((START + silences[i] - cookie.since) / SRM_COOKIE_LIFE, 0); /* periods keep their beat */
        CHECK_EQ((cookie.since - START) % SRM_COOKIE_LIFE, 0);
    }
}

TEST(a_cookie_is_bound_to_address_port_nonce_and_share) {
    srm_cookie cookie = fresh();
    uint8_t out[SRM_COOKIE_SIZE], other_nonce[SRM_NONCE_SIZE], other_share[SRM_SHARE_SIZE];
    srm_cookie_make(&cookie, START, &v4, nonce, share, out);
    srmudp_address from = v4;
    from.port++;
    CHECK(!srm_cookie_check(&cookie, START, &from, nonce, share, out));
    from = v4, from.ip[3]++;
    CHECK(!srm_cookie_check(&cookie, START, &from, nonce, share, out));
    from = v4, from.family = 6;
    CHECK(!srm_cookie_check(&cookie, START, &from, nonce, share, out));
    memcpy(other_nonce, nonce, sizeof nonce), other_nonce[15] ^= 1;
    CHECK(!srm_cookie_check(&cookie, START, &v4, other_nonce, share, out));
    memcpy(other_share, share, sizeof share), other_share[31] ^= 1;
    CHECK(!srm_cookie_check(&cookie, START, &v4, nonce, other_share, out));
    for (size_t bit = 0; bit < 8 * sizeof out; bit++) {
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(!srm_cookie_check(&cookie, START, &v4, nonce, share, out));
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(srm_cookie_check(&cookie, START, &v4, nonce, share, out));
}

TEST(all_sixteen_bytes_of_an_ipv6_address_count_and_four_of_an_ipv4) {
    srm_cookie cookie = fresh();
    srmudp_address v6 = {.ip = {0x20, 1, 0xd, 0xb8}, .port = 1, .family = 6}, from = v4;
    uint8_t out[SRM_COOKIE_SIZE];
    srm_cookie_make(&cookie, START, &v6, nonce, share, out);
    v6.ip[15] = 1;
    CHECK(!srm_cookie_check(&cookie, START, &v6, nonce, share, out));
    srm_cookie_make(&cookie, START, &v4, nonce, share, out);
    from.ip[4] = 0xff; /* what lies behind an IPv4 address is nothing */
    CHECK(srm_cookie_check(&cookie, START, &from, nonce, share, out));
}

TEST(zeros_are_no_cookie) {
    srm_cookie cookie = fresh();
    const uint8_t zero[SRM_COOKIE_SIZE] = {0};
    CHECK(!srm_cookie_check(&cookie, START, &v4, nonce, share, zero));
}

TEST(two_endpoints_have_different_cookies) {
    srm_cookie one = fresh(), two;
    const srm_entropy entropy = {count_up, &counter};
    srm_cookie_init(&two, &entropy, START);
    uint8_t out[SRM_COOKIE_SIZE];
    srm_cookie_make(&one, START, &v4, nonce, share, out);
    CHECK(!srm_cookie_check(&two, START, &v4, nonce, share, out));
    srm_cookie_fini(&one);
    const srm_cookie zero = {0};
    CHECK_MEM(one.secret, zero.secret, sizeof one.secret);
}

int main(int argc, char **argv) {
    if (sodium_init() < 0)
        return 1;
    return check_main(argc, argv);
}
