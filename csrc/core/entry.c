#include "entry.h"

#include "aead.h"
#include "bytes.h"
#include "pake.h"
#include "state.h"

#include <sodium.h>
#include <stdlib.h>

enum { BUCKET_KEY = 1, BUCKET_ADDRESS = 2 };

static srm_span key_of(const srm_entry *entry) {
    return srm_span_of(entry->key, entry->key_size);
}
static srm_span label_of(const srm_entry *entry) {
    return srm_span_of(entry->label, entry->label_size);
}

/* ---- Life ---- */

bool srm_entry_init(srm_entry *entry, srm_endpoint *endpoint, const srm_entry_owner *owner, srm_span key,
                    srm_span label, srm_time now) {
    memset(entry, 0, sizeof *entry);
    entry->endpoint = endpoint;
    entry->owner = owner;
    entry->key = malloc(key.size + label.size);
    entry->key_bucket = srm_endpoint_bucket(endpoint, BUCKET_KEY, key);
    if (entry->key == NULL || entry->key_bucket == NULL) {
        srm_entry_fini(entry);
        return false;
    }
    memcpy(entry->key, key.data, key.size);
    entry->key_size = (uint16_t)key.size;
    entry->label = entry->key + key.size;
    if (label.size > 0)
        memcpy(entry->label, label.data, label.size);
    entry->label_size = (uint8_t)label.size;
    srm_label_hash(label, entry->label_hash);
    srm_endpoint_random(endpoint, entry->connection_id, sizeof entry->connection_id);
    entry->init_after = entry->yield_after = now;
    return true;
}

static void drop_addresses(srm_entry *entry) {
    srm_endpoint *endpoint = entry->endpoint;
    for (size_t i = 0; i < entry->address_count; i++) {
        srm_entry_address *slot = &entry->addresses[i];
        srm_table_remove(&endpoint->addresses, srm_address_hash(endpoint, &slot->address, true), slot);
        srm_table_remove(&endpoint->ips, srm_address_hash(endpoint, &slot->address, false), slot);
        srm_endpoint_bucket_release(endpoint, slot->bucket);
    }
    free(entry->addresses);
    entry->addresses = NULL;
    entry->address_count = 0;
}

void srm_entry_fini(srm_entry *entry) {
    srm_entry_stop(entry);
    srm_entry_forget_attempts(entry, SRM_TIME_NEVER);
    drop_addresses(entry);
    if (entry->key_bucket != NULL)
        srm_endpoint_bucket_release(entry->endpoint, entry->key_bucket);
    if (entry->key != NULL)
        sodium_memzero(entry->key, entry->key_size);
    free(entry->key);
    entry->key = NULL;
    entry->key_bucket = NULL;
}

static srm_shared_bucket *address_bucket(srm_entry *entry, const srmudp_address *address) {
    uint8_t name[18];
    memcpy(name, address->ip, 16);
    name[16] = (uint8_t)(address->port >> 8);
    name[17] = (uint8_t)address->port;
    return srm_endpoint_bucket(entry->endpoint, BUCKET_ADDRESS, srm_span_of(name, sizeof name));
}

typedef struct address_list {
    srmudp_address at[SRM_ADDRESSES_MAX + SRM_ADDRESSES_LEARNED];
    size_t count;
} address_list;

static void list_address(address_list *list, const srmudp_address *address) {
    for (size_t i = 0; i < list->count; i++)
        if (srm_address_equal(&list->at[i], address))
            return;
    if (list->count < SRM_COUNT_OF(list->at))
        list->at[list->count++] = *address;
}

