#include "keys.h"

#include <sodium.h>

#include "lv.h"

#define NAME_MAX_SIZE 32
#define CONTEXT_MAX_SIZE 255
/* uint16(n), prepend_len("srmudp1 " || name), prepend_len(context) */
#define INFO_MAX_SIZE (2 + 1 + 8 + NAME_MAX_SIZE + 2 + CONTEXT_MAX_SIZE)
#define BLOCK SRM_KEYS_HASH_SIZE

static const srm_span nothing = {NULL, 0};
static const char role_letter[2] = {'I', 'R'};

/* ---- Strings ---- */

void srm_keys_write_ci(srm_writer *w, srm_span label) {
    srm_lv_write(w, SRM_LV_TEXT("srmudp/1"));
    srm_lv_write(w, SRM_LV_TEXT("\x01"));
    srm_lv_write(w, label);
}

void srm_ad_write(srm_writer *w, const srm_ad *ad) {
    srm_lv_write(w, srm_span_of(&ad->mode, 1));
    srm_lv_write(w, ad->versions);
    srm_lv_write(w, ad->aeads);
    srm_lv_write(w, ad->capabilities);
    srm_lv_write(w, ad->connection_id);
    srm_lv_write(w, ad->nonce_i);
    srm_lv_write(w, ad->last);
}

void srm_label_hash(srm_span label, uint8_t out[SRM_LABEL_HASH_SIZE]) {
    /* 8 bytes is less than crypto_generichash allows as a name, so the primitive is called by its own. */
    crypto_generichash_blake2b(out, SRM_LABEL_HASH_SIZE, label.data, label.size, NULL, 0);
}

bool srm_keys_equal(const uint8_t *a, const uint8_t *b, size_t size) {
    return sodium_memcmp(a, b, size) == 0;
}

/* ---- HKDF ---- */

void srm_keys_extract(srm_span salt, srm_span secret, uint8_t prk[SRM_KEYS_HASH_SIZE]) {
    crypto_auth_hmacsha512_state state;
    crypto_auth_hmacsha512_init(&state, salt.data, salt.size);
    crypto_auth_hmacsha512_update(&state, secret.data, secret.size);
    crypto_auth_hmacsha512_final(&state, prk);
}

void srm_keys_hkdf_expand(srm_span prk, srm_span info, uint8_t *out, size_t size) {
    SRM_ASSERT(size <= 255 * BLOCK);
    uint8_t key[BLOCK], block[BLOCK];
    /* `out` may be where `prk` lies; keys of more than one hash block are HMAC's business, not ours. */
    SRM_ASSERT(prk.size <= sizeof key);
    memcpy(key, prk.data, prk.size);
    size_t done = 0, previous = 0;
    for (uint8_t counter = 1; done < size; counter++) {
        crypto_auth_hmacsha512_state state;
        crypto_auth_hmacsha512_init(&state, key, prk.size);
        crypto_auth_hmacsha512_update(&state, block, previous);
        crypto_auth_hmacsha512_update(&state, info.data, info.size);
        crypto_auth_hmacsha512_update(&state, &counter, 1);
        crypto_auth_hmacsha512_final(&state, block);
        previous = sizeof block;
        size_t part = srm_size_min(size - done, sizeof block);
        memcpy(out + done, block, part);
        done += part;
    }
    sodium_memzero(key, sizeof key);
    sodium_memzero(block, sizeof block);
}

void srm_keys_expand(srm_span prk, const char *name, srm_span context, uint8_t *out, size_t size) {
    uint8_t text[8 + NAME_MAX_SIZE], info[INFO_MAX_SIZE];
    srm_writer name_writer = srm_writer_of(text, sizeof text);
    srm_write_bytes(&name_writer, SRM_LV_TEXT("srmudp1 "));
    srm_write_bytes(&name_writer, srm_span_of(name, strlen(name)));
    srm_writer w = srm_writer_of(info, sizeof info);
    srm_write_u16(&w, (uint16_t)size);
    srm_lv_write(&w, srm_writer_span(&name_writer));
    srm_lv_write(&w, context);
    SRM_ASSERT(!name_writer.failed && !w.failed);
    srm_keys_hkdf_expand(prk, srm_writer_span(&w), out, size);
}

