/* lv - prepend_len of draft-irtf-cfrg-cpace-21 (section "Definitions"): a length as LEB128 (7 bits a byte,
 * low ones first, the top bit says that more follow), then the bytes. lv_cat(a, b, ..) is one call after the
 * other. Written to a cursor or streamed into a hash, so that secrets aren't copied together first. Only for
 * keys.c and pake.c.
 */
#ifndef SRM_LV_H
#define SRM_LV_H

#include <sodium.h>

#include "base.h"
#include "bytes.h"

#define SRM_LV_PREFIX_MAX 10

/* The length prefix of `size` bytes; returns its own size (1 below 128). */
static inline size_t srm_lv_prefix(uint64_t size, uint8_t out[SRM_LV_PREFIX_MAX]) {
    size_t n = 0;
    for (; size >= 0x80; size >>= 7)
        out[n++] = (uint8_t)(size | 0x80);
    out[n++] = (uint8_t)size;
    return n;
}

static inline void srm_lv_write(srm_writer *w, srm_span bytes) {
    uint8_t prefix[SRM_LV_PREFIX_MAX];
    srm_write_bytes(w, srm_span_of(prefix, srm_lv_prefix(bytes.size, prefix)));
    srm_write_bytes(w, bytes);
}

static inline void srm_lv_hash(crypto_hash_sha512_state *state, srm_span bytes) {
    uint8_t prefix[SRM_LV_PREFIX_MAX];
    crypto_hash_sha512_update(state, prefix, srm_lv_prefix(bytes.size, prefix));
    crypto_hash_sha512_update(state, bytes.data, bytes.size);
}

static inline void srm_lv_hmac(crypto_auth_hmacsha512_state *state, srm_span bytes) {
    uint8_t prefix[SRM_LV_PREFIX_MAX];
    crypto_auth_hmacsha512_update(state, prefix, srm_lv_prefix(bytes.size, prefix));
    crypto_auth_hmacsha512_update(state, bytes.data, bytes.size);
}

/* A string literal without its final zero. */
#define SRM_LV_TEXT(literal) srm_span_of(literal, sizeof(literal) - 1)

#endif