static bool replace_addresses(srm_entry *entry, const address_list *list, size_t learned) {
    srm_endpoint *endpoint = entry->endpoint;
    srm_entry_address *slots = calloc(list->count + 1, sizeof *slots);
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < list->count; i++)
        slots[i] = (srm_entry_address){list->at[i], entry, address_bucket(entry, &list->at[i])};
    drop_addresses(entry);
    entry->addresses = slots;
    for (size_t i = 0; i < list->count; i++) {
        if (slots[i].bucket == NULL)
            break; /* without memory: the addresses so far */
        entry->address_count = i + 1;
        (void)srm_table_add(&endpoint->addresses, srm_address_hash(endpoint, &slots[i].address, true),
                            &slots[i]);
        (void)srm_table_add(&endpoint->ips, srm_address_hash(endpoint, &slots[i].address, false), &slots[i]);
    }
    entry->learned_count = srm_size_min(learned, entry->address_count);
    return true;
}

bool srm_entry_set_addresses(srm_entry *entry, const srmudp_address *addresses, size_t count) {
    address_list list = {.count = 0};
    for (size_t i = 0; i < entry->learned_count; i++)
        list_address(&list, &entry->addresses[i].address);
    size_t learned = list.count;
    for (size_t i = 0; i < count && i < SRM_ADDRESSES_MAX; i++)
        list_address(&list, &addresses[i]);
    return replace_addresses(entry, &list, learned);
}

void srm_entry_learn_address(srm_entry *entry, const srmudp_address *address) {
    for (size_t i = 0; i < entry->address_count; i++)
        if (srm_address_equal(&entry->addresses[i].address, address))
            return;
    address_list list = {.count = 0};
    list_address(&list, address);
    for (size_t i = 0; i < entry->learned_count && list.count < SRM_ADDRESSES_LEARNED; i++)
        list_address(&list, &entry->addresses[i].address);
    size_t learned = list.count;
    for (size_t i = entry->learned_count; i < entry->address_count; i++)
        list_address(&list, &entry->addresses[i].address);
    (void)replace_addresses(entry, &list, learned);
}

srm_guess_payer srm_entry_payer(srm_entry *entry, const srmudp_address *from) {
    srm_guess_payer payer = {
        .key = &entry->key_bucket->bucket, .sources = entry->endpoint->sources, .from = from};
    for (size_t i = 0; i < entry->address_count; i++)
        if (srm_address_equal(&entry->addresses[i].address, from))
            payer.dialled = &entry->addresses[i].bucket->bucket;
    return payer;
}

/* ---- What both roles write ---- */

static const uint8_t own_versions[] = {SRM_PROTOCOL_VERSION};

typedef struct own_offer {
    uint8_t aeads[SRM_AEAD_KINDS];
    srm_offer offer;
} own_offer;

static void make_offer(own_offer *own) {
    size_t count = srm_aead_list(own->aeads);
    memset(&own->offer, 0, sizeof own->offer);
    own->offer.versions = srm_span_of(own_versions, sizeof own_versions);
    own->offer.aeads = srm_span_of(own->aeads, count);
}

#define AD_MAX 400 /* 256 versions and AEADs a message can name, and the rest */

