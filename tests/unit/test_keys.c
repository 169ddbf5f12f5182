#include "keys.h"

#include <sodium.h>

#include "check.h"
#include "lv.h"
#include "vectors.h"

#define CHECK_SPAN(actual, actual_size, expected)                                                            \
    do {                                                                                                     \
        CHECK_EQ(actual_size, (expected).size);                                                              \
        CHECK_MEM(actual, (expected).data, (expected).size);                                                 \
    } while (0)

/* ---- Strings ---- */

TEST(prepend_len_as_in_the_draft) {
    for (size_t i = 0; i < SRM_COUNT_OF(cpace_vectors.prepend_len); i++) {
        uint8_t out[200];
        srm_writer w = srm_writer_of(out, sizeof out);
        srm_lv_write(&w, cpace_vectors.prepend_len[i].in);
        CHECK_SPAN(out, srm_writer_used(&w), cpace_vectors.prepend_len[i].out);
    }
}

TEST(lv_cat_as_in_the_draft) {
    uint8_t out[32];
    srm_writer w = srm_writer_of(out, sizeof out);
    for (size_t i = 0; i < SRM_COUNT_OF(cpace_vectors.lv_cat[0].in); i++)
        srm_lv_write(&w, cpace_vectors.lv_cat[0].in[i]);
    CHECK_SPAN(out, srm_writer_used(&w), cpace_vectors.lv_cat[0].out);
}

TEST(length_prefixes_at_their_edges) {
    uint8_t out[SRM_LV_PREFIX_MAX];
    CHECK_EQ(srm_lv_prefix(127, out), 1);
    CHECK_EQ(srm_lv_prefix(128, out), 2);
    CHECK_EQ(srm_lv_prefix(16383, out), 2);
    CHECK_MEM(out, "\xff\x7f", 2);
    CHECK_EQ(srm_lv_prefix(16384, out), 3);
    CHECK_MEM(out, "\x80\x80\x01", 3);
    CHECK_EQ(srm_lv_prefix(UINT64_MAX, out), SRM_LV_PREFIX_MAX);
}

TEST(a_full_writer_fails_and_writes_nothing_behind) {
    uint8_t out[5] = {0, 0, 0, 0, 0xa5};
    srm_writer w = srm_writer_of(out, 4);
    srm_lv_write(&w, srm_span_of("abcd", 4));
    CHECK(w.failed);
    CHECK_EQ(out[4], 0xa5);
}

TEST(the_longest_label_fits_ci) {
    uint8_t label[SRM_LABEL_MAX_SIZE] = {0}, out[SRM_KEYS_CI_MAX];
    srm_writer w = srm_writer_of(out, sizeof out);
    srm_keys_write_ci(&w, srm_span_of(label, sizeof label));
    CHECK(!w.failed);
    CHECK_EQ(srm_writer_left(&w), 0);
}

TEST(the_empty_label_has_a_hash) {
    uint8_t out[SRM_LABEL_HASH_SIZE], again[SRM_LABEL_HASH_SIZE];
    srm_label_hash(srm_span_of(NULL, 0), out);
    srm_label_hash(srm_span_of("a", 1), again);
    CHECK(memcmp(out, again, sizeof out) != 0);
}

/* ---- HKDF ---- */

TEST(hkdf_gives_the_answers_for_rfc_5869_inputs) {
    for (size_t i = 0; i < SRM_COUNT_OF(primitive_vectors.hkdf_sha512.cases); i++) {
        uint8_t prk[SRM_KEYS_HASH_SIZE], out[100];
        const srm_span expected = primitive_vectors.hkdf_sha512.cases[i].output;
        srm_keys_extract(primitive_vectors.hkdf_sha512.cases[i].salt,
                         primitive_vectors.hkdf_sha512.cases[i].secret, prk);
        CHECK_SPAN(prk, sizeof prk, primitive_vectors.hkdf_sha512.cases[i].prk);
        srm_keys_hkdf_expand(srm_span_of(prk, sizeof prk), primitive_vectors.hkdf_sha512.cases[i].info, out,
                             expected.size);
        CHECK_MEM(out, expected.data, expected.size);
    }
}

