#include "pake.h"

#include <sodium.h>

#include "check.h"
#include "keys.h"
#include "lv.h"
#include "vectors.h"

#define CHECK_SPAN(actual, actual_size, expected)                                                            \
    do {                                                                                                     \
        CHECK_EQ(actual_size, (expected).size);                                                              \
        CHECK_MEM(actual, (expected).data, (expected).size);                                                 \
    } while (0)

/* Entropy that can be told apart and repeated. */
static void count_up(void *context, uint8_t *out, size_t size) {
    uint8_t *next = context;
    for (size_t i = 0; i < size; i++)
        out[i] = (*next)++;
}

static void all_ones(void *context, uint8_t *out, size_t size) {
    (void)context;
    memset(out, 0xff, size);
}

/* ---- The draft's vectors ---- */

/* The symmetric form isn't ours; its ordering is here to check the draft's other answers from our K. */
static bool larger(srm_span a, srm_span b) {
    int order = memcmp(a.data, b.data, srm_size_min(a.size, b.size));
    return order != 0 ? order > 0 : a.size > b.size;
}

static void o_cat(srm_writer *w, srm_span a, srm_span b) {
    srm_write_bytes(w, srm_span_of("oc", 2));
    srm_write_bytes(w, larger(a, b) ? a : b);
    srm_write_bytes(w, larger(a, b) ? b : a);
}

static void part(srm_writer *w, srm_span share, srm_span ad) {
    srm_lv_write(w, share);
    srm_lv_write(w, ad);
}

static void transcript_oc(srm_writer *w, srm_span Ya, srm_span ADa, srm_span Yb, srm_span ADb) {
    uint8_t a[300], b[300];
    srm_writer wa = srm_writer_of(a, sizeof a), wb = srm_writer_of(b, sizeof b);
    part(&wa, Ya, ADa);
    part(&wb, Yb, ADb);
    o_cat(w, srm_writer_span(&wa), srm_writer_span(&wb));
}

TEST(ordered_concatenation_as_in_the_draft) {
    for (size_t i = 0; i < SRM_COUNT_OF(cpace_vectors.lexicographically_larger); i++)
        CHECK_EQ(larger(cpace_vectors.lexicographically_larger[i].item0,
                        cpace_vectors.lexicographically_larger[i].item1),
                 cpace_vectors.lexicographically_larger[i].item2);
    for (size_t i = 0; i < SRM_COUNT_OF(cpace_vectors.o_cat); i++) {
        uint8_t out[64];
        srm_writer w = srm_writer_of(out, sizeof out);
        o_cat(&w, cpace_vectors.o_cat[i].a, cpace_vectors.o_cat[i].b);
        CHECK_SPAN(out, srm_writer_used(&w), cpace_vectors.o_cat[i].out);
    }
}

#define TRANSCRIPT(v) (v).Ya, (v).ADa, (v).Yb, (v).ADb
#define EXCHANGED(v) (v).Yb, (v).ADb, (v).Ya, (v).ADa

TEST(transcripts_as_in_the_draft) {
    for (size_t i = 0; i < SRM_COUNT_OF(cpace_vectors.transcript_ir); i++) {
        uint8_t out[64];
        srm_writer w = srm_writer_of(out, sizeof out);
        part(&w, cpace_vectors.transcript_ir[i].Ya, cpace_vectors.transcript_ir[i].ADa);
        part(&w, cpace_vectors.transcript_ir[i].Yb, cpace_vectors.transcript_ir[i].ADb);
        CHECK_SPAN(out, srm_writer_used(&w), cpace_vectors.transcript_ir[i].out);
    }
    for (size_t i = 0; i < SRM_COUNT_OF(cpace_vectors.transcript_oc); i++) {
        uint8_t out[64];
        srm_writer w = srm_writer_of(out, sizeof out);
        transcript_oc(&w, TRANSCRIPT(cpace_vectors.transcript_oc[i]));
        CHECK_SPAN(out, srm_writer_used(&w), cpace_vectors.transcript_oc[i].out);
        w = srm_writer_of(out, sizeof out);
        transcript_oc(&w, EXCHANGED(cpace_vectors.transcript_oc[i]));
        CHECK_SPAN(out, srm_writer_used(&w), cpace_vectors.transcript_oc[i].out);
    }
}