static size_t write_ad(uint8_t *out, const srm_offer *offer, const uint8_t *id, const uint8_t *nonce_i,
                       srm_span last) {
    srm_writer w = srm_writer_of(out, AD_MAX);
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

static size_t seal_params(srm_entry *entry, srm_role role, const srm_run_keys *keys, uint64_t cid,
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
static bool open_params(const srm_run_keys *keys, srm_role sender, srm_span datagram, srm_span sealed,
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

/* ---- Initiator: our HELLO ---- */

static void free_init(srm_entry *entry) {
    if (entry->init == NULL)
        return;
    srm_table_remove(&entry->endpoint->inits, srm_prefix64(entry->init->nonce), entry);
    sodium_memzero(entry->init, sizeof *entry->init);
    free(entry->init);
    entry->init = NULL;
}

static bool new_init(srm_entry *entry, srm_time now) {
    srm_endpoint *endpoint = entry->endpoint;
    srm_init *init = calloc(1, sizeof *init);
    if (init == NULL)
        return false;
    srm_endpoint_random(endpoint, init->nonce, sizeof init->nonce);
    srm_hello_message hello = {.type = SRM_HELLO, .version = SRM_PROTOCOL_VERSION, .mode = SRM_MODE_PAKE};
    srm_pake_start(init->scalar, hello.share, key_of(entry), label_of(entry), init->nonce,
                   &endpoint->entropy);
    memcpy(hello.src_nonce, init->nonce, sizeof init->nonce);
    memcpy(hello.connection_id, entry->connection_id, sizeof hello.connection_id);
    memcpy(hello.label_hash, entry->label_hash, sizeof hello.label_hash);
    own_offer own;
    make_offer(&own);
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

static void send_hello(srm_entry *entry, srm_time now, const srmudp_address *to) {
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

static void send_hello_everywhere(srm_entry *entry, srm_time now) {
    srm_init *init = entry->init;
    init->tx_seq = (uint8_t)(init->tx_seq == 255 ? 1 : init->tx_seq + 1);
    for (size_t i = 0; i < entry->address_count; i++)
        send_hello(entry, now, &entry->addresses[i].address);
    init->sends = (uint8_t)(init->sends < 200 ? init->sends + 1 : 200);
    init->next_send = now + (init->sends <= 3 ? SRM_HELLO_FIRST << (init->sends - 1) : hello_interval(entry));
}

static void repeat_hello_at_once(srm_entry *entry, srm_time now, const srmudp_address *to) {
    srm_init *init = entry->init;
    if (now - init->at_once < SRM_HELLO_AT_ONCE)
        return;
    init->at_once = now;
    init->tx_seq = (uint8_t)(init->tx_seq == 255 ? 1 : init->tx_seq + 1);
    send_hello(entry, now, to);
}

void srm_entry_start(srm_entry *entry, srm_time now, bool fresh) {
    if (entry->listener)
        return;
    if (fresh)
        free_init(entry);
    entry->running = true;
    entry->owner->touched(entry, now);
}

void srm_entry_stop(srm_entry *entry) {
    entry->running = false;
    free_init(entry);
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
            entries += !slot->entry->closing &&
                       slot->entry->owner->session(slot->entry) != SRM_SESSION_ALIVE;
    }
    return entries;
}

/* How many responder shares our scalar may meet: two for each entry that could be meant (docs/protocol.md).
 */
static size_t tried_bound(const srm_entry *entry) {
    return srm_size_max(SRM_TRIED_MIN, srm_size_min(SRM_TRIED_MAX, 2 * neighbours(entry)));
}

static void note_bad(srm_entry *entry, srm_time now, const srm_hello_message *reply,
                     const srmudp_address *from) {
    srm_init *init = entry->init;
    srm_guess_payer payer = srm_entry_payer(entry, from);
    (void)srm_guess_charge(&payer, now);
    if (!init->bad) {
        init->bad = true;
        init->bad_since = now;
    }
    memcpy(init->bad_nonce, reply->src_nonce, SRM_NONCE_SIZE);
    init->bad_from = *from;
    init->bad_shared |= (reply->flags & SRM_REPLY_MORE) != 0 || neighbours(entry) > 1;
    if ((reply->flags & SRM_REPLY_MORE) != 0)
        repeat_hello_at_once(entry, now, from);
    entry->owner->touched(entry, now);
}

/* Derives the run's keys as the initiator; false: the share or the lists cannot be. */
static bool derive_as_initiator(srm_entry *entry, const srm_hello_message *reply, srm_run_keys *keys,
                                srm_aead_kind *aead) {
    srm_init *init = entry->init;
    own_offer own;
    make_offer(&own);
    uint8_t shared[SRM_PAKE_SECRET_SIZE], ad_i[AD_MAX], ad_r[AD_MAX];
    uint8_t kind = srm_aead_choose(own.offer.aeads, reply->offer.aeads);
    size_t ad_i_size = write_ad(ad_i, &own.offer, entry->connection_id, init->nonce, srm_span_of(NULL, 0));
    size_t ad_r_size = write_ad(ad_r, &reply->offer, reply->connection_id, init->nonce,
                                srm_span_of(reply->src_nonce, SRM_NONCE_SIZE));
    if (kind == 0 || ad_r_size == 0 || memcmp(reply->share, init->hello + 38, SRM_SHARE_SIZE) == 0 ||
        !srm_pake_finish(shared, init->scalar, reply->share))
        return false;
    srm_run run = {.mode = SRM_RUN_PAKE,
                   .label = label_of(entry),
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
    confirm.sealed =
        srm_span_of(sealed, seal_params(entry, SRM_ROLE_INITIATOR, keys, cid, header, sealed, sizeof sealed));
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
    free_init(entry);
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
    srm_guess_payer payer = srm_entry_payer(entry, from);
    if (srm_guess_left(&payer, now) == 0)
        return SRM_ENTRY_NO_BUDGET;
    srm_run_keys keys;
    srm_aead_kind aead;
    srm_params params;
    if (!derive_as_initiator(entry, reply, &keys, &aead))
        return SRM_ENTRY_BAD;
    memcpy(init->tried[init->tried_count++], reply->src_nonce, SRM_NONCE_SIZE);
    if (srm_keys_equal(keys.tag[SRM_ROLE_RESPONDER], reply->tag, SRM_TAG_SIZE) &&
        open_params(&keys, SRM_ROLE_RESPONDER, datagram, reply->sealed, &params))
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
    memcpy(entry->init->cookie, retry->cookie, SRM_COOKIE_SIZE);
    repeat_hello_at_once(entry, now, from);
}

void srm_entry_on_version(srm_entry *entry, srm_time now, const srm_hello_message *version) {
    if (memchr(version->versions.data, SRM_PROTOCOL_VERSION, version->versions.size) == NULL)
        entry->owner->version(entry, now);
}

/* ---- Responder: attempts ---- */

srm_attempt *srm_entry_find_attempt(const srm_entry *entry, const uint8_t pair[16]) {
    for (srm_attempt *attempt = entry->attempts; attempt != NULL; attempt = attempt->next)
        if (memcmp(attempt->pair, pair, sizeof attempt->pair) == 0)
            return attempt;
    return NULL;
}

static void free_attempt(srm_attempt **link) {
    srm_attempt *attempt = *link;
    srm_endpoint *endpoint = attempt->entry->endpoint;
    *link = attempt->next;
    attempt->entry->attempt_count--;
    if (!attempt->confirmed) {
        endpoint->half_open--;
        endpoint->half_open_strangers -= attempt->stranger;
    }
    srm_table_remove(&endpoint->attempts, srm_prefix64(attempt->nonce_r), attempt);
    srm_table_remove(&endpoint->pairs, srm_prefix64(attempt->pair), attempt);
    srm_table_remove(&endpoint->own_ids, srm_prefix64(attempt->own_id), attempt->entry);
    sodium_memzero(attempt, sizeof *attempt);
    free(attempt);
}

void srm_entry_forget_attempts(srm_entry *entry, srm_time before) {
    for (srm_attempt **link = &entry->attempts; *link != NULL;)
        if ((*link)->created < before)
            free_attempt(link);
        else
            link = &(*link)->next;
}

void srm_entry_take_attempts(srm_entry *entry, srm_entry *listener,
                             const uint8_t peer_id[SRM_CONNECTION_ID_SIZE]) {
    srm_table *ids = &entry->endpoint->own_ids;
    for (srm_attempt **link = &listener->attempts; *link != NULL;) {
        srm_attempt *attempt = *link;
        if (memcmp(attempt->peer_id, peer_id, SRM_CONNECTION_ID_SIZE) != 0) {
            link = &attempt->next;
            continue;
        }
        *link = attempt->next;
        attempt->next = entry->attempts;
        entry->attempts = attempt;
        listener->attempt_count--;
        entry->attempt_count++;
        srm_table_remove(ids, srm_prefix64(attempt->own_id), listener);
        (void)srm_table_add(ids, srm_prefix64(attempt->own_id), entry);
        attempt->entry = entry;
    }
}

static bool derive_as_responder(srm_entry *entry, srm_attempt *attempt, const srm_hello_message *hello,
                                srm_hello_message *reply) {
    uint8_t scalar[SRM_PAKE_SCALAR_SIZE], shared[SRM_PAKE_SECRET_SIZE], ad_i[AD_MAX], ad_r[AD_MAX];
    uint8_t kind = srm_aead_choose(reply->offer.aeads, hello->offer.aeads);
    size_t ad_i_size =
        write_ad(ad_i, &hello->offer, hello->connection_id, hello->src_nonce, srm_span_of(NULL, 0));
    size_t ad_r_size = write_ad(ad_r, &reply->offer, attempt->own_id, hello->src_nonce,
                                srm_span_of(attempt->nonce_r, SRM_NONCE_SIZE));
    if (kind == 0 || ad_i_size == 0)
        return false;
    srm_pake_start(scalar, reply->share, key_of(entry), label_of(entry), hello->src_nonce,
                   &entry->endpoint->entropy);
    bool good = srm_pake_finish(shared, scalar, hello->share);
    sodium_memzero(scalar, sizeof scalar);
    if (!good)
        return false;
    srm_run run = {.mode = SRM_RUN_PAKE,
                   .label = label_of(entry),
                   .nonce = {hello->src_nonce, attempt->nonce_r},
                   .share = {hello->share, reply->share},
                   .ad = {srm_span_of(ad_i, ad_i_size), srm_span_of(ad_r, ad_r_size)},
                   .shared = shared};
    srm_run_derive(&run, &attempt->keys);
    sodium_memzero(shared, sizeof shared);
    attempt->aead = (srm_aead_kind)kind;
    return true;
}

static bool write_reply(srm_entry *entry, srm_attempt *attempt, const srm_hello_message *hello,
                        size_t hello_size, srm_hello_message *reply) {
    uint8_t sealed[SRM_SEALED_MAX_SIZE], header[SRM_KEYS_SEALED_AAD_SIZE];
    memcpy(reply->src_nonce, attempt->nonce_r, SRM_NONCE_SIZE);
    memcpy(reply->dst_nonce, hello->src_nonce, SRM_NONCE_SIZE);
    memcpy(reply->connection_id, attempt->own_id, sizeof reply->connection_id);
    memcpy(reply->tag, attempt->keys.tag[SRM_ROLE_RESPONDER], SRM_TAG_SIZE);
    header[0] = 0xc0 | SRM_REPLY;
    header[1] = SRM_PROTOCOL_VERSION;
    memcpy(header + 2, reply->src_nonce, SRM_NONCE_SIZE);
    memcpy(header + 18, reply->dst_nonce, SRM_NONCE_SIZE);
    reply->sealed = srm_span_of(sealed, seal_params(entry, SRM_ROLE_RESPONDER, &attempt->keys,
                                                    attempt->cid_local, header, sealed, sizeof sealed));
    attempt->reply_size =
        srm_hello_write(reply, attempt->reply, srm_size_min(sizeof attempt->reply, hello_size));
    return attempt->reply_size > 0;
}

static void send_reply(srm_attempt *attempt, srm_time now, const srm_hello_message *hello,
                       const srmudp_address *from) {
    attempt->tx_seq = (uint8_t)(attempt->tx_seq == 255 ? 1 : attempt->tx_seq + 1);
    attempt->replied = now;
    attempt->sent_at[attempt->tx_seq & 3] = now;
    srm_hello_patch_seq(attempt->reply, attempt->tx_seq, hello->tx_seq);
    srm_endpoint_queue(attempt->entry->endpoint, from, srm_span_of(attempt->reply, attempt->reply_size));
}

void srm_attempt_repeat_reply(srm_attempt *attempt, srm_time now, const srm_hello_message *hello,
                              const srmudp_address *from) {
    if (now - attempt->replied >= SRM_REPLY_EACH)
        send_reply(attempt, now, hello, from);
}

/* Room for one more: the oldest goes (a flood of forged HELLOs of one address can't grow without end, and
 * cookies keep it from being that cheap). */
static void make_room(srm_entry *entry) {
    size_t limit = entry->listener ? SRM_LISTENER_ATTEMPTS_MAX : SRM_ATTEMPTS_PER_ENTRY_MAX;
    while (entry->attempt_count >= limit) {
        srm_attempt **oldest = &entry->attempts;
        for (srm_attempt **link = oldest; *link != NULL; link = &(*link)->next)
            if ((*link)->created <= (*oldest)->created)
                oldest = link;
        free_attempt(oldest);
    }
}

static void add_attempt(srm_entry *entry, srm_attempt *attempt) {
    srm_endpoint *endpoint = entry->endpoint;
    attempt->next = entry->attempts;
    entry->attempts = attempt;
    entry->attempt_count++;
    endpoint->half_open++;
    endpoint->half_open_strangers += attempt->stranger;
    (void)srm_table_add(&endpoint->attempts, srm_prefix64(attempt->nonce_r), attempt);
    (void)srm_table_add(&endpoint->pairs, srm_prefix64(attempt->pair), attempt);
    (void)srm_table_add(&endpoint->own_ids, srm_prefix64(attempt->own_id), entry);
}

/* A listener draws an id for each peer process that comes: whichever of its runs gets through, it is the same session. */
static void choose_id(srm_entry *entry, srm_attempt *attempt) {
    if (!entry->listener) {
        memcpy(attempt->own_id, entry->connection_id, sizeof attempt->own_id);
        return;
    }
    for (const srm_attempt *other = entry->attempts; other != NULL; other = other->next)
        if (!other->confirmed && memcmp(other->peer_id, attempt->peer_id, sizeof attempt->peer_id) == 0) {
            memcpy(attempt->own_id, other->own_id, sizeof attempt->own_id);
            return;
        }
    srm_endpoint_random(entry->endpoint, attempt->own_id, sizeof attempt->own_id);
}

static srm_entry_answer answer(srm_entry *entry, srm_time now, const srm_hello_message *hello,
                               size_t hello_size, const srmudp_address *from, const uint8_t pair[16],
                               bool more) {
    srm_guess_payer payer = srm_entry_payer(entry, from);
    if (srm_guess_left(&payer, now) == 0)
        return SRM_ENTRY_NO_BUDGET;
    srm_attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL)
        return SRM_ENTRY_NO_MEMORY;
    attempt->entry = entry;
    attempt->from = *from;
    attempt->created = now;
    attempt->stranger = payer.dialled == NULL;
    memcpy(attempt->pair, pair, sizeof attempt->pair);
    memcpy(attempt->nonce_i, hello->src_nonce, SRM_NONCE_SIZE);
    memcpy(attempt->peer_id, hello->connection_id, sizeof attempt->peer_id);
    srm_endpoint_random(entry->endpoint, attempt->nonce_r, sizeof attempt->nonce_r);
    choose_id(entry, attempt);
    attempt->cid_local = srm_endpoint_new_cid(entry->endpoint);
    own_offer own;
    make_offer(&own);
    srm_hello_message reply = {.type = SRM_REPLY,
                               .version = SRM_PROTOCOL_VERSION,
                               .mode = SRM_MODE_PAKE,
                               .flags = more ? SRM_REPLY_MORE : 0,
                               .offer = own.offer};
    if (!derive_as_responder(entry, attempt, hello, &reply) ||
        !write_reply(entry, attempt, hello, hello_size, &reply)) {
        sodium_memzero(attempt, sizeof *attempt);
        free(attempt);
        return SRM_ENTRY_BAD;
    }
    attempt->charged = srm_guess_charge(&payer, now);
    make_room(entry);
    add_attempt(entry, attempt);
    send_reply(attempt, now, hello, from);
    entry->owner->touched(entry, now);
    return SRM_ENTRY_TAKEN;
}

/* The peer's HELLO reaches us and never names ours, which has been out for a while: ours is blocked on the
 * way. */
static bool should_yield(const srm_entry *entry, srm_time now, const srm_hello_message *hello) {
    srm_time wait = entry->rtt > 0 ? entry->rtt : SRM_YIELD_AFTER;
    return memcmp(hello->dst_nonce, entry->init->nonce, SRM_NONCE_SIZE) != 0 && entry->init->sends > 0 &&
           now - entry->init->started > wait && now >= entry->yield_after;
}

/* Two HELLOs cross: the larger nonce stands, unless ours doesn't get through. */
static bool hello_stands_back(const srm_entry *entry, const srm_hello_message *hello) {
    return entry->init != NULL && entry->owner->session(entry) != SRM_SESSION_ALIVE &&
           memcmp(hello->src_nonce, entry->init->nonce, SRM_NONCE_SIZE) < 0;
}

/* Our nonce is for those whom we call and for who sits on the way there. A stranger that asked for it could answer it in
 * the peer's name and use up the share's tries and the peer's budget. */
static bool dials_ip(const srm_entry *entry, const srmudp_address *from) {
    for (size_t i = 0; i < entry->address_count; i++)
        if (srm_address_same_ip(&entry->addresses[i].address, from))
            return true;
    return false;
}

bool srm_entry_would_answer(const srm_entry *entry, srm_time now, const srm_hello_message *hello) {
    return !hello_stands_back(entry, hello) || should_yield(entry, now, hello);
}

srm_entry_answer srm_entry_on_hello(srm_entry *entry, srm_time now, const srm_hello_message *hello,
                                    size_t hello_size, const srmudp_address *from, const uint8_t pair[16],
                                    bool more) {
    memcpy(entry->heard_nonce, hello->src_nonce, SRM_NONCE_SIZE);
    entry->heard_seq = hello->tx_seq;
    if (hello_stands_back(entry, hello)) {
        if (!should_yield(entry, now, hello)) {
            if (dials_ip(entry, from))
                repeat_hello_at_once(entry, now, from);
            return SRM_ENTRY_TAKEN;
        }
        srm_guess_payer payer = srm_entry_payer(entry, from);
        if (srm_guess_left(&payer, now) == 0)
            return SRM_ENTRY_NO_BUDGET;
        free_init(entry);
        entry->init_after = now + srm_time_max(2 * entry->rtt, SRM_YIELD_WAIT);
        entry->yield_after = entry->init_after + SRM_YIELD_PAUSE;
    }
    return answer(entry, now, hello, hello_size, from, pair, more);
}

srm_entry_answer srm_attempt_on_confirm(srm_attempt *attempt, srm_time now, const srm_hello_message *confirm,
                                        srm_span datagram, const srmudp_address *from) {
    srm_entry *entry = attempt->entry;
    srm_params params;
    if (memcmp(attempt->nonce_i, confirm->src_nonce, SRM_NONCE_SIZE) != 0 ||
        memcmp(attempt->nonce_r, confirm->dst_nonce, SRM_NONCE_SIZE) != 0 ||
        !srm_keys_equal(attempt->keys.tag[SRM_ROLE_INITIATOR], confirm->tag, SRM_TAG_SIZE) ||
        !open_params(&attempt->keys, SRM_ROLE_INITIATOR, datagram, confirm->sealed, &params))
        return SRM_ENTRY_BAD;
    if (attempt->confirmed)
        return SRM_ENTRY_TAKEN;
    attempt->confirmed = true;
    entry->endpoint->half_open--;
    entry->endpoint->half_open_strangers -= attempt->stranger;
    if (attempt->charged) {
        srm_guess_payer payer = srm_entry_payer(entry, &attempt->from);
        srm_guess_give_back(&payer, now);
    }
    srm_confirmed run = {.role = SRM_ROLE_RESPONDER,
                         .keys = &attempt->keys,
                         .aead = attempt->aead,
                         .peer = params,
                         .cid_local = attempt->cid_local,
                         .remote = *from,
                         .created = attempt->created};
    memcpy(run.own_id, attempt->own_id, sizeof run.own_id);
    memcpy(run.peer_id, attempt->peer_id, sizeof run.peer_id);
    srm_time sent = attempt->sent_at[confirm->echo_seq & 3];
    if (confirm->echo_seq != 0 && (uint8_t)(attempt->tx_seq - confirm->echo_seq) < 4 && sent > 0 &&
        confirm->tx_seq == 1)
        entry->rtt = run.rtt = srm_time_max(now - sent, 1);
    if (!entry->listener)
        srm_entry_forget_attempts(entry, attempt->created);
    entry->endpoint->stats.handshakes_completed++;
    entry->owner->confirmed(entry, now, &run, confirm->rest);
    return SRM_ENTRY_TAKEN;
}

void srm_attempt_on_reject(srm_attempt *attempt, srm_time now) {
    srm_entry *entry = attempt->entry;
    if (attempt->rejected || attempt->confirmed)
        return;
    attempt->rejected = true;
    entry->endpoint->stats.handshakes_failed++;
    entry->owner->wrong_key(entry, now, ++entry->wrong_keys);
}

/* ---- Time ---- */

static void tell_wrong_key(srm_entry *entry, srm_time now) {
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

static srm_time wrong_key_time(const srm_entry *entry) {
    const srm_init *init = entry->init;
    if (!init->bad || init->bad_told)
        return SRM_TIME_NEVER;
    srm_time wait =
        init->bad_shared ? SRM_WRONG_KEY_AFTER_SHARED : srm_time_max(3 * entry->rtt, SRM_WRONG_KEY_AFTER);
    return init->bad_since + wait;
}

static srm_time renew_time(const srm_entry *entry) {
    const srm_init *init = entry->init;
    bool used_up = init->tried_count >= tried_bound(entry) || init->bad_told;
    srm_time at = used_up ? init->started : init->started + SRM_INIT_LIFE;
    return srm_time_max(at, entry->init_after);
}

static bool wants_init(const srm_entry *entry) {
    return entry->running && !entry->closing && entry->address_count > 0 &&
           entry->owner->session(entry) != SRM_SESSION_ALIVE;
}

void srm_entry_timeout(srm_entry *entry, srm_time now) {
    srm_entry_forget_attempts(entry, now - SRM_ATTEMPT_LIFE);
    if (!wants_init(entry)) {
        if (!entry->running || entry->owner->session(entry) == SRM_SESSION_ALIVE)
            free_init(entry);
        return;
    }
    if (entry->init != NULL && wrong_key_time(entry) <= now)
        tell_wrong_key(entry, now);
    if (entry->init != NULL && renew_time(entry) <= now)
        free_init(entry);
    if (entry->init == NULL && entry->init_after <= now && !new_init(entry, now))
        entry->init_after = now + SRM_INIT_RENEW_EACH; /* no memory: later */
    if (entry->init != NULL && entry->init->next_send <= now)
        send_hello_everywhere(entry, now);
}

srm_time srm_entry_deadline(const srm_entry *entry) {
    srm_time at = SRM_TIME_NEVER;
    for (const srm_attempt *attempt = entry->attempts; attempt != NULL; attempt = attempt->next)
        at = srm_time_min(at, attempt->created + SRM_ATTEMPT_LIFE + 1);
    if (!wants_init(entry))
        return at;
    if (entry->init == NULL)
        return srm_time_min(at, entry->init_after);
    at = srm_time_min(at, srm_time_min(entry->init->next_send, renew_time(entry)));
    return srm_time_min(at, wrong_key_time(entry));
}
