#include "aead.h"

#include <sodium.h>
#include <stdlib.h>

/* Headers of libsodium before 1.0.19 (library version 26.1) know no AEGIS. */
#if SODIUM_LIBRARY_VERSION_MAJOR >= 26 && defined(crypto_aead_aegis128l_KEYBYTES)
#define HAVE_AEGIS 1
_Static_assert(crypto_aead_aegis128l_ABYTES == SRM_AEAD_TAG_MAX, "AEGIS-128L tags have 32 bytes");
_Static_assert(crypto_aead_aegis128l_NPUBBYTES == SRM_AEAD_IV_SIZE, "AEGIS-128L nonces have 16 bytes");
_Static_assert(crypto_aead_aegis128l_KEYBYTES <= SRM_AEAD_KEY_SIZE, "AEGIS-128L keys have 16 bytes");
#else
#define HAVE_AEGIS 0
#endif

#define NONCE_SIZE 12 /* of AES-256-GCM and ChaCha20-Poly1305 */

static const srm_aead_kind preference[SRM_AEAD_KINDS] = {SRM_AEAD_AEGIS128L, SRM_AEAD_AES256GCM,
                                                         SRM_AEAD_CHACHA20};

static bool aegis_is_fast(void) {
#if HAVE_AEGIS
    return sodium_runtime_has_aesni() != 0 || sodium_runtime_has_armcrypto() != 0;
#else
    return false;
#endif
}

bool srm_aead_available(srm_aead_kind kind) {
    switch (kind) {
    case SRM_AEAD_AEGIS128L:
        return aegis_is_fast();
    case SRM_AEAD_AES256GCM:
        return crypto_aead_aes256gcm_is_available() != 0;
    case SRM_AEAD_CHACHA20:
        return true;
    }
    return false;
}

size_t srm_aead_list(uint8_t out[SRM_AEAD_KINDS]) {
    size_t count = 0;
    for (size_t i = 0; i < SRM_AEAD_KINDS; i++) {
        if (srm_aead_available(preference[i]))
            out[count++] = (uint8_t)preference[i];
    }
    return count;
}

static bool contains(srm_span list, srm_aead_kind kind) {
    return list.size > 0 && memchr(list.data, (int)kind, list.size) != NULL;
}

uint8_t srm_aead_choose(srm_span list_a, srm_span list_b) {
    for (size_t i = 0; i < SRM_AEAD_KINDS; i++) {
        if (contains(list_a, preference[i]) && contains(list_b, preference[i]))
            return (uint8_t)preference[i];
    }
    return 0;
}

size_t srm_aead_tag_size(srm_aead_kind kind) {
    return kind == SRM_AEAD_AEGIS128L ? 32 : 16;
}

static void *prepare_aes(const uint8_t *key) {
    crypto_aead_aes256gcm_state *state =
        aligned_alloc(_Alignof(crypto_aead_aes256gcm_state), sizeof(crypto_aead_aes256gcm_state));
    if (state != NULL)
        crypto_aead_aes256gcm_beforenm(state, key);
    return state;
}

void srm_aead_init(srm_aead *aead, srm_aead_kind kind, const uint8_t key[SRM_AEAD_KEY_SIZE],
                   const uint8_t iv[SRM_AEAD_IV_SIZE]) {
    SRM_ASSERT(srm_aead_available(kind));
    aead->kind = kind;
    memcpy(aead->key, key, SRM_AEAD_KEY_SIZE);
    memcpy(aead->iv, iv, SRM_AEAD_IV_SIZE);
    aead->prepared = kind == SRM_AEAD_AES256GCM ? prepare_aes(key) : NULL;
}

void srm_aead_fini(srm_aead *aead) {
    if (aead->prepared != NULL) {
        sodium_memzero(aead->prepared, sizeof(crypto_aead_aes256gcm_state));
        free(aead->prepared);
    }
    sodium_memzero(aead, sizeof *aead);
}

/* `size` is where the nonce ends: the number is XORed into its last 8 bytes. */
static void make_nonce(const srm_aead *aead, uint64_t packet_number, size_t size,
                       uint8_t nonce[SRM_AEAD_IV_SIZE]) {
    memcpy(nonce, aead->iv, SRM_AEAD_IV_SIZE);
    for (size_t i = 0; i < 8; i++)
        nonce[size - 1 - i] ^= (uint8_t)(packet_number >> (8 * i));
}

