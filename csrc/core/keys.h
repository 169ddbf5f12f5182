/* keys - from a shared secret to every key of a run: the key schedule of "srmudp/1".
 *
 *     PAKE: K ──┐                                   resume: resumption, X25519 ──┐
 *               ▼                                                                ▼
 *     ISK = SHA-512(lv_cat("CPaceRistretto255_ISK", nI, K) || T)     or   HKDF-Extract(nI, lv_cat(both))
 *     th  = SHA-512(lv_cat("srmudp1 th", mode, nI, nR, CI) || T)          prk = HKDF-Extract(th, ISK)
 *      │
 *      ├─ confirm ── tag of I, tag of R          what each side proves; HMAC, because our AEADs don't commit
 *      ├─ hs I, hs R                             seal the parameters in CONFIRM and REPLY
 *      ├─ ts I, ts R ── key, iv, hp of epoch 0 ── "ku" ── epoch 1 ── "ku" ── ...
 *      ├─ resume ── resume ids, binder, early keys
 *      └─ export
 *
 *     T  = lv_cat(Y_I, AD_I) || lv_cat(Y_R, AD_R)          CI = lv_cat("srmudp/1", 0x01, label)
 *     expand(prk, name, ctx, n) = HKDF-Expand, info = uint16(n) || prepend_len("srmudp1 " || name) ||
 *                                 prepend_len(ctx)
 *
 * prepend_len and lv_cat (LEB128 length, then the bytes) and ISK are those of draft-irtf-cfrg-cpace-21; HKDF
 * is RFC 5869 over SHA-512, built from HMAC because libsodium has it only from 1.0.19 on. Everything here is
 * a pure function; erasing what is handed out is the duty of whoever asked for it.
 */
#ifndef SRM_KEYS_H
#define SRM_KEYS_H

#include "aead.h"
#include "base.h"
#include "bytes.h"
#include "limits.h"

#define SRM_KEYS_HASH_SIZE 64       /* th, prk, ts, exporter */
#define SRM_KEYS_SECRET_SIZE 32     /* K, X25519 result, hs, hp, resumption */
#define SRM_KEYS_RESUME_ID_SIZE 16  /* TLV 4 */
#define SRM_KEYS_BINDER_SIZE 16     /* in a mode 1 HELLO */
#define SRM_KEYS_CI_MAX 268         /* bytes of lv_cat("srmudp/1", 0x01, longest label) */
#define SRM_KEYS_SEALED_AAD_SIZE 34 /* bytes 0..33 of a handshake header */
#define SRM_KEYS_SEALED_OVERHEAD 16 /* by how much sealing parameters makes them longer */

typedef enum srm_role { SRM_ROLE_INITIATOR = 0, SRM_ROLE_RESPONDER = 1 } srm_role;

/* The numbers are those of the wire. */
typedef enum srm_run_mode { SRM_RUN_PAKE = 0, SRM_RUN_RESUME = 1 } srm_run_mode;

/* ---- Strings ---- */

/* Writes CI = lv_cat("srmudp/1", 0x01, label), at most SRM_KEYS_CI_MAX bytes. */
void srm_keys_write_ci(srm_writer *w, srm_span label);

/* What a side says in clear and must not be changed under way. All spans are borrowed. */
typedef struct srm_ad {
    uint8_t mode;           /* srm_run_mode */
    srm_span versions;      /* value of TLV 1 */
    srm_span aeads;         /* value of TLV 2 */
    srm_span capabilities;  /* value of TLV 3 */
    srm_span connection_id; /* 16 bytes: the sender's */
    srm_span nonce_i;       /* 16 bytes: nI, in both AD_I and AD_R */
    srm_span last;          /* AD_I: the resume id, or empty; AD_R: nR */
} srm_ad;

/* Writes AD_I or AD_R: lv_cat of the seven fields. The writer tells when it had too little room. */
void srm_ad_write(srm_writer *w, const srm_ad *ad);

/* BLAKE2b-64 of a label, as HELLO carries it: finds the entry, hides nothing. */
void srm_label_hash(srm_span label, uint8_t out[SRM_LABEL_HASH_SIZE]);

/* ---- HKDF ---- */

/* HKDF-Extract (RFC 5869 section 2.2), SHA-512: HMAC(salt, secret). */
void srm_keys_extract(srm_span salt, srm_span secret, uint8_t prk[SRM_KEYS_HASH_SIZE]);

/* HKDF-Expand (RFC 5869 section 2.3), SHA-512, with plain `info`; `prk` at most 64 bytes, `size` at most 255
 * * 64. `out` may be the memory of `prk`. */
void srm_keys_hkdf_expand(srm_span prk, srm_span info, uint8_t *out, size_t size);

/* expand(prk, name, ctx, n) as drawn above; `name` at most 32 characters, `context` at most 255 bytes;
 * else as above. */
void srm_keys_expand(srm_span prk, const char *name, srm_span context, uint8_t *out, size_t size);

/* Whether two secrets of `size` bytes are equal, in time that doesn't depend on where they differ. */
bool srm_keys_equal(const uint8_t *a, const uint8_t *b, size_t size);

/* ---- A run ---- */

