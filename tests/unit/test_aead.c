#include "aead.h"

#include <sodium.h>
#include <stdlib.h>

#include "check.h"
#include "vectors.h"

#define ROOM (1500 + SRM_AEAD_TAG_MAX)

static const srm_aead_kind kinds[SRM_AEAD_KINDS] = {SRM_AEAD_AEGIS128L, SRM_AEAD_AES256GCM,
                                                    SRM_AEAD_CHACHA20};

static void fill(uint8_t *out, size_t size, unsigned seed) {
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(i * 31 + seed * 7 + (i >> 8));
}

static void start(srm_aead *aead, srm_aead_kind kind, unsigned seed) {
    uint8_t key[SRM_AEAD_KEY_SIZE], iv[SRM_AEAD_IV_SIZE];
    fill(key, sizeof key, seed);
    fill(iv, sizeof iv, seed + 1);
    srm_aead_init(aead, kind, key, iv);
}

/* Seals, compares with the published bytes, opens again. */
static void known_answer(srm_aead_kind kind, srm_span key, srm_span iv, int number, srm_span ad,
                         srm_span plain, srm_span sealed) {
    uint8_t full_key[SRM_AEAD_KEY_SIZE] = {0}, full_iv[SRM_AEAD_IV_SIZE] = {0}, data[512];
    memcpy(full_key, key.data, key.size);
    memcpy(full_iv, iv.data, iv.size);
    memcpy(data, plain.data, plain.size);
    CHECK_EQ(plain.size + srm_aead_tag_size(kind), sealed.size);
    srm_aead aead;
    srm_aead_init(&aead, kind, full_key, full_iv);
    srm_aead_seal(&aead, (uint64_t)number, ad, data, plain.size);
    CHECK_MEM(data, sealed.data, sealed.size);
    CHECK(srm_aead_open(&aead, (uint64_t)number, ad, data, sealed.size));
    CHECK_MEM(data, plain.data, plain.size);
    srm_aead_fini(&aead);
}

#define KNOWN_ANSWERS(kind, list)                                                                            \
    for (size_t i = 0; i < SRM_COUNT_OF((list).cases); i++)                                                  \
    known_answer(kind, (list).cases[i].key, (list).cases[i].iv, (list).cases[i].packet_number,               \
                 (list).cases[i].ad, (list).cases[i].plain, (list).cases[i].sealed)

TEST(chacha20_gives_the_published_answers) {
    KNOWN_ANSWERS(SRM_AEAD_CHACHA20, primitive_vectors.chacha20poly1305);
}

TEST(aes256gcm_gives_the_published_answers) {
    if (srm_aead_available(SRM_AEAD_AES256GCM))
        KNOWN_ANSWERS(SRM_AEAD_AES256GCM, primitive_vectors.aes256gcm);
}

TEST(aegis128l_gives_the_published_answers) {
    if (srm_aead_available(SRM_AEAD_AEGIS128L))
        KNOWN_ANSWERS(SRM_AEAD_AEGIS128L, primitive_vectors.aegis128l);
}

static void roundtrip(const srm_aead *aead, srm_aead_kind kind, size_t size) {
    uint8_t data[ROOM + 1], plain[ROOM], ad[13];
    size_t whole = size + srm_aead_tag_size(kind);
    fill(plain, size, (unsigned)size);
    fill(ad, sizeof ad, 9);
    memcpy(data, plain, size);
    data[whole] = 0xa5;
    srm_aead_seal(aead, size, srm_span_of(ad, sizeof ad), data, size);
    CHECK_EQ(data[whole], 0xa5);
    if (size >= 16)
        CHECK(memcmp(data, plain, size) != 0);
    CHECK(srm_aead_open(aead, size, srm_span_of(ad, sizeof ad), data, whole));
    CHECK_MEM(data, plain, size);
    CHECK_EQ(data[whole], 0xa5);
}

TEST(every_size_survives_sealing_in_place) {
    for (size_t k = 0; k < SRM_AEAD_KINDS; k++) {
        if (!srm_aead_available(kinds[k]))
            continue;
        srm_aead aead;
        start(&aead, kinds[k], 3);
        for (size_t size = 0; size <= 1500; size += size < 300 ? 1 : 61)
            roundtrip(&aead, kinds[k], size);
        srm_aead_fini(&aead);
    }
}

/* In place must give the bytes that libsodium gives for separate buffers. */
TEST(in_place_equals_out_of_place) {
    srm_aead aead;
    start(&aead, SRM_AEAD_CHACHA20, 5);
    for (size_t size = 0; size < 600; size += 37) {
        uint8_t data[ROOM], plain[ROOM], apart[ROOM];
        fill(plain, size, 4);
        memcpy(data, plain, size);
        srm_aead_seal(&aead, 0, srm_span_of("ad", 2), data, size);
        crypto_aead_chacha20poly1305_ietf_encrypt(apart, NULL, plain, size, (const uint8_t *)"ad", 2, NULL,
                                                  aead.iv, aead.key);
        CHECK_MEM(data, apart, size + 16);
    }
    srm_aead_fini(&aead);
}