/* RFC 5869: a shorter output is the beginning of a longer one, up to 255 blocks. */
TEST(hkdf_is_one_stream_and_may_overwrite_its_key) {
    static uint8_t whole[255 * SRM_KEYS_HASH_SIZE], part[255 * SRM_KEYS_HASH_SIZE];
    uint8_t prk[SRM_KEYS_HASH_SIZE] = {42};
    const srm_span info = srm_span_of("info", 4), key = srm_span_of(prk, sizeof prk);
    srm_keys_hkdf_expand(key, info, whole, sizeof whole);
    const size_t sizes[] = {0, 1, 63, 64, 65, 128, 129, 255 * 64 - 1};
    for (size_t i = 0; i < SRM_COUNT_OF(sizes); i++) {
        memset(part, 0xa5, sizeof part);
        srm_keys_hkdf_expand(key, info, part, sizes[i]);
        CHECK_MEM(part, whole, sizes[i]);
        CHECK_EQ(part[sizes[i]], 0xa5);
    }
    srm_keys_hkdf_expand(key, info, prk, sizeof prk);
    CHECK_MEM(prk, whole, sizeof prk);
}

TEST(expand_separates_names_contexts_and_sizes) {
    const uint8_t prk[64] = {1};
    const srm_span key = srm_span_of(prk, sizeof prk), none = {NULL, 0};
    uint8_t a[64], b[64];
    srm_keys_expand(key, "key", none, a, 32);
    srm_keys_expand(key, "iv", none, b, 32);
    CHECK(memcmp(a, b, 32) != 0);
    srm_keys_expand(key, "key", srm_span_of("x", 1), b, 32);
    CHECK(memcmp(a, b, 32) != 0);
    srm_keys_expand(key, "key", none, b, 64); /* the size is in info: not a prefix */
    CHECK(memcmp(a, b, 32) != 0);
    srm_keys_expand(key, "", srm_span_of("key", 3), b, 32); /* nor does a name run over into the context */
    CHECK(memcmp(a, b, 32) != 0);
}

TEST(the_longest_name_and_context_fit) {
    const uint8_t prk[64] = {1}, context[255] = {0};
    uint8_t out[16] = {0}, zero[16] = {0};
    srm_keys_expand(srm_span_of(prk, 64), "an expand name of 32 characters!", srm_span_of(context, 255), out,
                    16);
    CHECK(memcmp(out, zero, 16) != 0);
}

TEST(equal_compares_every_bit) {
    uint8_t a[32] = {0}, b[32] = {0};
    CHECK(srm_keys_equal(a, b, 32));
    CHECK(srm_keys_equal(a, b, 0));
    for (size_t bit = 0; bit < 256; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(!srm_keys_equal(a, b, 32));
        b[bit / 8] = 0;
    }
}

/* ---- The two recorded runs ---- */

/* What both recorded runs have. */
typedef struct recorded {
    srm_run_mode mode;
    srm_span label, label_hash, nonce[2], id[2], versions, aeads[2], caps[2], params[2], resume_id,
        resumption;
    srm_span ci, ad[2], share[2], shared, transcript, isk, th, prk, confirm_key, tag[2], hs[2], hp[2];
    srm_span ts[2][2], key[2][2], iv[2][2];                            /* [role][epoch] */
    srm_span resumption_out, resume_id_0, exporter, hello, message[2]; /* message: CONFIRM of I, REPLY of R */
} recorded;

