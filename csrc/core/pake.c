#include "pake.h"

#include <sodium.h>

#include "keys.h"
#include "lv.h"

#define HASH_BLOCK 128 /* input block of SHA-512 */

_Static_assert(SRM_PAKE_SCALAR_SIZE == crypto_scalarmult_ristretto255_SCALARBYTES, "size of a scalar");
_Static_assert(SRM_SHARE_SIZE == crypto_scalarmult_ristretto255_BYTES, "size of an element");

static const uint8_t zeros[HASH_BLOCK];

/* Fills the first hash block, so that what follows is hashed in blocks of its own: the passphrase's length
 * and content don't show in the time of the rest. */
static size_t padding_after(srm_span domain, srm_span prs) {
    uint8_t prefix[SRM_LV_PREFIX_MAX];
    size_t used = 1 + domain.size + srm_lv_prefix(prs.size, prefix) + prs.size;
    return used < HASH_BLOCK - 1 ? HASH_BLOCK - 1 - used : 0;
}

void srm_pake_generator(srm_span prs, srm_span ci, srm_span sid, uint8_t g[SRM_SHARE_SIZE]) {
    const srm_span domain = SRM_LV_TEXT("CPaceRistretto255");
    uint8_t hash[crypto_hash_sha512_BYTES];
    crypto_hash_sha512_state state;
    crypto_hash_sha512_init(&state);
    srm_lv_hash(&state, domain);
    srm_lv_hash(&state, prs);
    srm_lv_hash(&state, srm_span_of(zeros, padding_after(domain, prs)));
    srm_lv_hash(&state, ci);
    srm_lv_hash(&state, sid);
    crypto_hash_sha512_final(&state, hash);
    crypto_core_ristretto255_from_hash(g, hash);
    sodium_memzero(hash, sizeof hash);
}

void srm_pake_start_with(const uint8_t y[SRM_PAKE_SCALAR_SIZE], uint8_t Y[SRM_SHARE_SIZE],
                         srm_span passphrase, srm_span label, const uint8_t nonce_i[SRM_NONCE_SIZE]) {
    uint8_t ci[SRM_KEYS_CI_MAX], g[SRM_SHARE_SIZE];
    srm_writer w = srm_writer_of(ci, sizeof ci);
    srm_keys_write_ci(&w, label);
    SRM_ASSERT(!w.failed);
    srm_pake_generator(passphrase, srm_writer_span(&w), srm_span_of(nonce_i, SRM_NONCE_SIZE), g);
    /* A neutral share has no other cause than a scalar of zeros (the group has prime order). */
    SRM_ASSERT(crypto_scalarmult_ristretto255(Y, y, g) == 0);
    sodium_memzero(g, sizeof g);
}

void srm_pake_start(uint8_t y[SRM_PAKE_SCALAR_SIZE], uint8_t Y[SRM_SHARE_SIZE], srm_span passphrase,
                    srm_span label, const uint8_t nonce_i[SRM_NONCE_SIZE], const srm_entropy *entropy) {
    entropy->fill(entropy->context, y, SRM_PAKE_SCALAR_SIZE);
    y[SRM_PAKE_SCALAR_SIZE - 1] &= 0x0f; /* below the group's order 2^252 + .. without a bias to reduce */
    srm_pake_start_with(y, Y, passphrase, label, nonce_i);
}

bool srm_pake_finish(uint8_t K[SRM_PAKE_SECRET_SIZE], const uint8_t y[SRM_PAKE_SCALAR_SIZE],
                     const uint8_t Y_remote[SRM_SHARE_SIZE]) {
    /* Only this return value catches the neutral element: is_valid_point says yes to it. */
    if (crypto_scalarmult_ristretto255(K, y, Y_remote) == 0)
        return true;
    sodium_memzero(K, SRM_PAKE_SECRET_SIZE);
    return false;
}

void srm_pake_x25519_start(uint8_t secret[SRM_PAKE_SCALAR_SIZE], uint8_t share[SRM_SHARE_SIZE],
                           const srm_entropy *entropy) {
    entropy->fill(entropy->context, secret, SRM_PAKE_SCALAR_SIZE);
    crypto_scalarmult_curve25519_base(share, secret);
}

bool srm_pake_x25519_finish(uint8_t dh[SRM_PAKE_SECRET_SIZE], const uint8_t secret[SRM_PAKE_SCALAR_SIZE],
                            const uint8_t remote[SRM_SHARE_SIZE]) {
    if (crypto_scalarmult_curve25519(dh, secret, remote) == 0)
        return true;
    sodium_memzero(dh, SRM_PAKE_SECRET_SIZE);
    return false;
}
