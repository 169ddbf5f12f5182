/* aead - packet protection: three AEADs behind one pair of calls, and the mask that hides packet numbers.
 *
 * A packet is sealed where it lies: the payload is encrypted in place and the tag is written behind it.
 *
 *     header (authenticated) | payload  -->  header | ciphertext | tag (16 bytes, AEGIS-128L 32)
 *
 * Nonce: iv XOR packet number, the 64-bit number at the right end (RFC 9001 section 5.3). AEGIS-128L uses all
 * 16 bytes of the iv, the other two its first 12. A packet number must never be sealed twice under one key:
 * the caller's duty, kept by one number space for a link that never goes back.
 *
 * How many packets a key may seal and how many may fail to open: SRM_EPOCH_PACKETS, SRM_EPOCH_LIFE and
 * SRM_FORGED_MAX in limits.h (RFC 9001 section 6.6, one policy for all three); counted by the caller.
 *
 * libsodium must have been initialised (sodium_init, by whoever makes the endpoint) before the first call:
 * that is when it finds out what the processor can do.
 */
#ifndef SRM_AEAD_H
#define SRM_AEAD_H

#include "base.h"

/* The numbers are those of the wire (TLV 2 of HELLO and REPLY). */
typedef enum srm_aead_kind {
    SRM_AEAD_AEGIS128L = 1, /* libsodium >= 1.0.19 and a processor with AES instructions */
    SRM_AEAD_AES256GCM = 2, /* a processor with AES and carry-less multiplication instructions */
    SRM_AEAD_CHACHA20 = 3,  /* ChaCha20-Poly1305 of RFC 8439; everywhere */
} srm_aead_kind;

#define SRM_AEAD_KINDS 3
#define SRM_AEAD_KEY_SIZE 32
#define SRM_AEAD_IV_SIZE 16
#define SRM_AEAD_TAG_MAX 32

/* Whether this build on this processor can use `kind`, fast; ChaCha20-Poly1305 always. */
bool srm_aead_available(srm_aead_kind kind);

/* Writes the available kinds, fastest first, and returns how many (1..3): the list we announce. */
size_t srm_aead_list(uint8_t out[SRM_AEAD_KINDS]);

/* The kind both lists hold: the first of [AEGIS-128L, AES-256-GCM, ChaCha20-Poly1305], whatever the lists'
 * own order, so that both sides come to the same. 0: none in common. Unknown numbers are skipped. */
uint8_t srm_aead_choose(srm_span list_a, srm_span list_b);

/* Bytes of tag behind each payload: 32 for AEGIS-128L, else 16. */
size_t srm_aead_tag_size(srm_aead_kind kind);

/* One key in one direction, 64 bytes, and for AES-256-GCM 512 more on the heap: its expanded key. May be
 * moved by assignment when the source is forgotten, never be copied. All fields are private. */
typedef struct srm_aead {
    void *prepared; /* AES-256-GCM: the expanded key, or NULL when there was no memory; else NULL */
    uint8_t key[SRM_AEAD_KEY_SIZE];
    uint8_t iv[SRM_AEAD_IV_SIZE];
    srm_aead_kind kind;
} srm_aead;

/* Sets up a key; cannot fail. `kind` must be available. AEGIS-128L uses the first 16 bytes of `key`. Without
 * memory for an expanded AES key the key is expanded anew for each packet: slower, still right. */
void srm_aead_init(srm_aead *aead, srm_aead_kind kind, const uint8_t key[SRM_AEAD_KEY_SIZE],
                   const uint8_t iv[SRM_AEAD_IV_SIZE]);

/* Erases the key. Also allowed on a struct of zeros, and twice. */
void srm_aead_fini(srm_aead *aead);

/* Encrypts `size` bytes at `data` in place and writes the tag behind them: there must be room for `size` plus
 * srm_aead_tag_size bytes. `ad` (the packet's header) is authenticated and must not overlap `data`. */
void srm_aead_seal(const srm_aead *aead, uint64_t packet_number, srm_span ad, uint8_t *data, size_t size);

/* Decrypts in place what seal made: `size` counts the tag, the plaintext is that much shorter. False when it
 * is not genuine or shorter than a tag; the bytes at `data` are then worthless. */
bool srm_aead_open(const srm_aead *aead, uint64_t packet_number, srm_span ad, uint8_t *data, size_t size);

/* ---- Header protection ---- */

#define SRM_HEADER_KEY_SIZE 16 /* the first bytes of hp */
#define SRM_HEADER_SAMPLE_SIZE 16
#define SRM_HEADER_MASK_SIZE 8

/* The bytes that are XORed over a header's low flag bits and packet number: SipHash-2-4 of a sample of the
 * ciphertext. The construction of RFC 9001 section 5.4 with another PRF (there: AES-ECB or one ChaCha20
 * block), because it is four times cheaper than a ChaCha20 block; `hp` is independent of the AEAD's key. */
void srm_header_mask(const uint8_t hp[SRM_HEADER_KEY_SIZE], const uint8_t sample[SRM_HEADER_SAMPLE_SIZE],
                     uint8_t mask[SRM_HEADER_MASK_SIZE]);

#endif