/* ---- A run ---- */

static srm_span share_of(const srm_run *run, srm_role role) {
    return srm_span_of(run->share[role], SRM_SHARE_SIZE);
}

static srm_span nonce_of(const srm_run *run, srm_role role) {
    return srm_span_of(run->nonce[role], SRM_NONCE_SIZE);
}

/* T: initiator first, never sorted, so that the two roles can't be exchanged. */
static void hash_transcript(crypto_hash_sha512_state *state, const srm_run *run) {
    for (srm_role role = SRM_ROLE_INITIATOR; role <= SRM_ROLE_RESPONDER; role++) {
        srm_lv_hash(state, share_of(run, role));
        srm_lv_hash(state, run->ad[role]);
    }
}

static void isk_of_pake(const srm_run *run, uint8_t isk[SRM_KEYS_HASH_SIZE]) {
    crypto_hash_sha512_state state;
    crypto_hash_sha512_init(&state);
    srm_lv_hash(&state, SRM_LV_TEXT("CPaceRistretto255_ISK"));
    srm_lv_hash(&state, nonce_of(run, SRM_ROLE_INITIATOR));
    srm_lv_hash(&state, srm_span_of(run->shared, SRM_KEYS_SECRET_SIZE));
    hash_transcript(&state, run);
    crypto_hash_sha512_final(&state, isk);
}

static void isk_of_resume(const srm_run *run, uint8_t isk[SRM_KEYS_HASH_SIZE]) {
    crypto_auth_hmacsha512_state state;
    crypto_auth_hmacsha512_init(&state, run->nonce[SRM_ROLE_INITIATOR], SRM_NONCE_SIZE);
    srm_lv_hmac(&state, srm_span_of(run->resumption, SRM_KEYS_SECRET_SIZE));
    srm_lv_hmac(&state, srm_span_of(run->shared, SRM_KEYS_SECRET_SIZE));
    crypto_auth_hmacsha512_final(&state, isk);
}

void srm_run_isk(const srm_run *run, uint8_t isk[SRM_KEYS_HASH_SIZE]) {
    switch (run->mode) {
    case SRM_RUN_PAKE:
        isk_of_pake(run, isk);
        return;
    case SRM_RUN_RESUME:
        isk_of_resume(run, isk);
        return;
    }
    SRM_ASSERT(false);
}

void srm_run_transcript_hash(const srm_run *run, uint8_t th[SRM_KEYS_HASH_SIZE]) {
    const uint8_t mode = (uint8_t)run->mode;
    uint8_t ci[SRM_KEYS_CI_MAX];
    srm_writer w = srm_writer_of(ci, sizeof ci);
    srm_keys_write_ci(&w, run->label);
    SRM_ASSERT(!w.failed);
    crypto_hash_sha512_state state;
    crypto_hash_sha512_init(&state);
    srm_lv_hash(&state, SRM_LV_TEXT("srmudp1 th"));
    srm_lv_hash(&state, srm_span_of(&mode, 1));
    srm_lv_hash(&state, nonce_of(run, SRM_ROLE_INITIATOR));
    srm_lv_hash(&state, nonce_of(run, SRM_ROLE_RESPONDER));
    srm_lv_hash(&state, srm_writer_span(&w));
    hash_transcript(&state, run);
    crypto_hash_sha512_final(&state, th);
}

/* The tag a side sends: over its own share and AD, so a tag thrown back never verifies. */
static void make_tag(const srm_run *run, const uint8_t confirm[SRM_KEYS_HASH_SIZE], srm_role role,
                     uint8_t tag[SRM_TAG_SIZE]) {
    uint8_t whole[SRM_KEYS_HASH_SIZE];
    crypto_auth_hmacsha512_state state;
    crypto_auth_hmacsha512_init(&state, confirm, SRM_KEYS_HASH_SIZE);
    srm_lv_hmac(&state, srm_span_of(&role_letter[role], 1));
    srm_lv_hmac(&state, share_of(run, role));
    srm_lv_hmac(&state, run->ad[role]);
    crypto_auth_hmacsha512_final(&state, whole);
    memcpy(tag, whole, SRM_TAG_SIZE);
    sodium_memzero(whole, sizeof whole);
}

