#include "state.h"

#include "aead.h"
#include "bytes.h"

#include <sodium.h>

/* Whose HELLO is it: docs/protocol.md section 4.3. */

#define CANDIDATES_MAX 8

typedef struct callee_list {
    srm_entry *entries[CANDIDATES_MAX];
    size_t count, limit;
} callee_list;

static void add_callee(callee_list *list, srm_entry *entry) {
    for (size_t i = 0; i < list->count; i++)
        if (list->entries[i] == entry)
            return;
    if (list->count < list->limit)
        list->entries[list->count++] = entry;
}

static bool label_fits(const srm_entry *entry, const srm_hello_message *hello) {
    return !entry->closing && memcmp(entry->label_hash, hello->label_hash, SRM_LABEL_HASH_SIZE) == 0;
}

static void add_by_address(srm_endpoint *endpoint, callee_list *list, const srm_hello_message *hello,
                           const srmudp_address *from, bool exact, bool waiting_only) {
    const srm_table *table = exact ? &endpoint->addresses : &endpoint->ips;
    uint64_t hash = srm_address_hash(endpoint, from, exact);
    size_t cursor = 0;
    for (srm_entry_address *slot; (slot = srm_table_each(table, hash, &cursor)) != NULL;) {
        srm_entry *entry = slot->entry;
        bool same =
            exact ? srm_address_equal(&slot->address, from) : srm_address_same_ip(&slot->address, from);
        if (same && !entry->accepted && label_fits(entry, hello) &&
            (entry->owner->session(entry) != SRM_SESSION_ALIVE) == waiting_only)
            add_callee(list, entry);
    }
}

/* First those that never had a peer. */
static void add_by_label(srm_endpoint *endpoint, callee_list *list, const srm_hello_message *hello,
                         srm_entry_session session) {
    size_t cursor = 0;
    uint64_t key = srm_prefix64(hello->label_hash);
    for (srm_entry *entry;
         list->count < list->limit && (entry = srm_table_each(&endpoint->labels, key, &cursor)) != NULL;)
        if (label_fits(entry, hello) && entry->owner->session(entry) == session)
            add_callee(list, entry);
}

/* A stranger is for a listener before it is for those who wait for somebody else: an initiator tries few
 * answers. */
static void add_listeners(srm_endpoint *endpoint, callee_list *list, const srm_hello_message *hello) {
    list->limit = CANDIDATES_MAX;
    for (srm_listener *listener = endpoint->listeners; listener != NULL; listener = listener->next)
        if (label_fits(&listener->entry, hello))
            add_callee(list, &listener->entry);
}

/* Whom a HELLO may be meant for, likeliest first. One place is kept for a listener. */
static void find_callees(srm_endpoint *endpoint, callee_list *list, const srm_hello_message *hello,
                         const srmudp_address *from) {
    list->count = 0;
    list->limit = CANDIDATES_MAX - 1;
    size_t cursor = 0;
    uint64_t id = srm_prefix64(hello->connection_id);
    for (srm_entry *entry; (entry = srm_table_each(&endpoint->sessions, id, &cursor)) != NULL;)
        if (label_fits(entry, hello))
            add_callee(list, entry); /* says it is the peer we have: the keys will tell */
    if (list->count > 0)
        return;
    add_by_address(endpoint, list, hello, from, true, true);
    add_by_address(endpoint, list, hello, from, false, true);
    add_by_address(endpoint, list, hello, from, true, false);
    bool stranger = list->count == 0;
    add_listeners(endpoint, list, hello);
    if (!stranger)
        return;
    add_by_label(endpoint, list, hello, SRM_SESSION_NONE);
    add_by_label(endpoint, list, hello, SRM_SESSION_DEAD);
}

static bool is_own(const srm_endpoint *endpoint, const srm_hello_message *message) {
    uint64_t nonce = srm_prefix64(message->src_nonce), id = srm_prefix64(message->connection_id);
    return srm_table_find(&endpoint->inits, nonce) != NULL ||
           srm_table_find(&endpoint->attempts, nonce) != NULL ||
           srm_table_find(&endpoint->own_ids, id) != NULL;
}

