/* cookie - proof that a source can read what is sent to it, without remembering it. RETRY gives a cookie, the
 * repeated HELLO brings it back.
 *
 *     cookie = BLAKE2b-128(key = secret of this SRM_COOKIE_LIFE (120 s), family || ip (4 or 16 bytes) || port
 * || nI || Y_I)
 *
 * The secret before is valid too, so a cookie lives 120 to 240 s. It is bound to nI and Y_I: one cookie is
 * good for one HELLO's run, not for a stream of guesses.
 */
#ifndef SRM_COOKIE_H
#define SRM_COOKIE_H

#include "../include/srmudp.h"
#include "base.h"
#include "limits.h"

/* The secrets of one endpoint. All fields are private. */
typedef struct srm_cookie {
    uint8_t secret[2][32]; /* of this period, of the one before */
    srm_time since;        /* when the period began */
    srm_entropy entropy;
} srm_cookie;

/* Draws the first secrets. `entropy` is kept: its context must outlive the struct. */
void srm_cookie_init(srm_cookie *cookie, const srm_entropy *entropy, srm_time now);
/* Erases the secrets. */
void srm_cookie_fini(srm_cookie *cookie);

/* The cookie to send to `from` for the HELLO with this nonce (16 bytes) and share (32 bytes). */
void srm_cookie_make(srm_cookie *cookie, srm_time now, const srmudp_address *from,
                     const uint8_t nonce_i[SRM_NONCE_SIZE], const uint8_t share_i[SRM_SHARE_SIZE],
                     uint8_t out[SRM_COOKIE_SIZE]);

/* Whether a cookie that came with such a HELLO from `from` is ours and not too old; constant time. */
bool srm_cookie_check(srm_cookie *cookie, srm_time now, const srmudp_address *from,
                      const uint8_t nonce_i[SRM_NONCE_SIZE], const uint8_t share_i[SRM_SHARE_SIZE],
                      const uint8_t shown[SRM_COOKIE_SIZE]);

#endif