#define RECORDED(run, run_mode, resume_id_span, resumption_span)                                             \
    (recorded) {                                                                                             \
        .mode = run_mode, .label = (run).input.label, .label_hash = (run).input.label_hash,                  \
        .nonce = {(run).input.nI, (run).input.nR},                                                           \
        .id = {(run).input.connection_id_I, (run).input.connection_id_R}, .versions = (run).input.versions,  \
        .aeads = {(run).input.aeads_I, (run).input.aeads_R},                                                 \
        .caps = {(run).input.caps_I, (run).input.caps_R},                                                    \
        .params = {(run).input.params_I, (run).input.params_R}, .resume_id = resume_id_span,                 \
        .resumption = resumption_span, .ci = (run).output.CI, .ad = {(run).output.AD_I, (run).output.AD_R},  \
        .share = {(run).output.Y_I, (run).output.Y_R}, .shared = (run).output.K,                             \
        .transcript = (run).output.transcript, .isk = (run).output.ISK, .th = (run).output.th,               \
        .prk = (run).output.prk, .confirm_key = (run).output.confirm_key,                                    \
        .tag = {(run).output.tag_I, (run).output.tag_R}, .hs = {(run).output.hs_I, (run).output.hs_R},       \
        .hp = {(run).output.hp_I, (run).output.hp_R},                                                        \
        .ts = {{(run).output.ts_I_0, (run).output.ts_I_1}, {(run).output.ts_R_0, (run).output.ts_R_1}},      \
        .key = {{(run).output.key_I_0, (run).output.key_I_1}, {(run).output.key_R_0, (run).output.key_R_1}}, \
        .iv = {{(run).output.iv_I_0, (run).output.iv_I_1}, {(run).output.iv_R_0, (run).output.iv_R_1}},      \
        .resumption_out = (run).output.resumption_out, .resume_id_0 = (run).output.resume_id_0,              \
        .exporter = (run).output.exporter, .hello = (run).output.hello,                                      \
        .message = {(run).output.confirm, (run).output.reply},                                               \
    }

static size_t recorded_runs(recorded out[2]) {
    const srm_span none = {NULL, 0};
    out[0] = RECORDED(handshake_vectors.pake, SRM_RUN_PAKE, none, none);
    out[1] = RECORDED(handshake_vectors.resume, SRM_RUN_RESUME, handshake_vectors.resume.output.resume_id,
                      handshake_vectors.resume.input.resumption);
    return 2;
}

static srm_run run_of(const recorded *r) {
    return (srm_run){.mode = r->mode,
                     .label = r->label,
                     .nonce = {r->nonce[0].data, r->nonce[1].data},
                     .share = {r->share[0].data, r->share[1].data},
                     .ad = {r->ad[0], r->ad[1]},
                     .shared = r->shared.data,
                     .resumption = r->resumption.data};
}

TEST(ci_label_hash_and_ad_of_the_recorded_runs) {
    recorded runs[2];
    for (size_t i = 0, n = recorded_runs(runs); i < n; i++) {
        const recorded *r = &runs[i];
        uint8_t out[256], hash[SRM_LABEL_HASH_SIZE];
        srm_writer w = srm_writer_of(out, sizeof out);
        srm_keys_write_ci(&w, r->label);
        CHECK_SPAN(out, srm_writer_used(&w), r->ci);
        srm_label_hash(r->label, hash);
        CHECK_SPAN(hash, sizeof hash, r->label_hash);
        for (size_t role = 0; role < 2; role++) {
            srm_ad ad = {.mode = (uint8_t)r->mode,
                         .versions = r->versions,
                         .aeads = r->aeads[role],
                         .capabilities = r->caps[role],
                         .connection_id = r->id[role],
                         .nonce_i = r->nonce[SRM_ROLE_INITIATOR],
                         .last = role == SRM_ROLE_INITIATOR ? r->resume_id : r->nonce[SRM_ROLE_RESPONDER]};
            w = srm_writer_of(out, sizeof out);
            srm_ad_write(&w, &ad);
            CHECK_SPAN(out, srm_writer_used(&w), r->ad[role]);
        }
    }
}

TEST(transcript_isk_th_prk_and_confirm_key_of_the_recorded_runs) {
    recorded runs[2];
    for (size_t i = 0, n = recorded_runs(runs); i < n; i++) {
        const recorded *r = &runs[i];
        const srm_run run = run_of(r);
        uint8_t text[512], isk[64], th[64], prk[64], confirm[64];
        srm_writer w = srm_writer_of(text, sizeof text);
        for (size_t role = 0; role < 2; role++) {
            srm_lv_write(&w, r->share[role]);
            srm_lv_write(&w, r->ad[role]);
        }
        CHECK_SPAN(text, srm_writer_used(&w), r->transcript);
        srm_run_isk(&run, isk);
        CHECK_SPAN(isk, sizeof isk, r->isk);
        srm_run_transcript_hash(&run, th);
        CHECK_SPAN(th, sizeof th, r->th);
        srm_keys_extract(r->th, r->isk, prk);
        CHECK_SPAN(prk, sizeof prk, r->prk);
        srm_keys_expand(r->prk, "confirm", r->th, confirm, sizeof confirm);
        CHECK_SPAN(confirm, sizeof confirm, r->confirm_key);
    }
}

