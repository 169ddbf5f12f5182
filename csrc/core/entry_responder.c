#include "entry_parts.h"

#include "pake.h"
#include "state.h"

#include <sodium.h>
#include <stdlib.h>

srm_attempt *srm_entry_find_attempt(const srm_entry *entry, const uint8_t pair[16]) {
    for (srm_attempt *attempt = entry->attempts; attempt != NULL; attempt = attempt->next)
        if (memcmp(attempt->pair, pair, sizeof attempt->pair) == 0)
            return attempt;
    return NULL;
}

static void free_attempt(srm_attempt **link) {
    srm_attempt *attempt = *link;
    SRM_ASSERT(attempt != NULL);
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
    uint8_t scalar[SRM_PAKE_SCALAR_SIZE], shared[SRM_PAKE_SECRET_SIZE], ad_i[SRM_ENTRY_AD_MAX],
        ad_r[SRM_ENTRY_AD_MAX];
    uint8_t kind = srm_aead_choose(reply->offer.aeads, hello->offer.aeads);
    size_t ad_i_size =
        srm_entry_write_ad(ad_i, &hello->offer, hello->connection_id, hello->src_nonce, srm_span_of(NULL, 0));
    size_t ad_r_size = srm_entry_write_ad(ad_r, &reply->offer, attempt->own_id, hello->src_nonce,
                                          srm_span_of(attempt->nonce_r, SRM_NONCE_SIZE));
    if (kind == 0 || ad_i_size == 0)
        return false;
    srm_pake_start(scalar, reply->share, srm_entry_key(entry), srm_entry_label(entry), hello->src_nonce,
                   &entry->endpoint->entropy);
    bool good = srm_pake_finish(shared, scalar, hello->share);
    sodium_memzero(scalar, sizeof scalar);
    if (!good)
        return false;
    srm_run run = {.mode = SRM_RUN_PAKE,
                   .label = srm_entry_label(entry),
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
    reply->sealed =
        srm_span_of(sealed, srm_entry_seal_params(entry, SRM_ROLE_RESPONDER, &attempt->keys,
                                                  attempt->cid_local, header, sealed, sizeof sealed));
    attempt->reply_size =
        srm_hello_write(reply, attempt->reply, srm_size_min(sizeof attempt->reply, hello_size));
    reply->sealed = srm_span_of(NULL, 0); /* it was borrowed */
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

/* A listener draws an id for each peer process that comes: whichever of its runs gets through, it is the same
 * session. */
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
    srm_own_offer own;
    srm_own_offer_make(&own);
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
    entry->answered_at = now;
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
            srm_entry_repeat_hello(entry, now, from);
            return SRM_ENTRY_TAKEN;
        }
        srm_guess_payer payer = srm_entry_payer(entry, from);
        if (srm_guess_left(&payer, now) == 0)
            return SRM_ENTRY_NO_BUDGET;
        srm_entry_free_init(entry);
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
        !srm_entry_open_params(&attempt->keys, SRM_ROLE_INITIATOR, datagram, confirm->sealed, &params))
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