static void check_generator(srm_span prs, srm_span ci, srm_span sid, srm_span expected_string,
                            srm_span expected_hash, srm_span expected) {
    static const uint8_t zeros[128];
    uint8_t text[512], hash[64], g[SRM_SHARE_SIZE];
    size_t pad = 128 - 1 - (1 + prs.size) - (1 + cpace_vectors.suite.DSI.size);
    srm_writer w = srm_writer_of(text, sizeof text);
    srm_lv_write(&w, cpace_vectors.suite.DSI);
    srm_lv_write(&w, prs);
    srm_lv_write(&w, srm_span_of(zeros, pad));
    srm_lv_write(&w, ci);
    srm_lv_write(&w, sid);
    CHECK_SPAN(text, srm_writer_used(&w), expected_string);
    crypto_hash_sha512(hash, text, srm_writer_used(&w));
    CHECK_SPAN(hash, sizeof hash, expected_hash);
    crypto_core_ristretto255_from_hash(g, hash);
    CHECK_SPAN(g, sizeof g, expected);
    memset(g, 0, sizeof g);
    srm_pake_generator(prs, ci, sid, g);
    CHECK_SPAN(g, sizeof g, expected);
}

TEST(generators_as_recorded) {
    check_generator(cpace_vectors.generator.PRS, cpace_vectors.generator.CI, cpace_vectors.generator.sid,
                    cpace_vectors.generator.generator_string, cpace_vectors.generator.hash,
                    cpace_vectors.generator.encoded_generator);
    check_generator(handshake_vectors.pake.input.PRS, handshake_vectors.pake.output.CI,
                    handshake_vectors.pake.output.sid, handshake_vectors.pake.output.generator_string,
                    handshake_vectors.pake.output.generator_hash, handshake_vectors.pake.output.generator);
}

TEST(the_draft_run_gives_shares_and_k_on_both_sides) {
    uint8_t share[SRM_SHARE_SIZE], K[SRM_PAKE_SECRET_SIZE], g[SRM_SHARE_SIZE];
    srm_pake_generator(cpace_vectors.run.PRS, cpace_vectors.run.CI, cpace_vectors.run.sid, g);
    CHECK_SPAN(g, sizeof g, cpace_vectors.run.g);
    CHECK_EQ(crypto_scalarmult_ristretto255(share, cpace_vectors.run.ya.data, g), 0);
    CHECK_SPAN(share, sizeof share, cpace_vectors.run.Ya);
    CHECK_EQ(crypto_scalarmult_ristretto255(share, cpace_vectors.run.yb.data, g), 0);
    CHECK_SPAN(share, sizeof share, cpace_vectors.run.Yb);
    CHECK(srm_pake_finish(K, cpace_vectors.run.ya.data, cpace_vectors.run.Yb.data));
    CHECK_SPAN(K, sizeof K, cpace_vectors.run.K);
    memset(K, 0, sizeof K);
    CHECK(srm_pake_finish(K, cpace_vectors.run.yb.data, cpace_vectors.run.Ya.data));
    CHECK_SPAN(K, sizeof K, cpace_vectors.run.K);
}

/* A run with the draft's values; `exchange` makes b the initiator. */
static srm_run draft_run(const uint8_t *K, bool exchange) {
    srm_run run = {.mode = SRM_RUN_PAKE,
                   .nonce = {cpace_vectors.run.sid.data, cpace_vectors.run.sid.data},
                   .share = {cpace_vectors.run.Ya.data, cpace_vectors.run.Yb.data},
                   .ad = {cpace_vectors.run.ADa, cpace_vectors.run.ADb},
                   .shared = K};
    if (exchange) {
        run.share[0] = cpace_vectors.run.Yb.data, run.share[1] = cpace_vectors.run.Ya.data;
        run.ad[0] = cpace_vectors.run.ADb, run.ad[1] = cpace_vectors.run.ADa;
    }
    return run;
}