TEST(all_keys_of_the_recorded_runs) {
    recorded runs[2];
    for (size_t i = 0, n = recorded_runs(runs); i < n; i++) {
        const recorded *r = &runs[i];
        const srm_run run = run_of(r);
        srm_run_keys keys;
        srm_run_derive(&run, &keys);
        CHECK_SPAN(keys.th, sizeof keys.th, r->th);
        for (size_t role = 0; role < 2; role++) {
            CHECK_SPAN(keys.tag[role], sizeof keys.tag[role], r->tag[role]);
            CHECK_SPAN(keys.hs[role], sizeof keys.hs[role], r->hs[role]);
            CHECK_SPAN(keys.ts[role], sizeof keys.ts[role], r->ts[role][0]);
        }
        CHECK_SPAN(keys.resumption, sizeof keys.resumption, r->resumption_out);
        CHECK_SPAN(keys.exporter, sizeof keys.exporter, r->exporter);
        uint8_t id[SRM_KEYS_RESUME_ID_SIZE], other[SRM_KEYS_RESUME_ID_SIZE];
        srm_resume_id(keys.resumption, 0, id);
        CHECK_SPAN(id, sizeof id, r->resume_id_0);
        srm_resume_id(keys.resumption, 1, other);
        CHECK(memcmp(id, other, sizeof id) != 0);
        srm_run_keys_fini(&keys);
        const srm_run_keys zero = {0};
        CHECK_MEM(&keys, &zero, sizeof keys);
    }
}

TEST(both_epochs_of_the_recorded_runs) {
    recorded runs[2];
    for (size_t i = 0, n = recorded_runs(runs); i < n; i++) {
        for (size_t role = 0; role < 2; role++) {
            uint8_t ts[64], key[32], iv[16], hp[32];
            memcpy(ts, runs[i].ts[role][0].data, sizeof ts);
            srm_epoch_header_key(ts, hp);
            CHECK_SPAN(hp, sizeof hp, runs[i].hp[role]);
            for (size_t epoch = 0; epoch < 2; epoch++) {
                CHECK_SPAN(ts, sizeof ts, runs[i].ts[role][epoch]);
                srm_epoch_derive(ts, key, iv);
                CHECK_SPAN(key, sizeof key, runs[i].key[role][epoch]);
                CHECK_SPAN(iv, sizeof iv, runs[i].iv[role][epoch]);
                srm_epoch_next(ts);
            }
        }
    }
}

/* CONFIRM: tag at 36, sealed at 70. REPLY: tag at 86, TLVs at 120, sealed behind them. */
static size_t sealed_at(const recorded *r, size_t role) {
    const uint8_t *bytes = r->message[role].data;
    return role == SRM_ROLE_INITIATOR ? 70 : (size_t)(120 + (bytes[118] << 8 | bytes[119]) + 2);
}

TEST(the_messages_of_the_recorded_runs_hold_these_tags_and_sealed_parameters) {
    recorded runs[2];
    for (size_t i = 0, n = recorded_runs(runs); i < n; i++) {
        for (size_t role = 0; role < 2; role++) {
            const recorded *r = &runs[i];
            const uint8_t *message = r->message[role].data;
            size_t at = sealed_at(r, role), size = r->params[role].size;
            uint8_t data[64];
            CHECK_MEM(message + (role == SRM_ROLE_INITIATOR ? 36 : 86), r->tag[role].data, SRM_TAG_SIZE);
            CHECK_EQ(message[at - 2] << 8 | message[at - 1], size + SRM_KEYS_SEALED_OVERHEAD);
            CHECK_EQ(at + size + SRM_KEYS_SEALED_OVERHEAD, r->message[role].size);
            memcpy(data, r->params[role].data, size);
            srm_params_seal(r->hs[role].data, message, r->tag[role].data, data, size);
            CHECK_MEM(data, message + at, size + SRM_KEYS_SEALED_OVERHEAD);
            CHECK(srm_params_open(r->hs[role].data, message, r->tag[role].data, data,
                                  size + SRM_KEYS_SEALED_OVERHEAD));
            CHECK_MEM(data, r->params[role].data, size);
        }
        CHECK_MEM(runs[i].hello.data + 38, runs[i].share[0].data, SRM_SHARE_SIZE);
        CHECK_MEM(runs[i].hello.data + 102, runs[i].label_hash.data, SRM_LABEL_HASH_SIZE);
    }
}