static void seal_aegis(const srm_aead *aead, const uint8_t *nonce, srm_span ad, uint8_t *data, size_t size) {
#if HAVE_AEGIS
    crypto_aead_aegis128l_encrypt(data, NULL, data, size, ad.data, ad.size, NULL, nonce, aead->key);
#else
    (void)aead, (void)nonce, (void)ad, (void)data, (void)size;
    SRM_ASSERT(false); /* a build without it doesn't get past init */
#endif
}

static bool open_aegis(const srm_aead *aead, const uint8_t *nonce, srm_span ad, uint8_t *data, size_t size) {
#if HAVE_AEGIS
    return crypto_aead_aegis128l_decrypt(data, NULL, NULL, data, size, ad.data, ad.size, nonce, aead->key) ==
           0;
#else
    (void)aead, (void)nonce, (void)ad, (void)data, (void)size;
    return false;
#endif
}

static void seal_aes(const srm_aead *aead, const uint8_t *nonce, srm_span ad, uint8_t *data, size_t size) {
    if (aead->prepared != NULL)
        crypto_aead_aes256gcm_encrypt_afternm(data, NULL, data, size, ad.data, ad.size, NULL, nonce,
                                              aead->prepared);
    else
        crypto_aead_aes256gcm_encrypt(data, NULL, data, size, ad.data, ad.size, NULL, nonce, aead->key);
}

static bool open_aes(const srm_aead *aead, const uint8_t *nonce, srm_span ad, uint8_t *data, size_t size) {
    if (aead->prepared != NULL)
        return crypto_aead_aes256gcm_decrypt_afternm(data, NULL, NULL, data, size, ad.data, ad.size, nonce,
                                                     aead->prepared) == 0;
    return crypto_aead_aes256gcm_decrypt(data, NULL, NULL, data, size, ad.data, ad.size, nonce, aead->key) ==
           0;
}

void srm_aead_seal(const srm_aead *aead, uint64_t packet_number, srm_span ad, uint8_t *data, size_t size) {
    uint8_t nonce[SRM_AEAD_IV_SIZE];
    switch (aead->kind) {
    case SRM_AEAD_AEGIS128L:
        make_nonce(aead, packet_number, SRM_AEAD_IV_SIZE, nonce);
        seal_aegis(aead, nonce, ad, data, size);
        return;
    case SRM_AEAD_AES256GCM:
        make_nonce(aead, packet_number, NONCE_SIZE, nonce);
        seal_aes(aead, nonce, ad, data, size);
        return;
    case SRM_AEAD_CHACHA20:
        make_nonce(aead, packet_number, NONCE_SIZE, nonce);
        crypto_aead_chacha20poly1305_ietf_encrypt(data, NULL, data, size, ad.data, ad.size, NULL, nonce,
                                                  aead->key);
        return;
    }
    SRM_ASSERT(false); /* going on would send plaintext */
}

bool srm_aead_open(const srm_aead *aead, uint64_t packet_number, srm_span ad, uint8_t *data, size_t size) {
    uint8_t nonce[SRM_AEAD_IV_SIZE];
    switch (aead->kind) {
    case SRM_AEAD_AEGIS128L:
        make_nonce(aead, packet_number, SRM_AEAD_IV_SIZE, nonce);
        return open_aegis(aead, nonce, ad, data, size);
    case SRM_AEAD_AES256GCM:
        make_nonce(aead, packet_number, NONCE_SIZE, nonce);
        return open_aes(aead, nonce, ad, data, size);
    case SRM_AEAD_CHACHA20:
        make_nonce(aead, packet_number, NONCE_SIZE, nonce);
        return crypto_aead_chacha20poly1305_ietf_decrypt(data, NULL, NULL, data, size, ad.data, ad.size,
                                                         nonce, aead->key) == 0;
    }
    return false;
}

void srm_header_mask(const uint8_t hp[SRM_HEADER_KEY_SIZE], const uint8_t sample[SRM_HEADER_SAMPLE_SIZE],
                     uint8_t mask[SRM_HEADER_MASK_SIZE]) {
    crypto_shorthash_siphash24(mask, sample, SRM_HEADER_SAMPLE_SIZE, hp);
}
