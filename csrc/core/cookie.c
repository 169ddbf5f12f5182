#include "cookie.h"

#include <sodium.h>

static void draw(srm_cookie *cookie, uint8_t *secret) {
    cookie->entropy.fill(cookie->entropy.context, secret, sizeof cookie->secret[0]);
}

void srm_cookie_init(srm_cookie *cookie, const srm_entropy *entropy, srm_time now) {
    cookie->entropy = *entropy;
    cookie->since = now;
    draw(cookie, cookie->secret[0]);
    draw(cookie, cookie->secret[1]);
}

void srm_cookie_fini(srm_cookie *cookie) {
    sodium_memzero(cookie, sizeof *cookie);
}

/* After two silent periods the secret "before" is a fresh one too: nothing given out is valid any more. */
static void rotate(srm_cookie *cookie, srm_time now) {
    srm_time age = now - cookie->since;
    if (age < SRM_COOKIE_LIFE)
        return;
    if (age < 2 * SRM_COOKIE_LIFE)
        memcpy(cookie->secret[1], cookie->secret[0], sizeof cookie->secret[1]);
    else
        draw(cookie, cookie->secret[1]);
    draw(cookie, cookie->secret[0]);
    cookie->since += age / SRM_COOKIE_LIFE * SRM_COOKIE_LIFE;
}

static void compute(const uint8_t secret[32], const srmudp_address *from, const uint8_t *nonce_i,
                    const uint8_t *share_i, uint8_t out[SRM_COOKIE_SIZE]) {
    const uint8_t port[2] = {(uint8_t)(from->port >> 8), (uint8_t)from->port};
    crypto_generichash_blake2b_state state;
    crypto_generichash_blake2b_init(&state, secret, 32, SRM_COOKIE_SIZE);
    crypto_generichash_blake2b_update(&state, &from->family, 1);
    crypto_generichash_blake2b_update(&state, from->ip, from->family == 4 ? 4 : 16);
    crypto_generichash_blake2b_update(&state, port, sizeof port);
    crypto_generichash_blake2b_update(&state, nonce_i, SRM_NONCE_SIZE);
    crypto_generichash_blake2b_update(&state, share_i, SRM_SHARE_SIZE);
    crypto_generichash_blake2b_final(&state, out, SRM_COOKIE_SIZE);
}

void srm_cookie_make(srm_cookie *cookie, srm_time now, const srmudp_address *from,
                     const uint8_t nonce_i[SRM_NONCE_SIZE], const uint8_t share_i[SRM_SHARE_SIZE],
                     uint8_t out[SRM_COOKIE_SIZE]) {
    rotate(cookie, now);
    compute(cookie->secret[0], from, nonce_i, share_i, out);
}

bool srm_cookie_check(srm_cookie *cookie, srm_time now, const srmudp_address *from,
                      const uint8_t nonce_i[SRM_NONCE_SIZE], const uint8_t share_i[SRM_SHARE_SIZE],
                      const uint8_t shown[SRM_COOKIE_SIZE]) {
    rotate(cookie, now);
    uint8_t right[SRM_COOKIE_SIZE];
    bool good = false;
    for (size_t i = 0; i < 2 && !good; i++) {
        compute(cookie->secret[i], from, nonce_i, share_i, right);
        good = sodium_memcmp(right, shown, SRM_COOKIE_SIZE) == 0;
    }
    sodium_memzero(right, sizeof right);
    return good;
}