TEST(sealed_parameters_are_bound_to_header_and_tag) {
    const uint8_t hs[32] = {1};
    uint8_t header[36] = {2}, tag[32] = {3}, sealed[26] = "ten bytes!", data[26];
    srm_params_seal(hs, header, tag, sealed, 10);
    for (size_t i = 0; i < 36; i++) {
        header[i] ^= 1;
        memcpy(data, sealed, sizeof data);
        CHECK_EQ(srm_params_open(hs, header, tag, data, sizeof data),
                 i >= 34); /* the two counters are free */
        header[i] ^= 1;
    }
    for (size_t i = 0; i < 32; i++) {
        tag[i] ^= 1;
        memcpy(data, sealed, sizeof data);
        CHECK(!srm_params_open(hs, header, tag, data, sizeof data));
        tag[i] ^= 1;
    }
    for (size_t size = 0; size < sizeof data; size++) {
        memcpy(data, sealed, sizeof data);
        CHECK(!srm_params_open(hs, header, tag, data, size));
    }
    memcpy(data, sealed, sizeof data);
    CHECK(srm_params_open(hs, header, tag, data, sizeof data));
}

/* ---- Every input matters ---- */

static void tags_of(const srm_run *run, uint8_t out[64]) {
    srm_run_keys keys;
    srm_run_derive(run, &keys);
    memcpy(out, keys.tag, 64);
    srm_run_keys_fini(&keys);
}

static bool changes_tags(const srm_run *run, const uint8_t before[64]) {
    uint8_t after[64];
    tags_of(run, after);
    return memcmp(before, after, 32) != 0 && memcmp(before + 32, after + 32, 32) != 0;
}

TEST(a_change_of_any_input_changes_both_tags) {
    recorded runs[2];
    for (size_t i = 0, n = recorded_runs(runs); i < n; i++) {
        const srm_run run = run_of(&runs[i]);
        uint8_t before[64], changed[80];
        tags_of(&run, before);
        CHECK(!changes_tags(&run, before));
        for (size_t role = 0; role < 2; role++) {
            srm_run other = run;
            memcpy(changed, run.nonce[role], 16), changed[15] ^= 1, other.nonce[role] = changed;
            CHECK(changes_tags(&other, before));
            other = run;
            memcpy(changed, run.share[role], 32), changed[31] ^= 1, other.share[role] = changed;
            CHECK(changes_tags(&other, before));
            other = run;
            memcpy(changed, run.ad[role].data, run.ad[role].size), changed[3] ^= 1,
                other.ad[role].data = changed;
            CHECK(changes_tags(&other, before));
            other = run, other.ad[role].size -= 1;
            CHECK(changes_tags(&other, before));
        }
        srm_run other = run;
        memcpy(changed, run.shared, 32), changed[0] ^= 1, other.shared = changed;
        CHECK(changes_tags(&other, before));
        other = run, other.label = srm_span_of("chatt", 5);
        CHECK(changes_tags(&other, before));
        other = run, other.nonce[0] = run.nonce[1], other.nonce[1] = run.nonce[0];
        CHECK(changes_tags(&other, before));
    }
}

TEST(the_resumption_secret_matters) {
    recorded runs[2];
    (void)recorded_runs(runs);
    srm_run run = run_of(&runs[1]);
    uint8_t before[64], secret[32];
    tags_of(&run, before);
    memcpy(secret, run.resumption, 32), secret[31] ^= 0x80, run.resumption = secret;
    CHECK(changes_tags(&run, before));
}