/* Names a HELLO by all that is authenticated of it: an altered share or list is another attempt. */
static void hello_pair(srm_endpoint *endpoint, const srm_hello_message *hello, uint8_t pair[16]) {
    crypto_generichash_state state;
    uint64_t sizes[2] = {hello->offer.versions.size, hello->offer.aeads.size};
    crypto_generichash_init(&state, endpoint->secret, sizeof endpoint->secret, 16);
    crypto_generichash_update(&state, hello->src_nonce, SRM_NONCE_SIZE);
    crypto_generichash_update(&state, hello->share, SRM_SHARE_SIZE);
    crypto_generichash_update(&state, hello->connection_id, SRM_CONNECTION_ID_SIZE);
    crypto_generichash_update(&state, &hello->mode, 1);
    crypto_generichash_update(&state, (const uint8_t *)sizes, sizeof sizes);
    crypto_generichash_update(&state, hello->offer.versions.data, hello->offer.versions.size);
    crypto_generichash_update(&state, hello->offer.aeads.data, hello->offer.aeads.size);
    crypto_generichash_update(&state, hello->offer.capabilities, sizeof hello->offer.capabilities);
    crypto_generichash_final(&state, pair, 16);
}

/* RETRY and VERSION: a few a second to each source (they share buckets by a keyed hash, so that a flood from
 * forged ones leaves something for the others). */
static bool hint_allowed(srm_endpoint *endpoint, srm_time now, const srmudp_address *from) {
    srm_bucket_rate rate = {SRM_HINTS_PER_SECOND, SRM_SECOND / SRM_HINTS_PER_SECOND};
    uint64_t place = srm_address_hash(endpoint, from, false) % SRM_HINT_SOURCES;
    return srm_bucket_take(&endpoint->hints[place], rate, now);
}

static void send_retry(srm_endpoint *endpoint, srm_time now, const srm_hello_message *hello,
                       const srmudp_address *from) {
    /* A crowd behind one NAT needs as many cookies; who forges its address gets it a sixth of what it sends.
     */
    if (!srm_guess_proved(endpoint->sources, from, now) && !hint_allowed(endpoint, now, from))
        return;
    srm_hello_message retry = {.type = SRM_RETRY, .version = SRM_PROTOCOL_VERSION};
    memcpy(retry.dst_nonce, hello->src_nonce, SRM_NONCE_SIZE);
    srm_cookie_make(&endpoint->cookie, now, from, hello->src_nonce, hello->share, retry.cookie);
    uint8_t bytes[64];
    srm_endpoint_queue(endpoint, from, srm_span_of(bytes, srm_hello_write(&retry, bytes, sizeof bytes)));
}

static void send_version(srm_endpoint *endpoint, srm_time now, const srm_hello_message *hello, size_t size,
                         const srmudp_address *from) {
    static const uint8_t versions[] = {SRM_PROTOCOL_VERSION};
    if (hello->type != SRM_HELLO || size < SRM_HELLO_MIN_SIZE || !hint_allowed(endpoint, now, from))
        return;
    srm_hello_message out = {.type = SRM_VERSION,
                             .version = SRM_PROTOCOL_VERSION,
                             .versions = srm_span_of(versions, sizeof versions)};
    memcpy(out.dst_nonce, hello->src_nonce, SRM_NONCE_SIZE);
    uint8_t bytes[64];
    srm_endpoint_queue(endpoint, from, srm_span_of(bytes, srm_hello_write(&out, bytes, sizeof bytes)));
}

static bool cookie_wanted(srm_endpoint *endpoint, srm_time now, srm_entry *entry,
                          const srmudp_address *from) {
    srm_guess_payer payer = srm_entry_payer(entry, from);
    if (now - endpoint->hello_second >= SRM_SECOND) {
        endpoint->hello_second = now;
        endpoint->hellos_in_second = 0;
    }
    endpoint->hellos_in_second++;
    return srm_guess_wants_cookie(&payer, now) || endpoint->half_open > SRM_HALF_OPEN_COOKIE ||
           endpoint->hellos_in_second > SRM_HELLO_RATE_COOKIE ||
           (payer.dialled == NULL && endpoint->half_open_strangers > SRM_HALF_OPEN_STRANGERS);
}

/* Each repetition of a HELLO goes to the next one it may be meant for, and a new HELLO begins with those who
 * answered none for longest: an initiator tries fewer answers than there may be entries. When all have
 * answered, round again. Those whose own HELLO crosses it and stands are passed over: if it was meant for
 * them, their HELLO finds its sender. */
