#include "entry_parts.h"

#include "pake.h"
#include "state.h"

#include <sodium.h>
#include <stdlib.h>

void srm_entry_free_init(srm_entry *entry) {
    if (entry->init == NULL)
        return;
    srm_table_remove(&entry->endpoint->inits, srm_prefix64(entry->init->nonce), entry);
    sodium_memzero(entry->init, sizeof *entry->init);
    free(entry->init);
    entry->init = NULL;
}

bool srm_entry_new_init(srm_entry *entry, srm_time now) {
    srm_endpoint *endpoint = entry->endpoint;
    srm_init *init = calloc(1, sizeof *init);
    if (init == NULL)
        return false;
    srm_endpoint_random(endpoint, init->nonce, sizeof init->nonce);
    srm_hello_message hello = {.type = SRM_HELLO, .version = SRM_PROTOCOL_VERSION, .mode = SRM_MODE_PAKE};
    srm_pake_start(init->scalar, hello.share, srm_entry_key(entry), srm_entry_label(entry), init->nonce,
                   &endpoint->entropy);
    memcpy(hello.src_nonce, init->nonce, sizeof init->nonce);
    memcpy(hello.connection_id, entry->connection_id, sizeof hello.connection_id);
    memcpy(hello.label_hash, entry->label_hash, sizeof hello.label_hash);
    srm_own_offer own;
    srm_own_offer_make(&own);
    hello.offer = own.offer;
    SRM_ASSERT(srm_hello_write(&hello, init->hello, sizeof init->hello) == sizeof init->hello);
    init->started = init->next_send = now;
    init->at_once = now - SRM_HELLO_AT_ONCE;
    entry->init = init;
    entry->init_after = now + SRM_INIT_RENEW_EACH;
    (void)srm_table_add(&endpoint->inits, srm_prefix64(init->nonce), entry);
    entry->owner->tried(entry, now);
    return true;
}

static void send_hello_to(srm_entry *entry, srm_time now, const srmudp_address *to) {
    srm_init *init = entry->init;
    srm_hello_patch(init->hello, entry->heard_nonce, init->tx_seq, entry->heard_seq, init->cookie);
    init->sent_at[init->tx_seq & 7] = now;
    srm_endpoint_queue(entry->endpoint, to, srm_span_of(init->hello, sizeof init->hello));
}

/* Between repetitions, once the first quick ones are out. */
static srm_time hello_interval(const srm_entry *entry) {
    return entry->owner->session(entry) == SRM_SESSION_DEAD
               ? entry->endpoint->config.reconnect_delay * SRM_MILLISECOND
               : SRM_HELLO_EACH;
}

void srm_entry_send_hello(srm_entry *entry, srm_time now) {
    srm_init *init = entry->init;
    init->tx_seq = (uint8_t)(init->tx_seq == 255 ? 1 : init->tx_seq + 1);
    for (size_t i = 0; i < entry->address_count; i++)
        send_hello_to(entry, now, &entry->addresses[i].address);
    init->sends = (uint8_t)(init->sends < 200 ? init->sends + 1 : 200);
    init->next_send = now + (init->sends <= 3 ? SRM_HELLO_FIRST << (init->sends - 1) : hello_interval(entry));
}

/* Our nonce is for those whom we call and for who sits on the way there. A stranger that asked for it could
 * answer it in the peer's name and use up the share's tries and the peer's budget; and who saw it on the way
 * could have our HELLO, six times a RETRY's size, sent to somebody else. */
static bool dials_ip(const srm_entry *entry, const srmudp_address *to) {
    for (size_t i = 0; i < entry->address_count; i++)
        if (srm_address_same_ip(&entry->addresses[i].address, to))
            return true;
    return false;
}

void srm_entry_repeat_hello(srm_entry *entry, srm_time now, const srmudp_address *to) {
    srm_init *init = entry->init;
    if (now - init->at_once < SRM_HELLO_AT_ONCE || !dials_ip(entry, to))
        return;
    init->at_once = now;
    init->tx_seq = (uint8_t)(init->tx_seq == 255 ? 1 : init->tx_seq + 1);
    send_hello_to(entry, now, to);
}

void srm_entry_start(srm_entry *entry, srm_time now, bool fresh) {
    if (entry->listener)
        return;
    if (fresh)
        srm_entry_free_init(entry);
    entry->running = true;
    entry->owner->touched(entry, now);
}

void srm_entry_stop(srm_entry *entry) {
    entry->running = false;
    srm_entry_free_init(entry);
}

static bool tried_before(const srm_init *init, const uint8_t *nonce) {
    for (size_t i = 0; i < init->tried_count; i++)
        if (memcmp(init->tried[i], nonce, SRM_NONCE_SIZE) == 0)
            return true;
    return false;
}

/* Entries here that dial our first address: a REPLY to one of them may be meant for another. */
static size_t neighbours(const srm_entry *entry) {
    size_t entries = 0, cursor = 0;
    if (entry->address_count > 0) {
        srm_endpoint *endpoint = entry->endpoint;
        uint64_t hash = srm_address_hash(endpoint, &entry->addresses[0].address, true);
        const srm_entry_address *slot;
        while ((slot = srm_table_each(&endpoint->addresses, hash, &cursor)) != NULL)
            entries += !slot->entry->closing && slot->entry->owner->session(slot->entry) != SRM_SESSION_ALIVE;
    }
    return entries;
}