TEST(the_draft_run_gives_isk_and_only_in_its_order) {
    uint8_t isk[64];
    srm_run run = draft_run(cpace_vectors.run.K.data, false);
    srm_run_isk(&run, isk);
    CHECK_SPAN(isk, sizeof isk, cpace_vectors.run.ISK_IR);
    run = draft_run(cpace_vectors.run.K.data, true);
    srm_run_isk(&run, isk);
    CHECK(memcmp(isk, cpace_vectors.run.ISK_IR.data, sizeof isk) != 0);
}

/* ISK_SY from the same K, with the roles exchanged too: in the draft's run Ya is the larger one. */
TEST(the_draft_run_gives_the_symmetric_isk_in_both_orders) {
    for (int exchange = 0; exchange < 2; exchange++) {
        uint8_t text[400], isk[64];
        srm_writer w = srm_writer_of(text, sizeof text);
        srm_lv_write(&w, SRM_LV_TEXT("CPaceRistretto255_ISK"));
        srm_lv_write(&w, cpace_vectors.run.sid);
        srm_lv_write(&w, cpace_vectors.run.K);
        if (exchange)
            transcript_oc(&w, EXCHANGED(cpace_vectors.run));
        else
            transcript_oc(&w, TRANSCRIPT(cpace_vectors.run));
        crypto_hash_sha512(isk, text, srm_writer_used(&w));
        CHECK_SPAN(isk, sizeof isk, cpace_vectors.run.ISK_SY);
    }
}

TEST(the_draft_run_gives_both_sid_outputs) {
    uint8_t text[400], out[64];
    srm_writer w = srm_writer_of(text, sizeof text);
    srm_write_bytes(&w, SRM_LV_TEXT("CPaceSidOutput"));
    part(&w, cpace_vectors.run.Ya, cpace_vectors.run.ADa);
    part(&w, cpace_vectors.run.Yb, cpace_vectors.run.ADb);
    crypto_hash_sha512(out, text, srm_writer_used(&w));
    CHECK_SPAN(out, sizeof out, cpace_vectors.run.sid_output_ir);
    w = srm_writer_of(text, sizeof text);
    srm_write_bytes(&w, SRM_LV_TEXT("CPaceSidOutput"));
    transcript_oc(&w, EXCHANGED(cpace_vectors.run));
    crypto_hash_sha512(out, text, srm_writer_used(&w));
    CHECK_SPAN(out, sizeof out, cpace_vectors.run.sid_output_oc);
}

TEST(scalar_multiplication_as_in_the_draft) {
    uint8_t K[SRM_PAKE_SECRET_SIZE];
    CHECK(srm_pake_finish(K, cpace_vectors.scalar_mult.s.data, cpace_vectors.scalar_mult.X.data));
    CHECK_SPAN(K, sizeof K, cpace_vectors.scalar_mult.out);
    CHECK_SPAN(K, sizeof K, cpace_vectors.scalar_mult.out_vfy);
}

static void refused(srm_span share) {
    static const uint8_t zero[SRM_PAKE_SECRET_SIZE];
    uint8_t K[SRM_PAKE_SECRET_SIZE];
    memset(K, 0xa5, sizeof K);
    CHECK(!srm_pake_finish(K, cpace_vectors.scalar_mult.s.data, share.data));
    CHECK_MEM(K, zero, sizeof K);
}

TEST(invalid_points_and_bad_encodings_are_refused) {
    for (size_t i = 0; i < SRM_COUNT_OF(cpace_vectors.invalid_points); i++)
        refused(cpace_vectors.invalid_points[i].Y);
    for (size_t i = 0; i < SRM_COUNT_OF(cpace_vectors.ristretto255_bad_encodings.encodings); i++)
        refused(cpace_vectors.ristretto255_bad_encodings.encodings[i]);
    refused(cpace_vectors.suite.G_I); /* the neutral element */
}