static srm_entry *next_callee(const callee_list *list, const uint8_t pair[16], srm_time now,
                              const srm_hello_message *hello, srm_attempt **known) {
    srm_entry *next = NULL, *crossing = NULL;
    *known = NULL;
    for (size_t i = 0; i < list->count; i++) {
        srm_entry *entry = list->entries[i];
        srm_attempt *attempt = srm_entry_find_attempt(entry, pair);
        if (attempt != NULL) {
            if (*known == NULL || attempt->replied < (*known)->replied)
                *known = attempt;
        } else if (!srm_entry_would_answer(entry, now, hello)) {
            crossing = crossing == NULL ? entry : crossing;
        } else if (next == NULL || entry->answered_at < next->answered_at) {
            next = entry;
        }
    }
    if (next != NULL)
        *known = NULL;
    return next != NULL ? next : *known != NULL ? (*known)->entry : crossing;
}

/* ---- A HELLO, and its waiting for budget ---- */

/* Only who has shown a cookie finds the budget empty: an emptier one than half demands it. */
static bool wait_in_lobby(srm_endpoint *endpoint, srm_time now, srm_span datagram, const srmudp_address *from,
                          uint64_t name) {
    if (!srm_lobby_enter(&endpoint->lobby, now, srm_guess_source_id(from), name, from, datagram))
        return false;
    if (endpoint->lobby_timer.deadline.at == SRM_TIME_NEVER)
        srm_endpoint_timed_set(endpoint, &endpoint->lobby_timer, now + SRM_LOBBY_PATIENCE);
    return true;
}

void srm_endpoint_lobby_fire(srm_timed *timed, srm_time now) {
    srm_endpoint *endpoint = (srm_endpoint *)(void *)((char *)timed - offsetof(srm_endpoint, lobby_timer));
    srm_lobby_expire(&endpoint->lobby, now);
    if (endpoint->lobby.count > 0)
        srm_endpoint_timed_set(endpoint, timed, now + SRM_LOBBY_PATIENCE);
}

/* True: it would be answered if there were budget. */
static bool meet_hello(srm_endpoint *endpoint, srm_time now, const srm_hello_message *hello, size_t size,
                       const srmudp_address *from, const uint8_t pair[16]) {
    callee_list list;
    srm_attempt *known;
    find_callees(endpoint, &list, hello, from);
    srm_entry *entry = next_callee(&list, pair, now, hello, &known);
    if (entry == NULL || hello->mode != SRM_MODE_PAKE) {
        endpoint->stats.dropped_unknown++;
    } else if (known != NULL) {
        srm_attempt_repeat_reply(known, now, hello, from);
    } else if (cookie_wanted(endpoint, now, entry, from) &&
               !srm_cookie_check(&endpoint->cookie, now, from, hello->src_nonce, hello->share,
                                 hello->cookie)) {
        endpoint->stats.dropped_cookie++;
        send_retry(endpoint, now, hello, from);
    } else {
        srm_entry_answer answer = srm_entry_on_hello(entry, now, hello, size, from, pair, list.count > 1);
        endpoint->stats.dropped_malformed += answer == SRM_ENTRY_BAD;
        return answer == SRM_ENTRY_NO_BUDGET;
    }
    return false;
}

static void on_hello(srm_endpoint *endpoint, srm_time now, const srm_hello_message *hello, srm_span datagram,
                     const srmudp_address *from) {
    if (is_own(endpoint, hello)) {
        endpoint->stats.dropped_own++;
        return;
    }
    uint8_t pair[16];
    hello_pair(endpoint, hello, pair);
    if (meet_hello(endpoint, now, hello, datagram.size, from, pair))
        endpoint->stats.dropped_budget += !wait_in_lobby(endpoint, now, datagram, from, srm_prefix64(pair));
    else
        srm_lobby_leave(&endpoint->lobby, srm_prefix64(pair));
}

/* A guest's turn: as if it came now. It keeps its place if there still is no budget. */
static void admit(srm_endpoint *endpoint, srm_time now, const srm_lobby_guest *guest) {
    if (guest == NULL)
        return;
    srm_hello_message hello;
    uint8_t pair[16];
    srmudp_address from = guest->from;
    SRM_ASSERT(srm_hello_read(srm_span_of(guest->data, guest->size), &hello) == SRM_HELLO_FINE);
    hello.tx_seq = 0; /* the time it waited is not the path's */
    hello_pair(endpoint, &hello, pair);
    if (!meet_hello(endpoint, now, &hello, guest->size, &from, pair))
        srm_lobby_leave(&endpoint->lobby, srm_prefix64(pair));
}