/* How many responder shares our scalar may meet: two for each entry that could be meant (docs/protocol.md).
 */
static size_t tried_bound(const srm_entry *entry) {
    return srm_size_max(SRM_TRIED_MIN, srm_size_min(SRM_TRIED_MAX, 2 * neighbours(entry)));
}

/* Who answers our HELLO has seen it, wherever the answer comes from: it pays from what we dial, which
 * strangers can't drain. */
static srm_guess_payer initiator_payer(srm_entry *entry, const srmudp_address *from) {
    srm_guess_payer payer = srm_entry_payer(entry, from);
    if (payer.dialled == NULL && entry->address_count > 0)
        payer.dialled = &entry->addresses[0].bucket->bucket;
    return payer;
}

static void note_bad(srm_entry *entry, srm_time now, const srm_hello_message *reply,
                     const srmudp_address *from) {
    srm_init *init = entry->init;
    srm_guess_payer payer = initiator_payer(entry, from);
    (void)srm_guess_charge(&payer, now);
    if (!init->bad) {
        init->bad = true;
        init->bad_since = now;
    }
    memcpy(init->bad_nonce, reply->src_nonce, SRM_NONCE_SIZE);
    init->bad_from = *from;
    init->bad_shared |= (reply->flags & SRM_REPLY_MORE) != 0 || neighbours(entry) > 1;
    if ((reply->flags & SRM_REPLY_MORE) != 0)
        srm_entry_repeat_hello(entry, now, from);
    entry->owner->touched(entry, now);
}

/* Derives the run's keys as the initiator; false: the share or the lists cannot be. */
static bool derive_as_initiator(srm_entry *entry, const srm_hello_message *reply, srm_run_keys *keys,
                                srm_aead_kind *aead) {
    srm_init *init = entry->init;
    srm_own_offer own;
    srm_own_offer_make(&own);
    uint8_t shared[SRM_PAKE_SECRET_SIZE], ad_i[SRM_ENTRY_AD_MAX], ad_r[SRM_ENTRY_AD_MAX];
    uint8_t kind = srm_aead_choose(own.offer.aeads, reply->offer.aeads);
    size_t ad_i_size =
        srm_entry_write_ad(ad_i, &own.offer, entry->connection_id, init->nonce, srm_span_of(NULL, 0));
    size_t ad_r_size = srm_entry_write_ad(ad_r, &reply->offer, reply->connection_id, init->nonce,
                                          srm_span_of(reply->src_nonce, SRM_NONCE_SIZE));
    if (kind == 0 || ad_r_size == 0 || memcmp(reply->share, init->hello + 38, SRM_SHARE_SIZE) == 0 ||
        !srm_pake_finish(shared, init->scalar, reply->share))
        return false;
    srm_run run = {.mode = SRM_RUN_PAKE,
                   .label = srm_entry_label(entry),
                   .nonce = {init->nonce, reply->src_nonce},
                   .share = {init->hello + 38, reply->share},
                   .ad = {srm_span_of(ad_i, ad_i_size), srm_span_of(ad_r, ad_r_size)},
                   .shared = shared};
    srm_run_derive(&run, keys);
    sodium_memzero(shared, sizeof shared);
    *aead = (srm_aead_kind)kind;
    return true;
}

static void confirm_as_initiator(srm_entry *entry, srm_time now, const srm_hello_message *reply,
                                 srm_run_keys *keys, srm_aead_kind aead, const srm_params *params,
                                 const srmudp_address *from) {
    srm_init *init = entry->init;
    srm_hello_message confirm = {
        .type = SRM_CONFIRM, .version = SRM_PROTOCOL_VERSION, .tx_seq = 1, .echo_seq = reply->tx_seq};
    memcpy(confirm.src_nonce, init->nonce, SRM_NONCE_SIZE);
    memcpy(confirm.dst_nonce, reply->src_nonce, SRM_NONCE_SIZE);
    memcpy(confirm.tag, keys->tag[SRM_ROLE_INITIATOR], SRM_TAG_SIZE);
    uint8_t sealed[SRM_SEALED_MAX_SIZE], bytes[SRM_HELLO_MIN_SIZE], header[SRM_KEYS_SEALED_AAD_SIZE];
    header[0] = 0xc0 | SRM_CONFIRM;
    header[1] = SRM_PROTOCOL_VERSION;
    memcpy(header + 2, confirm.src_nonce, SRM_NONCE_SIZE);
    memcpy(header + 18, confirm.dst_nonce, SRM_NONCE_SIZE);
    uint64_t cid = srm_endpoint_new_cid(entry->endpoint);
    confirm.sealed = srm_span_of(
        sealed, srm_entry_seal_params(entry, SRM_ROLE_INITIATOR, keys, cid, header, sealed, sizeof sealed));
    size_t size = srm_hello_write(&confirm, bytes, sizeof bytes);
    SRM_ASSERT(size > 0);
    srm_confirmed run = {.role = SRM_ROLE_INITIATOR,
                         .keys = keys,
                         .aead = aead,
                         .peer = *params,
                         .cid_local = cid,
                         .remote = *from,
                         .created = init->started,
                         .confirm = srm_span_of(bytes, size)};
    memcpy(run.own_id, entry->connection_id, sizeof run.own_id);
    memcpy(run.peer_id, reply->connection_id, sizeof run.peer_id);
    srm_time sent = init->sent_at[reply->echo_seq & 7];
    if (reply->echo_seq != 0 && (uint8_t)(init->tx_seq - reply->echo_seq) < 8 && sent > 0)
        entry->rtt = run.rtt = srm_time_max(now - sent, 1);
    srm_entry_free_init(entry);
    srm_entry_forget_attempts(entry, SRM_TIME_NEVER);
    entry->endpoint->stats.handshakes_completed++;
    entry->owner->confirmed(entry, now, &run, srm_span_of(NULL, 0));
}