static void derive_of_role(const srm_run *run, srm_role role, srm_span prk, srm_span th,
                           const uint8_t confirm[SRM_KEYS_HASH_SIZE], srm_run_keys *out) {
    make_tag(run, confirm, role, out->tag[role]);
    srm_keys_expand(prk, role == SRM_ROLE_INITIATOR ? "hs I" : "hs R", th, out->hs[role],
                    sizeof out->hs[role]);
    srm_keys_expand(prk, role == SRM_ROLE_INITIATOR ? "ts I" : "ts R", th, out->ts[role],
                    sizeof out->ts[role]);
}

void srm_run_derive(const srm_run *run, srm_run_keys *out) {
    uint8_t isk[SRM_KEYS_HASH_SIZE], prk_bytes[SRM_KEYS_HASH_SIZE], confirm[SRM_KEYS_HASH_SIZE];
    const srm_span th = {out->th, sizeof out->th}, prk = {prk_bytes, sizeof prk_bytes};
    srm_run_isk(run, isk);
    srm_run_transcript_hash(run, out->th);
    srm_keys_extract(th, srm_span_of(isk, sizeof isk), prk_bytes);
    srm_keys_expand(prk, "confirm", th, confirm, sizeof confirm);
    derive_of_role(run, SRM_ROLE_INITIATOR, prk, th, confirm, out);
    derive_of_role(run, SRM_ROLE_RESPONDER, prk, th, confirm, out);
    srm_keys_expand(prk, "resume", th, out->resumption, sizeof out->resumption);
    srm_keys_expand(prk, "export", th, out->exporter, sizeof out->exporter);
    sodium_memzero(isk, sizeof isk);
    sodium_memzero(prk_bytes, sizeof prk_bytes);
    sodium_memzero(confirm, sizeof confirm);
}

void srm_run_keys_fini(srm_run_keys *keys) {
    sodium_memzero(keys, sizeof *keys);
}

/* ---- Parameters of REPLY and CONFIRM ---- */

static const uint8_t zero_nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

#define SEALED_AAD_SIZE (SRM_KEYS_SEALED_AAD_SIZE + SRM_TAG_SIZE)

static void sealed_aad(const uint8_t *header, const uint8_t *tag, uint8_t out[SEALED_AAD_SIZE]) {
    memcpy(out, header, SRM_KEYS_SEALED_AAD_SIZE);
    memcpy(out + SRM_KEYS_SEALED_AAD_SIZE, tag, SRM_TAG_SIZE);
}

void srm_params_seal(const uint8_t hs[SRM_KEYS_SECRET_SIZE], const uint8_t header[SRM_KEYS_SEALED_AAD_SIZE],
                     const uint8_t tag[SRM_TAG_SIZE], uint8_t *data, size_t size) {
    uint8_t aad[SEALED_AAD_SIZE];
    sealed_aad(header, tag, aad);
    crypto_aead_chacha20poly1305_ietf_encrypt(data, NULL, data, size, aad, sizeof aad, NULL, zero_nonce, hs);
}

bool srm_params_open(const uint8_t hs[SRM_KEYS_SECRET_SIZE], const uint8_t header[SRM_KEYS_SEALED_AAD_SIZE],
                     const uint8_t tag[SRM_TAG_SIZE], uint8_t *data, size_t size) {
    uint8_t aad[SEALED_AAD_SIZE];
    sealed_aad(header, tag, aad);
    return crypto_aead_chacha20poly1305_ietf_decrypt(data, NULL, NULL, data, size, aad, sizeof aad,
                                                     zero_nonce, hs) == 0;
}

/* ---- Epochs ---- */

static srm_span ts_span(const uint8_t ts[SRM_KEYS_HASH_SIZE]) {
    return srm_span_of(ts, SRM_KEYS_HASH_SIZE);
}

void srm_epoch_derive(const uint8_t ts[SRM_KEYS_HASH_SIZE], uint8_t key[SRM_AEAD_KEY_SIZE],
                      uint8_t iv[SRM_AEAD_IV_SIZE]) {
    srm_keys_expand(ts_span(ts), "key", nothing, key, SRM_AEAD_KEY_SIZE);
    srm_keys_expand(ts_span(ts), "iv", nothing, iv, SRM_AEAD_IV_SIZE);
}