/* What both sides know after the two shares crossed; arrays are indexed by srm_role. All is borrowed. */
typedef struct srm_run {
    srm_run_mode mode;
    srm_span label;
    const uint8_t *nonce[2]; /* 16 bytes: nI, nR */
    const uint8_t *share[2]; /* 32 bytes: Y_I, Y_R */
    srm_span ad[2];          /* AD_I, AD_R */
    const uint8_t *shared;   /* 32 bytes: K of srm_pake_finish, or in mode 1 that of srm_pake_x25519_finish */
    const uint8_t *resumption; /* 32 bytes, the secret of the run before: mode 1; NULL: mode 0, PAKE */
} srm_run;

/* Everything that comes out of a run. Erase it with srm_run_keys_fini. */
typedef struct srm_run_keys {
    uint8_t th[SRM_KEYS_HASH_SIZE];           /* transcript hash: what identities sign */
    uint8_t tag[2][SRM_TAG_SIZE];             /* by the role of who sends it */
    uint8_t hs[2][SRM_KEYS_SECRET_SIZE];      /* by the role of who seals with it */
    uint8_t ts[2][SRM_KEYS_HASH_SIZE];        /* epoch 0, by the role of who sends with it */
    uint8_t resumption[SRM_KEYS_SECRET_SIZE]; /* for the next run */
    uint8_t exporter[SRM_KEYS_HASH_SIZE];     /* for the application */
} srm_run_keys;

/* The key schedule. Cannot fail: a wrong passphrase shows only in the tags. Nothing secret is left behind but
 * `out`; the caller erases `run->shared`. */
void srm_run_derive(const srm_run *run, srm_run_keys *out);
void srm_run_keys_fini(srm_run_keys *keys);

/* Its two first steps alone, for test vectors and for whoever wants to follow: ISK and th. */
void srm_run_isk(const srm_run *run, uint8_t isk[SRM_KEYS_HASH_SIZE]);
void srm_run_transcript_hash(const srm_run *run, uint8_t th[SRM_KEYS_HASH_SIZE]);

/* ---- Parameters of REPLY and CONFIRM ---- */

/* ChaCha20-Poly1305 with key hs, nonce zero (each hs seals one message, repeated byte for byte), AAD = the
 * first 34 bytes of the header, then the tag of that message. Seals `size` bytes in place; there must be room
 * for SRM_KEYS_SEALED_OVERHEAD more. */
void srm_params_seal(const uint8_t hs[SRM_KEYS_SECRET_SIZE], const uint8_t header[SRM_KEYS_SEALED_AAD_SIZE],
                     const uint8_t tag[SRM_TAG_SIZE], uint8_t *data, size_t size);

/* Opens in place; `size` counts the overhead. False: not genuine, treat it as a bad tag; `data` is worthless
 * then. */
bool srm_params_open(const uint8_t hs[SRM_KEYS_SECRET_SIZE], const uint8_t header[SRM_KEYS_SEALED_AAD_SIZE],
                     const uint8_t tag[SRM_TAG_SIZE], uint8_t *data, size_t size);

/* ---- Epochs ---- */

/* key and iv of the epoch whose traffic secret is `ts`. */
void srm_epoch_derive(const uint8_t ts[SRM_KEYS_HASH_SIZE], uint8_t key[SRM_AEAD_KEY_SIZE],
                      uint8_t iv[SRM_AEAD_IV_SIZE]);

/* The same, straight into an AEAD (to be ended with srm_aead_fini). */
void srm_epoch_init(srm_aead *aead, srm_aead_kind kind, const uint8_t ts[SRM_KEYS_HASH_SIZE]);

/* Turns `ts` into the traffic secret of the next epoch; the old one is gone. */
void srm_epoch_next(uint8_t ts[SRM_KEYS_HASH_SIZE]);

/* The same with fresh Diffie-Hellman or KEM output mixed in, which heals a stolen `ts`. */
void srm_epoch_next_mixed(uint8_t ts[SRM_KEYS_HASH_SIZE], srm_span fresh);

/* Header protection key: from the secret of epoch 0, kept through all epochs; `ts` as it came from the run.
 */
void srm_epoch_header_key(const uint8_t ts[SRM_KEYS_HASH_SIZE], uint8_t hp[SRM_KEYS_SECRET_SIZE]);

/* ---- Resumption ---- */

/* The id under which the `index`-th resumption of a secret is announced (TLV 4). */
void srm_resume_id(const uint8_t resumption[SRM_KEYS_SECRET_SIZE], uint32_t index,
                   uint8_t out[SRM_KEYS_RESUME_ID_SIZE]);

/* The proof in a mode 1 HELLO that its sender holds `resumption`, over its share and AD_I. */
void srm_resume_binder(const uint8_t resumption[SRM_KEYS_SECRET_SIZE], const uint8_t share_i[SRM_SHARE_SIZE],
                       srm_span ad_i, uint8_t out[SRM_KEYS_BINDER_SIZE]);

/* Traffic secret of the session packets behind a mode 1 HELLO; goes on as an epoch 0 (key, iv, hp). */
void srm_resume_early(const uint8_t resumption[SRM_KEYS_SECRET_SIZE],
                      const uint8_t resume_id[SRM_KEYS_RESUME_ID_SIZE], const uint8_t nonce_i[SRM_NONCE_SIZE],
                      const uint8_t share_i[SRM_SHARE_SIZE], uint8_t ts[SRM_KEYS_HASH_SIZE]);

#endif