/* A tag sent back to its sender is not the tag it waits for, even when both sides said the same. */
TEST(a_reflected_tag_is_not_the_other_tag) {
    recorded runs[2];
    (void)recorded_runs(runs);
    srm_run run = run_of(&runs[0]);
    run.share[1] = run.share[0], run.ad[1] = run.ad[0];
    uint8_t tags[64];
    tags_of(&run, tags);
    CHECK(memcmp(tags, tags + 32, 32) != 0);
}

/* ---- Epochs and resumption ---- */

TEST(a_mixed_ratchet_depends_on_secret_and_fresh_input) {
    uint8_t plain[64] = {1}, mixed[64] = {1}, mixed2[64] = {1}, other[64] = {2}, step[64] = {1};
    const uint8_t fresh[32] = {9}, fresh2[32] = {8};
    srm_epoch_next(plain);
    srm_epoch_next_mixed(mixed, srm_span_of(fresh, 32));
    srm_epoch_next_mixed(mixed2, srm_span_of(fresh2, 32));
    srm_epoch_next_mixed(other, srm_span_of(fresh, 32));
    CHECK(memcmp(plain, mixed, 64) != 0 && memcmp(mixed, mixed2, 64) != 0 && memcmp(mixed, other, 64) != 0);
    srm_keys_extract(srm_span_of(step, 64), srm_span_of(fresh, 32), step);
    srm_epoch_next(step);
    CHECK_MEM(mixed, step, 64);
}

TEST(epoch_init_makes_a_working_pair) {
    uint8_t list[SRM_AEAD_KINDS], ts[64] = {5}, data[64] = "hello";
    size_t count = srm_aead_list(list);
    for (size_t i = 0; i < count; i++) {
        srm_aead sender, receiver;
        srm_epoch_init(&sender, (srm_aead_kind)list[i], ts);
        srm_epoch_init(&receiver, (srm_aead_kind)list[i], ts);
        srm_aead_seal(&sender, 3, srm_span_of("h", 1), data, 5);
        CHECK(srm_aead_open(&receiver, 3, srm_span_of("h", 1), data,
                            5 + srm_aead_tag_size((srm_aead_kind)list[i])));
        CHECK_MEM(data, "hello", 5);
        srm_aead_fini(&sender);
        srm_aead_fini(&receiver);
        srm_epoch_next(ts);
    }
}

TEST(resume_id_binder_and_early_keys_of_the_recorded_run) {
    uint8_t id[16], binder_key[32], binder[16], ts[64], key[32], iv[16], hp[32];
    const uint8_t *resumption = handshake_vectors.resume.input.resumption.data;
    srm_resume_id(resumption, (uint32_t)handshake_vectors.resume.input.resume_index, id);
    CHECK_SPAN(id, sizeof id, handshake_vectors.resume.output.resume_id);
    srm_keys_expand(handshake_vectors.resume.input.resumption, "binder", srm_span_of(NULL, 0), binder_key,
                    32);
    CHECK_SPAN(binder_key, sizeof binder_key, handshake_vectors.resume.output.binder_key);
    srm_resume_binder(resumption, handshake_vectors.resume.output.Y_I.data,
                      handshake_vectors.resume.output.AD_I, binder);
    CHECK_SPAN(binder, sizeof binder, handshake_vectors.resume.output.binder);
    const uint8_t *hello = handshake_vectors.resume.output.hello.data;
    CHECK_MEM(hello + 112 + (hello[110] << 8 | hello[111]), binder, sizeof binder);
    srm_resume_early(resumption, id, handshake_vectors.resume.input.nI.data,
                     handshake_vectors.resume.output.Y_I.data, ts);
    CHECK_SPAN(ts, sizeof ts, handshake_vectors.resume.output.early_ts);
    srm_epoch_derive(ts, key, iv);
    srm_epoch_header_key(ts, hp);
    CHECK_SPAN(key, sizeof key, handshake_vectors.resume.output.early_key);
    CHECK_SPAN(iv, sizeof iv, handshake_vectors.resume.output.early_iv);
    CHECK_SPAN(hp, sizeof hp, handshake_vectors.resume.output.early_hp);
}

int main(int argc, char **argv) {
    if (sodium_init() < 0)
        return 1;
    return check_main(argc, argv);
}
