#include "entry_parts.h"

#include "bytes.h"
#include "state.h"

#include <sodium.h>

srm_span srm_entry_key(const srm_entry *entry) {
    return srm_span_of(entry->key, entry->key_size);
}
srm_span srm_entry_label(const srm_entry *entry) {
    return srm_span_of(entry->label, entry->label_size);
}

static const uint8_t own_versions[] = {SRM_PROTOCOL_VERSION};

void srm_own_offer_make(srm_own_offer *own) {
    size_t count = srm_aead_list(own->aeads);
    memset(&own->offer, 0, sizeof own->offer);
    own->offer.versions = srm_span_of(own_versions, sizeof own_versions);
    own->offer.aeads = srm_span_of(own->aeads, count);
}

size_t srm_entry_write_ad(uint8_t *out, const srm_offer *offer, const uint8_t *id, const uint8_t *nonce_i,
                          srm_span last) {
    srm_writer w = srm_writer_of(out, SRM_ENTRY_AD_MAX);
    srm_ad ad = {.mode = SRM_MODE_PAKE,
                 .versions = offer->versions,
                 .aeads = offer->aeads,
                 .capabilities = srm_span_of(offer->capabilities, sizeof offer->capabilities),
                 .connection_id = srm_span_of(id, SRM_CONNECTION_ID_SIZE),
                 .nonce_i = srm_span_of(nonce_i, SRM_NONCE_SIZE),
                 .last = last};
    srm_ad_write(&w, &ad);
    return w.failed ? 0 : srm_writer_used(&w);
}

size_t srm_entry_seal_params(srm_entry *entry, srm_role role, const srm_run_keys *keys, uint64_t cid,
                             const uint8_t *header, uint8_t *out, size_t capacity) {
    const srmudp_config *config = &entry->endpoint->config;
    srm_params params = {.cid = cid,
                         .max_message_size = config->max_message_size,
                         .max_data = srm_u64_min(SRM_WINDOW_INITIAL, config->receive_buffer),
                         .max_ack_delay_us = SRM_MAX_ACK_DELAY / SRM_MICROSECOND,
                         .max_datagram = SRM_DATAGRAM_MAX_MTU,
                         .keepalive_ms = config->keepalive_interval};
    if (config->identity_seed != NULL) {
        uint8_t text[17 + 64] = "srmudp1 identity";
        text[16] = (uint8_t)role;
        memcpy(text + 17, keys->th, sizeof keys->th);
        params.has_identity = true;
        memcpy(params.identity, entry->endpoint->identity_public, sizeof params.identity);
        crypto_sign_detached(params.signature, NULL, text, sizeof text, entry->endpoint->identity_secret);
    }
    size_t size = srm_params_write(&params, out, capacity - SRM_KEYS_SEALED_OVERHEAD);
    SRM_ASSERT(size > 0);
    srm_params_seal(keys->hs[role], header, keys->tag[role], out, size);
    return size + SRM_KEYS_SEALED_OVERHEAD;
}

/* The peer's sealed parameters, with its identity checked; false counts as a bad tag. */
bool srm_entry_open_params(const srm_run_keys *keys, srm_role sender, srm_span datagram, srm_span sealed,
                           srm_params *out) {
    uint8_t plain[SRM_SEALED_MAX_SIZE];
    if (sealed.size < SRM_KEYS_SEALED_OVERHEAD || sealed.size > sizeof plain)
        return false;
    memcpy(plain, sealed.data, sealed.size);
    if (!srm_params_open(keys->hs[sender], datagram.data, keys->tag[sender], plain, sealed.size) ||
        !srm_params_read(srm_span_of(plain, sealed.size - SRM_KEYS_SEALED_OVERHEAD), out))
        return false;
    if (!out->has_identity)
        return true;
    uint8_t text[17 + 64] = "srmudp1 identity";
    text[16] = (uint8_t)sender;
    memcpy(text + 17, keys->th, sizeof keys->th);
    return crypto_sign_verify_detached(out->signature, text, sizeof text, out->identity) == 0;
}