/* ---- Our recorded runs ---- */

TEST(the_recorded_pake_run) {
    const srm_span prs = handshake_vectors.pake.input.PRS, label = handshake_vectors.pake.input.label;
    const uint8_t *nonce = handshake_vectors.pake.input.nI.data;
    uint8_t Y[SRM_SHARE_SIZE], K[SRM_PAKE_SECRET_SIZE];
    srm_pake_start_with(handshake_vectors.pake.input.y_I.data, Y, prs, label, nonce);
    CHECK_SPAN(Y, sizeof Y, handshake_vectors.pake.output.Y_I);
    srm_pake_start_with(handshake_vectors.pake.input.y_R.data, Y, prs, label, nonce);
    CHECK_SPAN(Y, sizeof Y, handshake_vectors.pake.output.Y_R);
    CHECK(srm_pake_finish(K, handshake_vectors.pake.input.y_I.data, handshake_vectors.pake.output.Y_R.data));
    CHECK_SPAN(K, sizeof K, handshake_vectors.pake.output.K);
    CHECK(srm_pake_finish(K, handshake_vectors.pake.input.y_R.data, handshake_vectors.pake.output.Y_I.data));
    CHECK_SPAN(K, sizeof K, handshake_vectors.pake.output.K);
}

static void give_bytes(void *context, uint8_t *out, size_t size) {
    memcpy(out, context, size);
}

TEST(the_recorded_resume_run) {
    uint8_t bytes[32], secret[SRM_PAKE_SCALAR_SIZE], Y[SRM_SHARE_SIZE], dh[SRM_PAKE_SECRET_SIZE];
    const srm_entropy entropy = {give_bytes, bytes};
    memcpy(bytes, handshake_vectors.resume.input.e_I.data, sizeof bytes);
    srm_pake_x25519_start(secret, Y, &entropy);
    CHECK_SPAN(Y, sizeof Y, handshake_vectors.resume.output.Y_I);
    CHECK(srm_pake_x25519_finish(dh, secret, handshake_vectors.resume.output.Y_R.data));
    CHECK_SPAN(dh, sizeof dh, handshake_vectors.resume.output.K);
    memcpy(bytes, handshake_vectors.resume.input.e_R.data, sizeof bytes);
    srm_pake_x25519_start(secret, Y, &entropy);
    CHECK_SPAN(Y, sizeof Y, handshake_vectors.resume.output.Y_R);
    CHECK(srm_pake_x25519_finish(dh, secret, handshake_vectors.resume.output.Y_I.data));
    CHECK_SPAN(dh, sizeof dh, handshake_vectors.resume.output.K);
}

TEST(x25519_as_in_rfc_7748) {
    uint8_t bytes[32], secret[SRM_PAKE_SCALAR_SIZE], share[SRM_SHARE_SIZE], dh[SRM_PAKE_SECRET_SIZE];
    const srm_entropy entropy = {give_bytes, bytes};
    memcpy(bytes, primitive_vectors.x25519.a.data, sizeof bytes);
    srm_pake_x25519_start(secret, share, &entropy);
    CHECK_SPAN(share, sizeof share, primitive_vectors.x25519.A);
    CHECK(srm_pake_x25519_finish(dh, secret, primitive_vectors.x25519.B.data));
    CHECK_SPAN(dh, sizeof dh, primitive_vectors.x25519.shared);
}

TEST(x25519_shares_of_small_order_are_refused) {
    static const uint8_t zero[32];
    uint8_t secret[32] = {7}, share[32] = {0}, dh[32];
    for (uint8_t first = 0; first < 2; first++) { /* u = 0 and u = 1 */
        share[0] = first;
        memset(dh, 0xa5, sizeof dh);
        CHECK(!srm_pake_x25519_finish(dh, secret, share));
        CHECK_MEM(dh, zero, sizeof dh);
    }
}

/* ---- Two sides ---- */