srm_entry_answer srm_entry_on_reply(srm_entry *entry, srm_time now, const srm_hello_message *reply,
                                    srm_span datagram, const srmudp_address *from) {
    srm_init *init = entry->init;
    if (reply->mode != SRM_MODE_PAKE || init == NULL)
        return SRM_ENTRY_BAD;
    if (tried_before(init, reply->src_nonce))
        return SRM_ENTRY_TAKEN;
    if (init->tried_count >= tried_bound(entry))
        return SRM_ENTRY_NO_BUDGET;
    srm_guess_payer payer = initiator_payer(entry, from);
    if (srm_guess_left(&payer, now) == 0)
        return SRM_ENTRY_NO_BUDGET;
    srm_run_keys keys;
    srm_aead_kind aead;
    srm_params params;
    if (!derive_as_initiator(entry, reply, &keys, &aead))
        return SRM_ENTRY_BAD;
    memcpy(init->tried[init->tried_count++], reply->src_nonce, SRM_NONCE_SIZE);
    if (srm_keys_equal(keys.tag[SRM_ROLE_RESPONDER], reply->tag, SRM_TAG_SIZE) &&
        srm_entry_open_params(&keys, SRM_ROLE_RESPONDER, datagram, reply->sealed, &params))
        confirm_as_initiator(entry, now, reply, &keys, aead, &params, from);
    else
        note_bad(entry, now, reply, from);
    srm_run_keys_fini(&keys);
    return SRM_ENTRY_TAKEN;
}

void srm_entry_on_retry(srm_entry *entry, srm_time now, const srm_hello_message *retry,
                        const srmudp_address *from) {
    if (entry->init == NULL || memcmp(retry->dst_nonce, entry->init->nonce, SRM_NONCE_SIZE) != 0)
        return;
    if (memcmp(entry->init->cookie, retry->cookie, SRM_COOKIE_SIZE) != 0)
        entry->init->at_once = now - SRM_HELLO_AT_ONCE; /* news: no reason to wait */
    memcpy(entry->init->cookie, retry->cookie, SRM_COOKIE_SIZE);
    srm_entry_repeat_hello(entry, now, from);
}

void srm_entry_on_version(srm_entry *entry, srm_time now, const srm_hello_message *version) {
    if (memchr(version->versions.data, SRM_PROTOCOL_VERSION, version->versions.size) == NULL)
        entry->owner->version(entry, now);
}

/* ---- Wrong keys, and new tries ---- */

void srm_entry_tell_wrong_key(srm_entry *entry, srm_time now) {
    srm_init *init = entry->init;
    init->bad_told = true;
    srm_hello_message reject = {.type = SRM_REJECT, .version = SRM_PROTOCOL_VERSION, .code = SRM_REJECT_TAG};
    memcpy(reject.src_nonce, init->nonce, SRM_NONCE_SIZE);
    memcpy(reject.dst_nonce, init->bad_nonce, SRM_NONCE_SIZE);
    uint8_t bytes[64];
    size_t size = srm_hello_write(&reject, bytes, sizeof bytes);
    srm_endpoint_queue(entry->endpoint, &init->bad_from, srm_span_of(bytes, size));
    entry->endpoint->stats.handshakes_failed++;
    entry->owner->wrong_key(entry, now, ++entry->wrong_keys);
}

srm_time srm_entry_wrong_key_time(const srm_entry *entry) {
    const srm_init *init = entry->init;
    if (!init->bad || init->bad_told)
        return SRM_TIME_NEVER;
    srm_time wait =
        init->bad_shared ? SRM_WRONG_KEY_AFTER_SHARED : srm_time_max(3 * entry->rtt, SRM_WRONG_KEY_AFTER);
    return init->bad_since + wait;
}

srm_time srm_entry_renew_time(const srm_entry *entry) {
    const srm_init *init = entry->init;
    bool used_up = init->tried_count >= tried_bound(entry) || init->bad_told;
    srm_time at = used_up ? init->started : init->started + SRM_INIT_LIFE;
    return srm_time_max(at, entry->init_after);
}