void srm_epoch_init(srm_aead *aead, srm_aead_kind kind, const uint8_t ts[SRM_KEYS_HASH_SIZE]) {
    uint8_t key[SRM_AEAD_KEY_SIZE], iv[SRM_AEAD_IV_SIZE];
    srm_epoch_derive(ts, key, iv);
    srm_aead_init(aead, kind, key, iv);
    sodium_memzero(key, sizeof key);
    sodium_memzero(iv, sizeof iv);
}

void srm_epoch_next(uint8_t ts[SRM_KEYS_HASH_SIZE]) {
    srm_keys_expand(ts_span(ts), "ku", nothing, ts, SRM_KEYS_HASH_SIZE);
}

void srm_epoch_next_mixed(uint8_t ts[SRM_KEYS_HASH_SIZE], srm_span fresh) {
    srm_keys_extract(ts_span(ts), fresh, ts);
    srm_epoch_next(ts);
}

void srm_epoch_header_key(const uint8_t ts[SRM_KEYS_HASH_SIZE], uint8_t hp[SRM_KEYS_SECRET_SIZE]) {
    srm_keys_expand(ts_span(ts), "hp", nothing, hp, SRM_KEYS_SECRET_SIZE);
}

/* ---- Resumption ---- */

static srm_span secret_span(const uint8_t secret[SRM_KEYS_SECRET_SIZE]) {
    return srm_span_of(secret, SRM_KEYS_SECRET_SIZE);
}

void srm_resume_id(const uint8_t resumption[SRM_KEYS_SECRET_SIZE], uint32_t index,
                   uint8_t out[SRM_KEYS_RESUME_ID_SIZE]) {
    uint8_t number[4];
    srm_writer w = srm_writer_of(number, sizeof number);
    srm_write_u32(&w, index);
    srm_keys_expand(secret_span(resumption), "rid", srm_writer_span(&w), out, SRM_KEYS_RESUME_ID_SIZE);
}

void srm_resume_binder(const uint8_t resumption[SRM_KEYS_SECRET_SIZE], const uint8_t share_i[SRM_SHARE_SIZE],
                       srm_span ad_i, uint8_t out[SRM_KEYS_BINDER_SIZE]) {
    uint8_t key[SRM_KEYS_SECRET_SIZE], whole[SRM_KEYS_HASH_SIZE];
    srm_keys_expand(secret_span(resumption), "binder", nothing, key, sizeof key);
    crypto_auth_hmacsha512_state state;
    crypto_auth_hmacsha512_init(&state, key, sizeof key);
    srm_lv_hmac(&state, srm_span_of(share_i, SRM_SHARE_SIZE));
    srm_lv_hmac(&state, ad_i);
    crypto_auth_hmacsha512_final(&state, whole);
    memcpy(out, whole, SRM_KEYS_BINDER_SIZE);
    sodium_memzero(key, sizeof key);
    sodium_memzero(whole, sizeof whole);
}

void srm_resume_early(const uint8_t resumption[SRM_KEYS_SECRET_SIZE],
                      const uint8_t resume_id[SRM_KEYS_RESUME_ID_SIZE], const uint8_t nonce_i[SRM_NONCE_SIZE],
                      const uint8_t share_i[SRM_SHARE_SIZE], uint8_t ts[SRM_KEYS_HASH_SIZE]) {
    uint8_t context[1 + SRM_KEYS_RESUME_ID_SIZE + 1 + SRM_NONCE_SIZE + 1 + SRM_SHARE_SIZE];
    srm_writer w = srm_writer_of(context, sizeof context);
    srm_lv_write(&w, srm_span_of(resume_id, SRM_KEYS_RESUME_ID_SIZE));
    srm_lv_write(&w, srm_span_of(nonce_i, SRM_NONCE_SIZE));
    srm_lv_write(&w, srm_span_of(share_i, SRM_SHARE_SIZE));
    SRM_ASSERT(!w.failed);
    srm_keys_expand(secret_span(resumption), "early", srm_writer_span(&w), ts, SRM_KEYS_HASH_SIZE);
}