static void meet(srm_span prs_a, srm_span prs_b, srm_span label_b, uint8_t nonce_b_first, uint8_t Ka[32],
                 uint8_t Kb[32]) {
    uint8_t counter = 1, ya[32], yb[32], Ya[32], Yb[32], nonce_a[16] = {9}, nonce_b[16] = {9};
    const srm_entropy entropy = {count_up, &counter};
    nonce_b[0] = nonce_b_first;
    srm_pake_start(ya, Ya, prs_a, srm_span_of("chat", 4), nonce_a, &entropy);
    srm_pake_start(yb, Yb, prs_b, label_b, nonce_b, &entropy);
    CHECK(memcmp(ya, yb, 32) != 0 && memcmp(Ya, Yb, 32) != 0);
    CHECK(srm_pake_finish(Ka, ya, Yb));
    CHECK(srm_pake_finish(Kb, yb, Ya));
}

TEST(the_same_passphrase_label_and_nonce_agree_and_nothing_else) {
    const srm_span right = srm_span_of("passphrase", 10), chat = srm_span_of("chat", 4);
    uint8_t Ka[32], Kb[32];
    meet(right, right, chat, 9, Ka, Kb);
    CHECK_MEM(Ka, Kb, 32);
    meet(right, srm_span_of("passphrasf", 10), chat, 9, Ka, Kb);
    CHECK(memcmp(Ka, Kb, 32) != 0);
    meet(right, srm_span_of("passphrase", 11), chat, 9, Ka, Kb); /* a zero more */
    CHECK(memcmp(Ka, Kb, 32) != 0);
    meet(right, right, srm_span_of("chatt", 5), 9, Ka, Kb);
    CHECK(memcmp(Ka, Kb, 32) != 0);
    meet(right, right, chat, 8, Ka, Kb);
    CHECK(memcmp(Ka, Kb, 32) != 0);
}

/* Passphrases around the length at which the padding ends (108 bytes with a one-byte prefix) and the longest.
 */
TEST(passphrases_of_every_length_agree) {
    static uint8_t long_one[SRM_KEY_MAX_SIZE];
    const size_t sizes[] = {
        1, 107, 108, 109, 110, 127, 128, 129, 1000, SRM_KEY_MAX_SIZE - 1, SRM_KEY_MAX_SIZE};
    uint8_t Ka[32], Kb[32], g[32], before[32] = {0};
    for (size_t i = 0; i < SRM_COUNT_OF(sizes); i++) {
        const srm_span prs = srm_span_of(long_one, sizes[i]);
        meet(prs, prs, srm_span_of("chat", 4), 9, Ka, Kb);
        CHECK_MEM(Ka, Kb, 32);
        srm_pake_generator(prs, srm_span_of("ci", 2), srm_span_of("sid", 3), g);
        CHECK(memcmp(g, before, 32) != 0);
        memcpy(before, g, 32);
    }
}

TEST(the_longest_label_is_taken) {
    static const uint8_t label[SRM_LABEL_MAX_SIZE];
    uint8_t counter = 1, y[32], Y[32], nonce[16] = {0};
    const srm_entropy entropy = {count_up, &counter};
    srm_pake_start(y, Y, srm_span_of("k", 1), srm_span_of(label, sizeof label), nonce, &entropy);
    CHECK(crypto_core_ristretto255_is_valid_point(Y));
}

TEST(scalars_stay_below_the_order) {
    uint8_t y[32], Y[32], nonce[16] = {0};
    const srm_entropy entropy = {all_ones, NULL};
    srm_pake_start(y, Y, srm_span_of("k", 1), srm_span_of("", 0), nonce, &entropy);
    CHECK_EQ(y[31], 0x0f);
    uint8_t wide[64] = {0}, reduced[32];
    memcpy(wide, y, 32);
    crypto_core_ristretto255_scalar_reduce(reduced, wide);
    CHECK_MEM(reduced, y, 32);
}

int main(int argc, char **argv) {
    if (sodium_init() < 0)
        return 1;
    return check_main(argc, argv);
}