static void on_reply(srm_endpoint *endpoint, srm_time now, const srm_hello_message *reply, srm_span datagram,
                     const srmudp_address *from) {
    srm_entry *entry = srm_table_find(&endpoint->inits, srm_prefix64(reply->dst_nonce));
    if (is_own(endpoint, reply)) {
        endpoint->stats.dropped_own++;
    } else if (entry == NULL || memcmp(entry->init->nonce, reply->dst_nonce, SRM_NONCE_SIZE) != 0) {
        endpoint->stats.dropped_unknown++;
    } else {
        srm_entry_answer answer = srm_entry_on_reply(entry, now, reply, datagram, from);
        endpoint->stats.dropped_budget += answer == SRM_ENTRY_NO_BUDGET;
        endpoint->stats.dropped_malformed += answer == SRM_ENTRY_BAD;
    }
}

/* A success gave back what it took and earned one more: room for two. One of the same source, and one of any,
 * which may have waited for the key. */
static void admit_two(srm_endpoint *endpoint, srm_time now, const srmudp_address *from) {
    admit(endpoint, now, srm_lobby_first(&endpoint->lobby, now, srm_guess_source_id(from)));
    admit(endpoint, now, srm_lobby_next(&endpoint->lobby, now));
}

static void on_confirm(srm_endpoint *endpoint, srm_time now, const srm_hello_message *confirm,
                       srm_span datagram, const srmudp_address *from, uint8_t ecn) {
    srm_attempt *attempt = srm_table_find(&endpoint->attempts, srm_prefix64(confirm->dst_nonce));
    srm_entry_answer answer = SRM_ENTRY_BAD;
    if (attempt == NULL)
        endpoint->stats.dropped_unknown++;
    else if ((answer = srm_attempt_on_confirm(attempt, now, confirm, datagram, from)) == SRM_ENTRY_BAD)
        endpoint->stats.dropped_forged++;
    if (confirm->rest.size > 0) /* it is at the datagram's end */
        srm_endpoint_on_session(endpoint, now, (uint8_t *)(uintptr_t)confirm->rest.data, confirm->rest.size,
                                from, ecn);
    if (answer == SRM_ENTRY_TAKEN)
        admit_two(endpoint, now, from);
}

void srm_endpoint_on_handshake(srm_endpoint *endpoint, srm_time now, uint8_t *data, size_t size,
                               const srmudp_address *from, uint8_t ecn) {
    srm_hello_message message;
    srm_span datagram = srm_span_of(data, size);
    switch (srm_hello_read(datagram, &message)) {
    case SRM_HELLO_MALFORMED:
        endpoint->stats.dropped_malformed++;
        return;
    case SRM_HELLO_OTHER_VERSION:
        endpoint->stats.dropped_version++;
        send_version(endpoint, now, &message, size, from);
        return;
    case SRM_HELLO_FINE:
        break;
    }
    srm_entry *entry;
    srm_attempt *attempt;
    switch (message.type) {
    case SRM_HELLO:
        on_hello(endpoint, now, &message, datagram, from);
        break;
    case SRM_REPLY:
        on_reply(endpoint, now, &message, datagram, from);
        break;
    case SRM_CONFIRM:
        on_confirm(endpoint, now, &message, datagram, from, ecn);
        break;
    case SRM_RETRY:
    case SRM_VERSION:
        entry = srm_table_find(&endpoint->inits, srm_prefix64(message.dst_nonce));
        if (entry != NULL && message.type == SRM_RETRY)
            srm_entry_on_retry(entry, now, &message, from);
        else if (entry != NULL)
            srm_entry_on_version(entry, now, &message);
        break;
    case SRM_REJECT:
        attempt = srm_table_find(&endpoint->attempts, srm_prefix64(message.dst_nonce));
        if (attempt != NULL && memcmp(attempt->nonce_i, message.src_nonce, SRM_NONCE_SIZE) == 0 &&
            message.code == SRM_REJECT_TAG)
            srm_attempt_on_reject(attempt, now);
        break;
    }
}
