/* pake - CPace over ristretto255 with SHA-512 (draft-irtf-cfrg-cpace-21), initiator-responder form: two sides
 * that hold the same, maybe weak, passphrase come to the same K; who doesn't hold it learns from a run
 * whether *one* guess was right, and nothing from a recording.
 *
 *     generator_string = lv_cat("CPaceRistretto255", PRS, zeros to fill one hash block, CI, sid)
 *     g = element derivation of SHA-512(generator_string)          y: 252 random bits        Y = y * g
 *     K = y * Y_remote
 *
 * PRS is the passphrase, CI = lv_cat("srmudp/1", 0x01, label), sid = nI. K goes into srm_run_derive (keys.h)
 * and is erased there by whoever called: it must never be stored, sent, compared or logged.
 *
 * The scalar's rule, kept by the callers: a responder's y meets one share, an initiator's at most its bound;
 * each use is one guess for the other side. Erase it (sodium_memzero) with the run.
 *
 * Also here: plain X25519 (RFC 7748) for runs that resume a session, and for key ratchets.
 */
#ifndef SRM_PAKE_H
#define SRM_PAKE_H

#include "base.h"
#include "limits.h"

#define SRM_PAKE_SCALAR_SIZE 32
#define SRM_PAKE_SECRET_SIZE 32

/* The generator of a passphrase: `prs`, `ci` and `sid` as the draft names them. Secret: equal generators mean
 * equal passphrases, and it allows guessing offline. */
void srm_pake_generator(srm_span prs, srm_span ci, srm_span sid, uint8_t g[SRM_SHARE_SIZE]);

/* Begins a run: draws the scalar `y` (to be kept secret, and erased) and makes the share `Y` to be sent.
 * `passphrase` 1..4096 bytes, `label` at most 255 bytes. The entropy source must be a real one: a scalar of
 * zeros is an assertion. */
void srm_pake_start(uint8_t y[SRM_PAKE_SCALAR_SIZE], uint8_t Y[SRM_SHARE_SIZE], srm_span passphrase,
                    srm_span label, const uint8_t nonce_i[SRM_NONCE_SIZE], const srm_entropy *entropy);

/* The same with a scalar given: for known answers only. */
void srm_pake_start_with(const uint8_t y[SRM_PAKE_SCALAR_SIZE], uint8_t Y[SRM_SHARE_SIZE],
                         srm_span passphrase, srm_span label, const uint8_t nonce_i[SRM_NONCE_SIZE]);

/* K from our scalar and the other's share. False, and K all zero: the share is no valid encoding, or the
 * result is the neutral element; drop the message. Doesn't know our own share: the caller has already dropped
 * a message that mirrors it. */
bool srm_pake_finish(uint8_t K[SRM_PAKE_SECRET_SIZE], const uint8_t y[SRM_PAKE_SCALAR_SIZE],
                     const uint8_t Y_remote[SRM_SHARE_SIZE]);

/* An X25519 key pair for a run of mode 1: `secret` to be erased after use, `share` to be sent. */
void srm_pake_x25519_start(uint8_t secret[SRM_PAKE_SCALAR_SIZE], uint8_t share[SRM_SHARE_SIZE],
                           const srm_entropy *entropy);

/* The Diffie-Hellman result. False, and `dh` all zero: the other's share is of small order; drop the
 * message. */
bool srm_pake_x25519_finish(uint8_t dh[SRM_PAKE_SECRET_SIZE], const uint8_t secret[SRM_PAKE_SCALAR_SIZE],
                            const uint8_t remote[SRM_SHARE_SIZE]);

#endif