TEST(any_changed_bit_is_noticed) {
    for (size_t k = 0; k < SRM_AEAD_KINDS; k++) {
        if (!srm_aead_available(kinds[k]))
            continue;
        srm_aead aead;
        start(&aead, kinds[k], 1);
        uint8_t sealed[64 + SRM_AEAD_TAG_MAX], data[sizeof sealed], ad[9];
        size_t whole = 40 + srm_aead_tag_size(kinds[k]);
        fill(sealed, 40, 2);
        fill(ad, sizeof ad, 3);
        srm_aead_seal(&aead, 77, srm_span_of(ad, sizeof ad), sealed, 40);
        for (size_t bit = 0; bit < whole * 8; bit++) {
            memcpy(data, sealed, whole);
            data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            CHECK(!srm_aead_open(&aead, 77, srm_span_of(ad, sizeof ad), data, whole));
        }
        for (size_t bit = 0; bit < sizeof ad * 8; bit++) {
            memcpy(data, sealed, whole);
            ad[bit / 8] ^= (uint8_t)(1u << bit % 8);
            CHECK(!srm_aead_open(&aead, 77, srm_span_of(ad, sizeof ad), data, whole));
            ad[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        memcpy(data, sealed, whole);
        CHECK(srm_aead_open(&aead, 77, srm_span_of(ad, sizeof ad), data, whole));
        srm_aead_fini(&aead);
    }
}

TEST(another_number_ad_length_or_key_does_not_open) {
    for (size_t k = 0; k < SRM_AEAD_KINDS; k++) {
        if (!srm_aead_available(kinds[k]))
            continue;
        srm_aead aead, other;
        start(&aead, kinds[k], 1);
        start(&other, kinds[k], 2);
        uint8_t sealed[32 + SRM_AEAD_TAG_MAX] = {0}, data[sizeof sealed];
        const uint8_t ad[4] = {1, 2, 3, 0};
        size_t whole = 32 + srm_aead_tag_size(kinds[k]);
        srm_aead_seal(&aead, 5, srm_span_of(ad, 4), sealed, 32);
        for (unsigned bit = 0; bit < 64; bit++) {
            memcpy(data, sealed, whole);
            CHECK(!srm_aead_open(&aead, 5 ^ UINT64_C(1) << bit, srm_span_of(ad, 4), data, whole));
        }
        memcpy(data, sealed, whole);
        CHECK(!srm_aead_open(&aead, 5, srm_span_of(ad, 3), data, whole));
        memcpy(data, sealed, whole);
        CHECK(!srm_aead_open(&aead, 5, srm_span_of(ad, 4), data, whole - 1));
        memcpy(data, sealed, whole);
        CHECK(!srm_aead_open(&other, 5, srm_span_of(ad, 4), data, whole));
        srm_aead_fini(&aead);
        srm_aead_fini(&other);
    }
}

TEST(shorter_than_a_tag_is_refused) {
    for (size_t k = 0; k < SRM_AEAD_KINDS; k++) {
        if (!srm_aead_available(kinds[k]))
            continue;
        srm_aead aead;
        start(&aead, kinds[k], 1);
        uint8_t data[SRM_AEAD_TAG_MAX] = {0};
        for (size_t size = 0; size < srm_aead_tag_size(kinds[k]); size++)
            CHECK(!srm_aead_open(&aead, 0, srm_span_of(NULL, 0), data, size));
        srm_aead_seal(&aead, 0, srm_span_of(NULL, 0), data, 0);
        CHECK(srm_aead_open(&aead, 0, srm_span_of(NULL, 0), data, srm_aead_tag_size(kinds[k])));
        srm_aead_fini(&aead);
    }
}

/* The nonce is iv XOR number: a number moved into the iv gives the same packet. */
TEST(packet_numbers_are_xored_into_the_end_of_the_nonce) {
    for (size_t k = 0; k < SRM_AEAD_KINDS; k++) {
        if (!srm_aead_available(kinds[k]))
            continue;
        size_t nonce_size = kinds[k] == SRM_AEAD_AEGIS128L ? 16 : 12;
        uint8_t key[SRM_AEAD_KEY_SIZE], iv[SRM_AEAD_IV_SIZE], a[48] = {0}, b[48] = {0};
        fill(key, sizeof key, 8);
        fill(iv, sizeof iv, 9);
        srm_aead first, second;
        srm_aead_init(&first, kinds[k], key, iv);
        for (size_t i = 0; i < 8; i++)
            iv[nonce_size - 8 + i] ^= (uint8_t)(0x10 + i);
        srm_aead_init(&second, kinds[k], key, iv);
        srm_aead_seal(&first, UINT64_C(0x1011121314151617), srm_span_of(NULL, 0), a, 16);
        srm_aead_seal(&second, 0, srm_span_of(NULL, 0), b, 16);
        CHECK_MEM(a, b, 16 + srm_aead_tag_size(kinds[k]));
        srm_aead_fini(&first);
        srm_aead_fini(&second);
    }
}

/* Without memory for the expanded key, AES works from the key itself and gives the same bytes. */
TEST(aes_without_prepared_key_is_the_same) {
    if (!srm_aead_available(SRM_AEAD_AES256GCM))
        return;
    srm_aead aead;
    start(&aead, SRM_AEAD_AES256GCM, 6);
    CHECK(aead.prepared != NULL);
    uint8_t fast[64] = {0}, slow[64] = {0};
    srm_aead_seal(&aead, 1, srm_span_of("x", 1), fast, 40);
    void *prepared = aead.prepared;
    aead.prepared = NULL;
    srm_aead_seal(&aead, 1, srm_span_of("x", 1), slow, 40);
    CHECK_MEM(fast, slow, 56);
    CHECK(srm_aead_open(&aead, 1, srm_span_of("x", 1), slow, 56));
    aead.prepared = prepared;
    srm_aead_fini(&aead);
}

TEST(the_list_is_fast_first_and_ends_with_chacha20) {
    uint8_t list[SRM_AEAD_KINDS];
    size_t count = srm_aead_list(list);
    CHECK(count >= 1 && count <= SRM_AEAD_KINDS);
    CHECK_EQ(list[count - 1], SRM_AEAD_CHACHA20);
    for (size_t i = 0; i < count; i++) {
        CHECK(srm_aead_available((srm_aead_kind)list[i]));
        CHECK(i == 0 || list[i - 1] < list[i]);
    }
    CHECK(!srm_aead_available((srm_aead_kind)0));
    CHECK(!srm_aead_available((srm_aead_kind)4));
}

static uint8_t choose(const char *a, const char *b) {
    return srm_aead_choose(srm_span_of(a, strlen(a)), srm_span_of(b, strlen(b)));
}

TEST(the_choice_is_the_first_that_both_have) {
    CHECK_EQ(choose("\1\2\3", "\1\2\3"), 1);
    CHECK_EQ(choose("\1\2\3", "\2\3"), 2);
    CHECK_EQ(choose("\3\2\1", "\3\2"), 2); /* whatever the lists' order */
    CHECK_EQ(choose("\3\2", "\3\2\1"), 2);
    CHECK_EQ(choose("\1\3", "\2\3"), 3);
    CHECK_EQ(choose("\1", "\2"), 0);
    CHECK_EQ(choose("", "\1\2\3"), 0);
    CHECK_EQ(choose("", ""), 0);
    CHECK_EQ(choose("\4\200\377", "\4\200\377"), 0); /* unknown numbers don't count */
    CHECK_EQ(srm_aead_choose(handshake_vectors.pake.input.aeads_I, handshake_vectors.pake.input.aeads_R),
             handshake_vectors.pake.output.aead_chosen);
}

TEST(fini_erases_and_may_come_twice) {
    srm_aead aead;
    const srm_aead zero = {0};
    for (size_t k = 0; k < SRM_AEAD_KINDS; k++) {
        if (!srm_aead_available(kinds[k]))
            continue;
        start(&aead, kinds[k], 1);
        srm_aead_fini(&aead);
        CHECK(aead.prepared == NULL);
        CHECK_MEM(aead.key, zero.key, sizeof aead.key);
        CHECK_MEM(aead.iv, zero.iv, sizeof aead.iv);
        srm_aead_fini(&aead);
    }
    CHECK(sizeof(srm_aead) <= 64); /* four of them lie in each connection */
    uint8_t data[32] = {0};
    CHECK(!srm_aead_open(&aead, 0, srm_span_of(NULL, 0), data, sizeof data)); /* no key opens nothing */
}

TEST(the_header_mask_is_siphash) {
    uint8_t mask[SRM_HEADER_MASK_SIZE];
    srm_header_mask(primitive_vectors.siphash24.key.data, primitive_vectors.siphash24.input.data, mask);
    CHECK_MEM(mask, primitive_vectors.siphash24.output.data, sizeof mask);
}

TEST(the_header_mask_depends_on_all_of_key_and_sample) {
    uint8_t hp[SRM_HEADER_KEY_SIZE] = {0}, sample[SRM_HEADER_SAMPLE_SIZE] = {0}, mask[8], other[8];
    srm_header_mask(hp, sample, mask);
    for (size_t i = 0; i < 16; i++) {
        hp[i] = 1;
        srm_header_mask(hp, sample, other);
        CHECK(memcmp(mask, other, 8) != 0);
        hp[i] = 0;
        sample[i] = 1;
        srm_header_mask(hp, sample, other);
        CHECK(memcmp(mask, other, 8) != 0);
        sample[i] = 0;
    }
}

int main(int argc, char **argv) {
    if (sodium_init() < 0)
        return 1;
    return check_main(argc, argv);
}
